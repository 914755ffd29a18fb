import { createHash } from 'node:crypto';
import { MatrixError } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Account, UserStore } from '../store/users.ts';
import type { AccountMaker } from './account-maker.ts';
import type { Credentials } from './credentials.ts';
import { checkNewPassword, type Passwords } from './passwords.ts';
import type { PasswordPolicy } from './settings.ts';
import { MIN_ADMIN_PASSWORD } from './setup.ts';
import type { Usernames } from './usernames.ts';

/** The accounts of those who run the server, for whoever sets it up and opens its interface. */
export interface Owners {
  /** Whether there is any account but those of guests and application services. */
  hasPeople(): boolean;
  /** Throws M_INVALID_USERNAME, M_USER_IN_USE, M_EXCLUSIVE, M_WEAK_PASSWORD. */
  checkNew(account: { readonly username: string; readonly password?: string | undefined }): void;
  /** Throws as `checkNew`. */
  create(account: {
    readonly username: string;
    readonly password: string;
    readonly displayName?: string | undefined;
  }): Promise<UserId>;
  /** The administrator whose name and password these are. Throws M_LIMIT_EXCEEDED after too many wrong ones. */
  check(username: string, password: string): Promise<UserId | undefined>;
  /** Another one as soon as an administrator has another password; undefined for whoever is none (any more). */
  standingOf(userId: UserId): string | undefined;
}

function mayRun({ isAdmin, locked, suspended, deactivated }: Account): boolean {
  return isAdmin && !locked && !suspended && !deactivated;
}

export function createOwners(needs: {
  readonly db: Database;
  readonly users: UserStore;
  readonly usernames: Usernames;
  readonly passwords: Passwords;
  readonly maker: AccountMaker;
  readonly credentials: Credentials;
  readonly policy: PasswordPolicy;
}): Owners {
  const { db, users, usernames, passwords, maker, credentials, policy } = needs;

  const checkNew: Owners['checkNew'] = ({ username, password }) => {
    usernames.checkFree(usernames.parse(username));
    if (password === undefined) return;
    checkNewPassword(password, policy);
    if (Array.from(password).length < MIN_ADMIN_PASSWORD) {
      throw new MatrixError('M_WEAK_PASSWORD', `The password must have at least ${MIN_ADMIN_PASSWORD} characters`, {
        status: 400,
      });
    }
  };

  return {
    hasPeople: () => users.hasPeople(),
    checkNew,
    create: async ({ username, password, displayName }) => {
      checkNew({ username, password });
      const userId = usernames.parse(username);
      const passwordHash = await passwords.hash(password);
      db.write((tx) => maker.create(tx, { userId, kind: 'user', passwordHash, displayName, isAdmin: true }));
      await db.committed();
      return userId;
    },
    check: async (username, password) => {
      try {
        const account = await credentials.checkPassword({
          identifier: { type: 'm.id.user', user: username },
          password,
        });
        return mayRun(account) ? account.userId : undefined;
      } catch (error) {
        if (error instanceof MatrixError && error.errcode !== 'M_LIMIT_EXCEEDED') return undefined;
        throw error;
      }
    },
    standingOf: (userId) => {
      const account = users.find(userId);
      if (account === undefined || !mayRun(account)) return undefined;
      // Nobody else is to have even the hash.
      const passwordHash = users.findPasswordHash(userId) ?? '';
      return createHash('sha256').update(passwordHash).digest('base64url');
    },
  };
}

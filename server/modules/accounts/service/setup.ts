import { timingSafeEqual } from 'node:crypto';
import { MatrixError, forbidden } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import { randomString, type Random } from '../../../util/random.ts';
import type { UserStore } from '../store/users.ts';
import type { AccountMaker } from './account-maker.ts';
import { checkNewPassword, type Passwords } from './passwords.ts';
import type { PasswordPolicy } from './settings.ts';
import { hashToken } from './tokens.ts';
import type { Usernames } from './usernames.ts';

/** Shortest password, in characters, of the one who rules the server. */
export const MIN_ADMIN_PASSWORD = 8;

/** The way to the first account: a link that works once, on this machine, while nobody has an account. */
export interface SetupLink {
  /** Path and query of the setup page; undefined once somebody has an account. */
  path(): string | undefined;
}

export interface Setup extends SetupLink {
  isValid(token: string): boolean;
  /** Makes the administrator. Throws M_FORBIDDEN if the link is not good (any more), M_INVALID_USERNAME, M_WEAK_PASSWORD. */
  complete(token: string, username: string, password: string): Promise<UserId>;
}

export function createSetup(needs: {
  readonly db: Database;
  readonly random: Random;
  readonly users: UserStore;
  readonly usernames: Usernames;
  readonly passwords: Passwords;
  readonly maker: AccountMaker;
  readonly policy: PasswordPolicy;
}): Setup {
  const { db, random, users, usernames, passwords, maker, policy } = needs;
  // Only in memory: after a restart there is a new link, and the old one is worth nothing.
  const secret = randomString(random, 32);
  const secretHash = hashToken(secret);

  const isValid = (token: string): boolean => timingSafeEqual(hashToken(token), secretHash) && !users.hasPeople();

  function checkValid(token: string): void {
    if (!isValid(token)) throw forbidden('This link has been used, or is not the newest one');
  }

  return {
    path: () => (users.hasPeople() ? undefined : `/_hearth/setup?token=${secret}`),
    isValid,
    complete: async (token, username, password) => {
      checkValid(token);
      const userId = usernames.parse(username);
      usernames.checkFree(userId);
      checkNewPassword(password, policy);
      if (Array.from(password).length < MIN_ADMIN_PASSWORD) {
        throw new MatrixError('M_WEAK_PASSWORD', `The password must have at least ${MIN_ADMIN_PASSWORD} characters`, {
          status: 400,
        });
      }
      const passwordHash = await passwords.hash(password);
      db.write((tx) => {
        // Somebody may have been quicker while the password was hashed.
        checkValid(token);
        maker.create(tx, { userId, kind: 'user', passwordHash, isAdmin: true });
      });
      return userId;
    },
  };
}

import type { RateLimit } from '../../../http/rate-limit.ts';
import { forbidden, limitExceeded, MatrixError } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { RegistrationTokenStore } from '../store/registration-tokens.ts';
import type { AccountMaker } from './account-maker.ts';
import { checkNewPassword, type Passwords } from './passwords.ts';
import type { AccountsSettings } from './settings.ts';
import type { Usernames } from './usernames.ts';

/** Shortest password, in characters, of somebody who comes by an invitation. */
export const MIN_INVITED_PASSWORD = 8;

/** How an invitation is. */
export type InvitationState = 'good' | 'used' | 'expired' | 'unknown';

/**
 * Lets people have an account by an invitation: a registration token alone, whether registration is open or closed, as
 * whoever made the token wants them here.
 */
export interface Joining {
  /** Throws M_LIMIT_EXCEEDED for an address that has brought too many that are not good. */
  stateOf(token: string, ip: string): InvitationState;
  /** Throws M_FORBIDDEN for a token that is not good (any more), M_INVALID_USERNAME, M_USER_IN_USE, M_WEAK_PASSWORD, M_LIMIT_EXCEEDED. */
  join(
    order: { readonly token: string; readonly username: string; readonly password: string },
    ip: string,
  ): Promise<UserId>;
}

export function createJoining(needs: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly settings: AccountsSettings;
  readonly tokens: RegistrationTokenStore;
  readonly usernames: Usernames;
  readonly passwords: Passwords;
  readonly maker: AccountMaker;
  readonly limits: { readonly guessing: RateLimit; readonly registration: RateLimit };
}): Joining {
  const { db, clock, settings, tokens, usernames, passwords, maker, limits } = needs;

  function find(token: string): InvitationState {
    const { enabled, localDatabase } = settings.passwords;
    const found = tokens.find(token);
    // Where nobody can set a password, an account would be of no use.
    if (found === undefined || enabled !== 'yes' || !localDatabase) return 'unknown';
    if (found.expiresMs !== undefined && found.expiresMs <= clock.now()) return 'expired';
    const { usesAllowed, pending, completed } = found;
    return usesAllowed === undefined || pending + completed < usesAllowed ? 'good' : 'used';
  }

  /** Only who brings tokens that are not good is held up. */
  function look(token: string, ip: string): InvitationState {
    const wait = limits.guessing.peek(ip);
    if (wait > 0) throw limitExceeded(wait);
    const state = find(token);
    if (state !== 'good') limits.guessing.check(ip);
    return state;
  }

  return {
    stateOf: look,
    join: async ({ token, username, password }, ip) => {
      if (look(token, ip) !== 'good') throw notGood();
      const userId = usernames.parse(username);
      usernames.checkFree(userId);
      checkNewPassword(password, settings.passwords.policy);
      if (Array.from(password).length < MIN_INVITED_PASSWORD) {
        throw new MatrixError('M_WEAK_PASSWORD', `The password must have at least ${MIN_INVITED_PASSWORD} characters`, {
          status: 400,
        });
      }
      limits.registration.check(ip);
      const passwordHash = await passwords.hash(password);
      db.write((tx) => {
        // Somebody may have been quicker while the password was hashed.
        if (!tokens.reserve(tx, token, clock.now())) throw notGood();
        tokens.complete(tx, token, clock.now());
        maker.create(tx, { userId, kind: 'user', passwordHash, userType: settings.registration.defaultUserType });
      });
      return userId;
    },
  };
}

function notGood(): MatrixError {
  return forbidden('This invitation has been used, has expired or was withdrawn');
}

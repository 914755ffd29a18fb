import { MatrixError } from '../../../matrix/errors.ts';
import { buildUserId, isStrictLocalpart, type ServerName, type UserId } from '../../../matrix/identifiers.ts';
import type { UserStore } from '../store/users.ts';
import type { ApplicationService, ApplicationServices } from './needs.ts';

/** Which names accounts may have. */
export interface Usernames {
  /**
   * The user ID that a chosen name gives, in lower case unless an application service chose it. Throws
   * M_INVALID_USERNAME, or M_EXCLUSIVE if it belongs to an application service (or not to `by`, where one registers it).
   */
  parse(username: string, by?: ApplicationService): UserId;
  /** Throws M_USER_IN_USE. Names of those who have left are not given out again. */
  checkFree(userId: UserId): void;
}

export function createUsernames(needs: {
  readonly users: UserStore;
  readonly serverName: ServerName;
  readonly underscorePrefixAllowed: boolean;
  readonly appservices: ApplicationServices | undefined;
}): Usernames {
  const { users, serverName, underscorePrefixAllowed, appservices } = needs;

  /**
   * NOT-SPEC: as it is written, capitals and all that user IDs once could have included. Bridges put the names of another
   * network into theirs, and act as exactly those afterwards.
   */
  function parseOfService(username: string, by: ApplicationService): UserId {
    if (!/^[!-9;-~]+$/.test(username))
      throw invalid('A username may only contain visible ASCII characters but the colon');
    const userId = buildUserId(username, serverName);
    if (userId === undefined) throw invalid('The username is too long');
    const owner = appservices?.findExclusiveOwner(userId);
    if (!by.covers(userId) || (owner !== undefined && owner.id !== by.id)) {
      throw exclusive('This name is not in the namespace of the application service');
    }
    return userId;
  }

  return {
    parse: (username, by) => {
      if (by !== undefined) return parseOfService(username, by);
      const localpart = username.toLowerCase();
      if (localpart === '') throw invalid('The username is empty');
      // "K" is the Kelvin sign, whose lower case is a plain k: what is not ASCII before does not become it.
      if (!isStrictLocalpart(localpart) || /[^ -~]/.test(username)) {
        throw invalid('A username may only contain the letters a-z, the digits 0-9 and . _ = - / +');
      }
      const userId = buildUserId(localpart, serverName);
      if (userId === undefined) throw invalid('The username is too long');
      if (localpart.startsWith('_') && !underscorePrefixAllowed) throw invalid('A username may not begin with _');
      // Guests are called by numbers, and may keep theirs when they become users.
      if (/^[0-9]+$/.test(localpart)) throw invalid('A username may not be a number');
      if (appservices?.findExclusiveOwner(userId) !== undefined) {
        throw exclusive('This name is reserved for an application service');
      }
      return userId;
    },
    checkFree: (userId) => {
      if (users.find(userId) !== undefined) {
        throw new MatrixError('M_USER_IN_USE', 'This username is taken', { status: 400 });
      }
    },
  };
}

function invalid(message: string): MatrixError {
  return new MatrixError('M_INVALID_USERNAME', message, { status: 400 });
}

function exclusive(message: string): MatrixError {
  return new MatrixError('M_EXCLUSIVE', message, { status: 400 });
}

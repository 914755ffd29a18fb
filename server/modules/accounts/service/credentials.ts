import type { RateLimit } from '../../../http/rate-limit.ts';
import { MatrixError, badJson, forbidden, missingParam, unknownError } from '../../../matrix/errors.ts';
import { buildUserId, isUserId, serverNameOf, type ServerName, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Database } from '../../../storage/types.ts';
import type { Account, UserStore } from '../store/users.ts';
import type { Passwords } from './passwords.ts';

/** Tells who is meant, and whether a password is theirs. */
export interface Credentials {
  /**
   * The account that a request names, by `identifier` or by the keys that came before it (spec: "Identifier types").
   * Undefined if there is none. Throws M_UNKNOWN, M_BAD_JSON or M_MISSING_PARAM if it names nobody at all.
   */
  findAccount(request: JsonObject): Account | undefined;
  /**
   * Checks the password of whom `request` names; a password hashed in an old way is hashed anew. Throws M_FORBIDDEN if it
   * is wrong (and alike if there is no such account), M_USER_DEACTIVATED, M_LIMIT_EXCEEDED after too many wrong ones.
   */
  checkPassword(request: JsonObject): Promise<Account>;
}

export interface CredentialsNeeds {
  readonly db: Database;
  readonly users: UserStore;
  readonly passwords: Passwords;
  readonly serverName: ServerName;
  readonly failedAttempts: RateLimit;
  /** Whose e-mail address or phone number that is. */
  readonly findByThreepid: (medium: string, address: string) => UserId | undefined;
}

export function createCredentials(needs: CredentialsNeeds): Credentials {
  const { db, users, passwords, serverName, failedAttempts, findByThreepid } = needs;

  function findByName(name: string): Account | undefined {
    const userId = name.startsWith('@') ? name : buildUserId(name, serverName);
    if (userId === undefined || !isUserId(userId) || serverNameOf(userId) !== serverName) return undefined;
    const exact = users.find(userId);
    if (exact !== undefined) return exact;
    // People do not mind the case of their names; phones make the first letter a capital.
    const lower = userId.toLowerCase();
    return isUserId(lower) ? users.find(lower) : undefined;
  }

  function findByAddress(medium: string, address: string): Account | undefined {
    const userId = findByThreepid(medium, medium === 'email' ? address.toLowerCase() : address);
    return userId === undefined ? undefined : users.find(userId);
  }

  function findAccount(request: JsonObject): Account | undefined {
    const { identifier, user, medium, address } = request;
    if (identifier === undefined) {
      if (user !== undefined) return findByName(text(user, 'user'));
      if (medium === undefined && address === undefined) throw missingParam('The request does not say who you are');
      return findByAddress(text(medium, 'medium'), text(address, 'address'));
    }
    if (!isJsonObject(identifier)) throw badJson('The key identifier must be an object');
    switch (identifier['type']) {
      case 'm.id.user':
        return findByName(text(identifier['user'], 'identifier.user'));
      case 'm.id.thirdparty':
        return findByAddress(
          text(identifier['medium'], 'identifier.medium'),
          text(identifier['address'], 'identifier.address'),
        );
      case 'm.id.phone': {
        text(identifier['country'], 'identifier.country');
        // Numbers are kept without the plus sign; one typed in a national form matches none.
        const digits = text(identifier['phone'] ?? identifier['number'], 'identifier.phone').replace(/[^0-9]/g, '');
        return findByAddress('msisdn', digits);
      }
      default:
        throw unknownError('This kind of identifier is not known');
    }
  }

  return {
    findAccount,
    checkPassword: async (request) => {
      const password = text(request['password'], 'password');
      const account = findAccount(request);
      // Taken before the answer is known: guesses sent at the same time all count.
      const key = attemptKey(request, account);
      failedAttempts.check(key);
      const hash = account === undefined ? undefined : users.findPasswordHash(account.userId);
      const verdict = await passwords.verify(password, hash);
      if (account?.deactivated === true) {
        throw new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated');
      }
      if (account === undefined || hash === undefined || !verdict.correct)
        throw forbidden('Invalid username or password');
      failedAttempts.reset(key);
      if (verdict.outdated) {
        const better = await passwords.hash(password);
        db.write((tx) => users.replacePasswordHash(tx, account.userId, hash, better));
      }
      return account;
    },
  };
}

/** What limits on logging in are counted by: alike for accounts that are there and those that are not. */
export function attemptKey(request: JsonObject, account: Account | undefined): string {
  if (account !== undefined) return account.userId;
  const { identifier, user, medium, address } = request;
  return `nobody ${JSON.stringify([identifier ?? null, user ?? null, medium ?? null, address ?? null])}`;
}

function text(value: JsonValue | undefined, key: string): string {
  if (value === undefined) throw missingParam(`The key ${key} is missing`);
  if (typeof value !== 'string') throw badJson(`The key ${key} must be text`);
  return value;
}

import { MatrixError, invalidParam, notFound } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { randomString, type Random } from '../../../util/random.ts';
import type { RegistrationToken, RegistrationTokenStore } from '../store/registration-tokens.ts';
import type { Account, AccountFlag, AccountFilter, UserStore } from '../store/users.ts';
import type { AccountMaker } from './account-maker.ts';
import type { TokenMemory } from './authenticator.ts';
import type { Departures } from './departures.ts';
import type { AccountHooks, Devices } from './needs.ts';
import type { Passwords } from './passwords.ts';
import type { Tokens } from './tokens.ts';
import type { Usernames } from './usernames.ts';

/** What others may ask about users of this server. */
export interface AccountLookup {
  find(userId: UserId): Account | undefined;
  /** Whether there is, or ever was, such an account. */
  exists(userId: UserId): boolean;
  isGuest(userId: UserId): boolean;
  isErased(userId: UserId): boolean;
  isAdmin(userId: UserId): boolean;
  isDeactivated(userId: UserId): boolean;
  /** In the order of their user IDs. */
  list(filter?: AccountFilter): readonly Account[];
  /** How many `list` would give without its limit. */
  count(filter?: AccountFilter): number;
  /** Whether nobody else could administer this server. */
  isLastAdministrator(userId: UserId): boolean;
  /** Guests and deactivated users apart. */
  listLocalUsers(): readonly UserId[];
}

/** What an administrator, or another part in their name, does to accounts. Unknown users are M_NOT_FOUND. */
export interface AccountAdministration {
  /** Throws M_INVALID_USERNAME, M_USER_IN_USE, M_EXCLUSIVE. Without a password only others ways to log in work. */
  create(account: {
    readonly username: string;
    readonly password?: string | undefined;
    readonly displayName?: string | undefined;
    readonly userType?: string | undefined;
    readonly admin?: boolean | undefined;
  }): Promise<UserId>;
  /** The user an application service speaks as, if it is not there yet. */
  ensureAppserviceUser(userId: UserId, appserviceId: string): void;
  /** Undefined takes the password away. `logOutDevices` removes all devices. */
  setPassword(
    userId: UserId,
    password: string | undefined,
    options: { readonly logOutDevices: boolean },
  ): Promise<void>;
  setAdmin(userId: UserId, admin: boolean): void;
  setLocked(userId: UserId, locked: boolean): void;
  setSuspended(userId: UserId, suspended: boolean): void;
  setRateLimited(userId: UserId, rateLimited: boolean): void;
  setUserType(userId: UserId, userType: string | undefined): void;
  deactivate(userId: UserId, options: { readonly erase: boolean }): void;
  /** Opens a deactivated account again. Rooms, devices and what was erased do not come back. */
  reactivate(userId: UserId, password: string | undefined): Promise<void>;
  /** A single-use token to log in with, good for `lifetimeMs` milliseconds. */
  createLoginToken(userId: UserId, lifetimeMs: number): string;
}

/** The tokens people register with, as administrators see them. */
export interface RegistrationTokens {
  list(): readonly RegistrationToken[];
  find(token: string): RegistrationToken | undefined;
  /** Throws M_INVALID_PARAM if the token is not 1 to 64 of the characters `A-Za-z0-9._~-`, or is there already. */
  create(options: {
    readonly token?: string | undefined;
    /** Characters of a token that is made up; 16 unless told. */
    readonly length?: number | undefined;
    readonly usesAllowed?: number | undefined;
    readonly expiresMs?: number | undefined;
    readonly note?: string | undefined;
  }): RegistrationToken;
  /** Throws M_NOT_FOUND. */
  update(
    token: string,
    change: { readonly usesAllowed: number | undefined; readonly expiresMs: number | undefined },
  ): RegistrationToken;
  /** Throws M_NOT_FOUND. */
  remove(token: string): void;
}

export interface AdministrationNeeds {
  readonly db: Database;
  readonly users: UserStore;
  readonly memory: TokenMemory;
  readonly passwords: Passwords;
  readonly usernames: Usernames;
  readonly maker: AccountMaker;
  readonly tokens: Tokens;
  readonly departures: Departures;
  readonly devices: Devices;
  readonly hooks: Pick<AccountHooks, 'onStandingChanged'>;
}

/** Whether a user is an administrator who can act, and all others are locked, suspended or gone. */
export function isLastAdministrator(users: UserStore, userId: UserId): boolean {
  const able = users.list({ admin: true, deactivated: false, locked: false }).filter(({ suspended }) => !suspended);
  return able.some((account) => account.userId === userId) && able.length === 1;
}

export function createLookup(users: UserStore): AccountLookup {
  return {
    find: (userId) => users.find(userId),
    exists: (userId) => users.find(userId) !== undefined,
    isGuest: (userId) => users.find(userId)?.kind === 'guest',
    isErased: (userId) => users.find(userId)?.erased ?? false,
    isAdmin: (userId) => users.find(userId)?.isAdmin ?? false,
    isDeactivated: (userId) => users.find(userId)?.deactivated ?? false,
    list: (filter) => users.list(filter ?? {}),
    count: (filter) => users.count(filter ?? {}),
    isLastAdministrator: (userId) => isLastAdministrator(users, userId),
    listLocalUsers: () => users.list({ kind: 'user', deactivated: false }).map((account) => account.userId),
  };
}

export function createAdministration(needs: AdministrationNeeds): AccountAdministration {
  const { db, users, memory, passwords, usernames, maker, tokens, departures, devices, hooks } = needs;

  function tellOfStanding(tx: WriteTx, userId: UserId): void {
    for (const hook of hooks.onStandingChanged ?? []) hook(tx, userId);
  }

  function get(userId: UserId): Account {
    const account = users.find(userId);
    if (account === undefined) throw notFound('There is no such user here');
    return account;
  }

  function setFlag(userId: UserId, flag: AccountFlag, value: boolean): void {
    get(userId);
    db.write((tx) => {
      users.setFlag(tx, userId, flag, value);
      memory.forget(tx, userId);
    });
  }

  return {
    create: async ({ username, password, displayName, userType, admin }) => {
      const userId = usernames.parse(username);
      usernames.checkFree(userId);
      const passwordHash = password === undefined ? undefined : await passwords.hash(password);
      db.write((tx) =>
        maker.create(tx, { userId, kind: 'user', passwordHash, displayName, userType, isAdmin: admin ?? false }),
      );
      return userId;
    },
    ensureAppserviceUser: (userId, appserviceId) => {
      if (users.find(userId) !== undefined) return;
      db.write((tx) => maker.create(tx, { userId, kind: 'user', appserviceId }));
    },
    setPassword: async (userId, password, { logOutDevices }) => {
      get(userId);
      const hash = password === undefined ? undefined : await passwords.hash(password);
      db.write((tx) => {
        users.setPasswordHash(tx, userId, hash);
        if (logOutDevices) devices.removeAll(tx, userId);
      });
    },
    setAdmin: (userId, admin) => {
      if (!admin && get(userId).isAdmin && users.countAdmins() === 1) {
        throw new MatrixError('M_FORBIDDEN', 'The last administrator cannot give this up');
      }
      setFlag(userId, 'admin', admin);
    },
    setLocked: (userId, locked) => setFlag(userId, 'locked', locked),
    setSuspended: (userId, suspended) => setFlag(userId, 'suspended', suspended),
    setRateLimited: (userId, rateLimited) => setFlag(userId, 'rate_limited', rateLimited),
    setUserType: (userId, userType) => {
      get(userId);
      db.write((tx) => {
        users.setUserType(tx, userId, userType);
        tellOfStanding(tx, userId);
      });
    },
    deactivate: (userId, options) => {
      get(userId);
      departures.deactivate(userId, options);
    },
    reactivate: async (userId, password) => {
      if (!get(userId).deactivated) return;
      const hash = password === undefined ? undefined : await passwords.hash(password);
      db.write((tx) => {
        users.reactivate(tx, userId, hash);
        memory.forget(tx, userId);
        tellOfStanding(tx, userId);
      });
    },
    createLoginToken: (userId, lifetimeMs) => {
      get(userId);
      return db.write((tx) => tokens.issueLoginToken(tx, userId, lifetimeMs));
    },
  };
}

const TOKEN = /^[A-Za-z0-9._~-]{1,64}$/;

export function createRegistrationTokens(needs: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly store: RegistrationTokenStore;
}): RegistrationTokens {
  const { db, clock, random, store } = needs;

  function check(change: { usesAllowed?: number | undefined; expiresMs?: number | undefined }): void {
    const { usesAllowed, expiresMs } = change;
    if (usesAllowed !== undefined && !(Number.isSafeInteger(usesAllowed) && usesAllowed >= 0)) {
      throw invalidParam('The number of uses must be a whole number of 0 or more');
    }
    if (expiresMs !== undefined && !(Number.isSafeInteger(expiresMs) && expiresMs > clock.now())) {
      throw invalidParam('The time of expiry must be in the future');
    }
  }

  function get(token: string): RegistrationToken {
    const found = store.find(token);
    if (found === undefined) throw notFound('There is no such registration token');
    return found;
  }

  return {
    list: () => store.list(),
    find: (token) => store.find(token),
    create: ({ token: wanted, length = 16, usesAllowed, expiresMs, note }) => {
      if (!(Number.isInteger(length) && length >= 1 && length <= 64)) {
        throw invalidParam('A registration token has 1 to 64 characters');
      }
      const token = wanted ?? randomString(random, length);
      if (!TOKEN.test(token))
        throw invalidParam('A registration token is 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -');
      check({ usesAllowed, expiresMs });
      const createdMs = clock.now();
      if (!db.write((tx) => store.insert(tx, { token, usesAllowed, expiresMs, note, createdMs }))) {
        throw invalidParam('This registration token is there already');
      }
      return get(token);
    },
    update: (token, change) => {
      get(token);
      check(change);
      db.write((tx) => store.update(tx, { token, ...change }));
      return get(token);
    },
    remove: (token) => {
      if (!db.write((tx) => store.remove(tx, token))) throw notFound('There is no such registration token');
    },
  };
}

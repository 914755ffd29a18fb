import { LRUCache } from 'lru-cache';
import type { Authentication, AuthenticationContext, Authenticator } from '../../../http/authenticate.ts';
import type { Requester } from '../../../http/route.ts';
import { MatrixError, forbidden } from '../../../matrix/errors.ts';
import { isDeviceId, isUserId, type DeviceId, type UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { TokenStore } from '../store/tokens.ts';
import type { Account, UserStore } from '../store/users.ts';
import type { ApplicationService, ApplicationServices, Devices } from './needs.ts';
import { hashToken, type Tokens } from './tokens.ts';
import { atMost } from '../../../util/lru.ts';

// About 500 bytes each; a household has some dozens of tokens.
const REMEMBERED_TOKENS = 5_000;

interface Remembered {
  readonly authentication: Authentication;
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly expiresMs: number | undefined;
}

export interface AuthenticatorNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly users: UserStore;
  readonly store: TokenStore;
  readonly tokens: Pick<Tokens, 'markRefreshUsed'>;
  readonly memory: TokenMemory;
  readonly devices: Devices;
  readonly appservices: ApplicationServices | undefined;
  readonly isExpired: (userId: UserId) => boolean;
}

/** What was found out about tokens: asked on every request, so it is kept. */
export class TokenMemory {
  readonly #byHash = new LRUCache<string, Remembered>(atMost(REMEMBERED_TOKENS));

  find(hash: string): Remembered | undefined {
    return this.#byHash.get(hash);
  }

  put(hash: string, remembered: Remembered): void {
    this.#byHash.set(hash, remembered);
  }

  /** Something about a user or their tokens changes in `tx`. */
  forget(tx: WriteTx, userId: UserId): void {
    const forgetNow = (): void => {
      for (const [hash, { userId: owner }] of this.#byHash) if (owner === userId) this.#byHash.delete(hash);
    };
    forgetNow();
    // What is read between the change and its undoing must not stay either.
    tx.onRollback(forgetNow);
  }
}

/** Tells who shows an access token: a user's device, or an application service (spec: "Using access tokens"). */
export function createAuthenticator(needs: AuthenticatorNeeds): Authenticator {
  const { db, clock, users, store, tokens, memory, devices, appservices, isExpired } = needs;

  function lookUp(hash: Buffer, key: string): Remembered | undefined {
    const token = store.findAccess(hash);
    if (token === undefined) return undefined;
    const account = users.find(token.userId);
    if (account === undefined) return undefined;
    if (token.refreshId !== undefined) {
      const refresh = store.findRefreshById(token.refreshId);
      if (refresh !== undefined && !refresh.used) db.write((tx) => tokens.markRefreshUsed(tx, refresh));
    }
    const requester = toRequester(account, token.deviceId, token.id);
    const remembered = {
      authentication: verdict(account, requester),
      userId: token.userId,
      deviceId: token.deviceId,
      expiresMs: token.expiresMs,
    };
    memory.put(key, remembered);
    return remembered;
  }

  return {
    authenticate: (token, context) => {
      const appservice = appservices?.findByToken(token);
      if (appservice !== undefined) return asAppservice(appservice, context);
      const hash = hashToken(token);
      const key = hash.toString('base64');
      const found = memory.find(key) ?? lookUp(hash, key);
      if (found === undefined) return { kind: 'unknown' };
      if (found.expiresMs !== undefined && found.expiresMs <= clock.now()) return { kind: 'soft-logged-out' };
      devices.seen(found.userId, found.deviceId, context.ip, context.userAgent);
      if (found.authentication.kind === 'ok' && isExpired(found.userId)) {
        return { kind: 'locked', requester: found.authentication.requester, error: expired() };
      }
      return found.authentication;
    },
  };

  /** Spec: application service API, "Identity assertion". */
  function asAppservice(service: ApplicationService, context: AuthenticationContext): Authentication {
    const { userIdOverride, deviceIdOverride } = context;
    const userId = userIdOverride ?? service.senderUserId;
    if (!isUserId(userId) || !service.covers(userId)) {
      return refused(forbidden('This application service may not act as that user'));
    }
    const account = users.find(userId);
    if (account === undefined && userId !== service.senderUserId) {
      return refused(forbidden('This application service has not registered that user'));
    }
    let deviceId: DeviceId | undefined;
    if (deviceIdOverride !== undefined) {
      if (!isDeviceId(deviceIdOverride) || !devices.exists(userId, deviceIdOverride)) {
        return refused(new MatrixError('M_UNKNOWN_DEVICE', 'That user has no such device', { status: 400 }));
      }
      deviceId = deviceIdOverride;
      if (service.tracksAddresses) devices.seen(userId, deviceId, context.ip, context.userAgent);
    }
    const requester: Requester = {
      userId,
      deviceId,
      tokenId: undefined,
      isGuest: false,
      isAdmin: account?.isAdmin ?? false,
      isSuspended: account?.suspended ?? false,
      appserviceId: service.id,
      // Spec: "Registration", `rate_limited`.
      rateLimited: service.rateLimited && userId !== service.senderUserId && account?.rateLimited !== false,
    };
    return account === undefined ? { kind: 'ok', requester } : verdict(account, requester);
  }
}

function toRequester(account: Account, deviceId: DeviceId, tokenId: number): Requester {
  return {
    userId: account.userId,
    deviceId,
    tokenId,
    isGuest: account.kind === 'guest',
    isAdmin: account.isAdmin,
    isSuspended: account.suspended,
    appserviceId: undefined,
    rateLimited: account.rateLimited,
  };
}

function verdict(account: Account, requester: Requester): Authentication {
  if (account.deactivated) return { kind: 'deactivated' };
  return account.locked ? { kind: 'locked', requester } : { kind: 'ok', requester };
}

/** NOT-SPEC: what servers with accounts that run out have long answered. */
function expired(): MatrixError {
  return new MatrixError('ORG_MATRIX_EXPIRED_ACCOUNT', 'This account has expired', { status: 403 });
}

function refused(error: MatrixError): Authentication {
  return { kind: 'refused', error };
}

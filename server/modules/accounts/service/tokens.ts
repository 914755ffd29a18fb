import { hash } from 'node:crypto';
import { MatrixError, unknownToken } from '../../../matrix/errors.ts';
import { isDeviceId, type DeviceId, type UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { randomString, type Random } from '../../../util/random.ts';
import type { RefreshToken, TokenStore } from '../store/tokens.ts';
import type { UserStore } from '../store/users.ts';
import type { Devices } from './needs.ts';
import type { SessionSettings } from './settings.ts';

/** How a token is stored and looked up. Tokens are long and random, so a fast hash keeps them safe. */
export function hashToken(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

/** Someone who logs in. */
interface LoginRequest {
  readonly userId: UserId;
  /** Undefined: the server picks one. */
  readonly deviceId: DeviceId | undefined;
  readonly initialDisplayName: string | undefined;
  /** The client knows how to refresh. */
  readonly refreshable: boolean;
}

/** What a client gets to speak with. */
export interface IssuedTokens {
  readonly deviceId: DeviceId;
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  /** Undefined: the access token does not expire. */
  readonly expiresInMs: number | undefined;
}

/** Gives out tokens, refreshes them and takes them back. */
export interface Tokens {
  /**
   * Opens a session on a device, made if it is new; tokens it had before are void (spec: "Relationship between access
   * tokens and devices"). Throws M_FORBIDDEN if the device ID is taken by a cross-signing key or a dehydrated device.
   */
  issue(tx: WriteTx, login: LoginRequest): IssuedTokens;
  /** Exchanges a refresh token (spec: "Refreshing access tokens"). Throws M_UNKNOWN_TOKEN, M_USER_LOCKED. */
  refresh(token: string): IssuedTokens;
  /** A single-use token to log in with, for `lifetimeMs` milliseconds. */
  issueLoginToken(tx: WriteTx, userId: UserId, lifetimeMs: number): string;
  /** The user a login token stands for, once; undefined if it is not good (any more). */
  takeLoginToken(tx: WriteTx, token: string): UserId | undefined;
  /** Makes all tokens of a device void. */
  revokeOfDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
  /** The session shows a refresh token (or its access token) for the first time: what came before it is void. */
  markRefreshUsed(tx: WriteTx, refresh: RefreshToken): void;
}

export interface TokensNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly users: UserStore;
  readonly store: TokenStore;
  readonly devices: Devices;
  readonly settings: SessionSettings;
  /** Told when answers about a user's tokens that are remembered may be wrong. */
  readonly forget: (tx: WriteTx, userId: UserId) => void;
  readonly isCrossSigningKey: (userId: UserId, keyId: string) => boolean;
}

export function createTokens(needs: TokensNeeds): Tokens {
  const { db, clock, random, users, store, devices, settings, forget, isCrossSigningKey } = needs;

  // A prefix lets people, and programs that look for leaked secrets, see what it is.
  const newToken = (prefix: string): string => `${prefix}_${randomString(random, 43)}`;

  function revokeOfDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    if (store.removeOfDevice(tx, userId, deviceId)) forget(tx, userId);
  }

  function markRefreshUsed(tx: WriteTx, refresh: RefreshToken): void {
    store.markRefreshUsed(tx, refresh.id);
    if (refresh.previousId === undefined) return;
    store.removeAccessOfRefresh(tx, refresh.previousId);
    forget(tx, refresh.userId);
    // The one just superseded stays, to be recognised if it is shown again; its own predecessor need not.
    const oldest = store.findRefreshById(refresh.previousId)?.previousId;
    if (oldest !== undefined) store.removeRefresh(tx, oldest);
  }

  /** An access token, and the refresh token that goes with it unless `refresh` is undefined. */
  function give(
    tx: WriteTx,
    owner: { userId: UserId; deviceId: DeviceId; validatedMs: number; sessionExpiresMs: number | undefined },
    refresh: { previousId: number | undefined } | undefined,
  ): IssuedTokens {
    const { userId, deviceId, validatedMs, sessionExpiresMs } = owner;
    const now = clock.now();
    let refreshToken: string | undefined;
    let refreshId: number | undefined;
    if (refresh !== undefined) {
      refreshToken = newToken('hrt');
      const expiresMs = earlier(later(now, settings.refreshTokenLifetimeMs), sessionExpiresMs);
      refreshId = store.insertRefresh(tx, hashToken(refreshToken), {
        userId,
        deviceId,
        expiresMs,
        sessionExpiresMs,
        previousId: refresh.previousId,
      });
    }
    const lifetime =
      refresh === undefined ? settings.nonrefreshableAccessTokenLifetimeMs : settings.refreshableAccessTokenLifetimeMs;
    const expiresMs = earlier(later(now, lifetime), sessionExpiresMs);
    const accessToken = newToken('hat');
    store.insertAccess(tx, hashToken(accessToken), { userId, deviceId, expiresMs, validatedMs, refreshId });
    return {
      deviceId,
      accessToken,
      refreshToken,
      expiresInMs: expiresMs === undefined ? undefined : Math.max(0, expiresMs - now),
    };
  }

  return {
    revokeOfDevice,
    markRefreshUsed,

    issue: (tx, { userId, deviceId: wanted, initialDisplayName, refreshable }) => {
      if (wanted !== undefined && isCrossSigningKey(userId, wanted)) {
        throw new MatrixError('M_FORBIDDEN', 'This device ID is taken by something that is no client');
      }
      const deviceId = wanted ?? newDeviceId(random);
      revokeOfDevice(tx, userId, deviceId);
      devices.ensure(tx, userId, deviceId, initialDisplayName);
      const now = clock.now();
      const sessionExpiresMs = later(now, settings.lifetimeMs);
      return give(
        tx,
        { userId, deviceId, validatedMs: now, sessionExpiresMs },
        refreshable ? { previousId: undefined } : undefined,
      );
    },

    refresh: (token) => {
      const found = store.findRefresh(hashToken(token));
      if (found === undefined) throw unknownToken('This refresh token is not known');
      const now = clock.now();
      if (isPast(found.expiresMs, now) || isPast(found.sessionExpiresMs, now)) {
        throw unknownToken('This refresh token has expired', true);
      }
      const account = users.find(found.userId);
      if (account === undefined || account.deactivated) throw unknownToken('This account is gone');
      if (account.locked) {
        throw new MatrixError('M_USER_LOCKED', 'This account is locked', { fields: { soft_logout: true } });
      }
      const successor = store.findSuccessor(found.id);
      if (successor?.used === true) throw unknownToken('This refresh token has been exchanged already', true);
      return db.write((tx) => {
        // The client never got what it was given for this token last time; it cannot use that any more.
        if (successor !== undefined) {
          store.removeRefresh(tx, successor.id);
          forget(tx, found.userId);
        }
        if (!found.used) markRefreshUsed(tx, found);
        return give(
          tx,
          // Refreshing proves possession of a token, not who holds it.
          {
            userId: found.userId,
            deviceId: found.deviceId,
            validatedMs: 0,
            sessionExpiresMs: found.sessionExpiresMs,
          },
          { previousId: found.id },
        );
      });
    },

    issueLoginToken: (tx, userId, lifetimeMs) => {
      const token = newToken('hlt');
      store.insertLogin(tx, hashToken(token), userId, clock.now() + lifetimeMs);
      return token;
    },

    takeLoginToken: (tx, token) => {
      const found = store.takeLogin(tx, hashToken(token));
      return found === undefined || found.expiresMs <= clock.now() ? undefined : found.userId;
    },
  };
}

/** A device ID as the server picks them: ten capital letters. */
function newDeviceId(random: Random): DeviceId {
  const id = randomString(random, 10, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ');
  if (!isDeviceId(id)) throw new TypeError('a made-up device ID is none');
  return id;
}

function later(now: number, lifetimeMs: number | undefined): number | undefined {
  return lifetimeMs === undefined ? undefined : now + lifetimeMs;
}

function earlier(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.min(one, other);
}

function isPast(expiresMs: number | undefined, now: number): boolean {
  return expiresMs !== undefined && expiresMs <= now;
}

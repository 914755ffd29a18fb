import { createHmac } from 'node:crypto';
import type { RateLimit } from '../../http/rate-limit.ts';
import { route } from '../../http/route.ts';
import { MatrixError } from '../../matrix/errors.ts';
import type { UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Module } from '../../module.ts';
import type { Clock } from '../../util/clock.ts';

export interface VoipSettings {
  readonly turn: {
    readonly uris: readonly string[];
    /** What this server and the TURN server both know, out of which passwords are made. */
    readonly sharedSecret: string | undefined;
    /** One name and password for all, where there is no shared secret. */
    readonly username: string | undefined;
    readonly password: string | undefined;
    readonly userLifetimeMs: number;
    readonly guestsAllowed: boolean;
  };
  /** What carries group calls, as clients understand it. */
  readonly rtcTransports: readonly JsonObject[];
}

export interface VoipNeeds {
  readonly clock: Pick<Clock, 'now'>;
  readonly limit: RateLimit;
  readonly settings: VoipSettings;
}

/** What clients need for calls: TURN servers (spec: "Voice over IP") and what carries group calls (MSC4143). */
export function voip({ clock, limit, settings }: VoipNeeds): Module {
  const { turn, rtcTransports } = settings;
  return {
    name: 'voip',
    routes: [
      route({
        method: 'GET',
        path: '/_matrix/client/v3/voip/turnServer',
        auth: 'user',
        guests: true,
        handle: ({ requester }) => {
          if (requester.isGuest && !turn.guestsAllowed) {
            throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may not use the TURN server');
          }
          limit.checkFor(requester, requester.userId);
          const access = turnAccess(turn, requester.userId, clock.now());
          // NOT-SPEC: the spec has no words for "there is none". Clients know an empty object for that.
          return access === undefined
            ? {}
            : { ...access, uris: turn.uris, ttl: Math.floor(turn.userLifetimeMs / 1_000) };
        },
      }),
      route({
        method: 'GET',
        // MSC4143: where it will be, and where clients ask until then.
        path: ['/_matrix/client/v1/rtc/transports', '/_matrix/client/unstable/org.matrix.msc4143/rtc/transports'],
        auth: 'user',
        guests: true,
        handle: () => ({ rtc_transports: rtcTransports }),
      }),
    ],
  };
}

/**
 * A name and password for the TURN server; undefined if there is none. With a shared secret they are good for a while
 * only, and the TURN server can check them by itself ("REST API for access to TURN services", as coturn and others have it).
 */
function turnAccess(
  { uris, sharedSecret, username, password, userLifetimeMs }: VoipSettings['turn'],
  userId: UserId,
  now: number,
): { readonly username: string; readonly password: string } | undefined {
  if (uris.length === 0) return undefined;
  if (sharedSecret !== undefined) {
    const name = `${Math.floor((now + userLifetimeMs) / 1_000)}:${userId}`;
    return { username: name, password: createHmac('sha1', sharedSecret).update(name).digest('base64') };
  }
  return username === undefined || password === undefined ? undefined : { username, password };
}

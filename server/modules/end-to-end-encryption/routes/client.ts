import type { Requester, Route } from '../../../http/route.ts';
import { route } from '../../../http/route.ts';
import { durationMs, jsonObject, mapByUser, mapOf } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { unknownError } from '../../../matrix/errors.ts';
import { type DeviceId, isUserId, type ServerName, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { Database, StreamPosition } from '../../../storage/types.ts';
import type { SyncTokens } from '../../../sync/token.ts';
import type { SyncWindow } from '../../../sync/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import type { CrossSigning, CrossSigningUpload } from '../service/cross-signing.ts';
import { claimAll } from '../service/claim-all.ts';
import { type DeviceKeys, splitByServer } from '../service/device-keys.ts';
import type { RemoteKeys } from '../service/remote-keys.ts';
import { changedUsers } from '../sync.ts';
import type { Usage } from '../store/cross-signing.ts';
import type { DeviceListStore } from '../store/device-lists.ts';

/** Keys of every device in a large room are asked for at once, and a client may upload a hundred one-time keys. */
const MAX_BODY_BYTES = 1024 * 1024;
/** As long as the spec recommends clients to ask for. */
const DEFAULT_REMOTE_TIMEOUT_MS = 10_000;
/** How long keys are looked up at a stretch. */
const SLICE_MS = 5;
const USAGES: readonly Usage[] = ['master', 'self_signing', 'user_signing'];

/** The guard of actions that want proof of who one is. */
export interface InteractiveAuth {
  guard<Input>(
    request: {
      readonly requester: Requester;
      readonly operation: string;
      readonly body: JsonObject;
      readonly ip: string;
      /** Proof is wanted even right after another. */
      readonly always?: boolean;
      readonly read: (body: JsonObject) => Input;
    },
    act: (input: Input) => Promise<object> | object,
  ): Promise<object>;
}

export interface KeyRoutesNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly serverName: ServerName;
  readonly interactiveAuth: InteractiveAuth;
  readonly tokens: Pick<SyncTokens, 'parse'>;
  /** What a viewer's sync from `since` on would be about. */
  readonly windowSince: (requester: Requester, since: StreamPosition) => SyncWindow;
  readonly rooms: { shareRoom(a: UserId, b: UserId): boolean };
}

function deviceOf({ deviceId }: Requester): DeviceId {
  if (deviceId === undefined) throw unknownError('Only a device has keys');
  return deviceId;
}

function unreachable(servers: Iterable<ServerName>): JsonObject {
  return Object.fromEntries(
    [...servers].map((server) => [server, { status: 503, message: 'This server does not talk to other servers' }]),
  );
}

/** The identity keys of a device. */
export const deviceKeysSchema = Type.Object({
  user_id: Type.String(),
  device_id: Type.String(),
  algorithms: Type.Array(Type.String()),
  keys: mapOf(Type.String()),
  signatures: mapOf(mapOf(Type.String())),
});

/** What clients ask about keys (spec: client-server API, "End-to-End Encryption"). */
export function keyRoutes(
  needs: KeyRoutesNeeds & {
    readonly deviceKeys: DeviceKeys;
    readonly crossSigning: CrossSigning;
    readonly deviceLists: DeviceListStore;
    /** Undefined where this server has no dealings with others. */
    readonly remote: RemoteKeys | undefined;
  },
): Route[] {
  const { clock, serverName, interactiveAuth, tokens, windowSince, rooms, remote, deviceKeys, crossSigning } = needs;

  function showMasters(keys: JsonObject, viewer: UserId): JsonObject {
    return Object.fromEntries(
      Object.entries(keys).map(([userId, key]) => {
        const isShown = isUserId(userId) && isJsonObject(key);
        return [userId, isShown ? crossSigning.showRemoteMaster(userId, key, viewer) : key];
      }),
    );
  }

  return [
    route({
      method: 'POST',
      // Old clients name their device in the path; it was never looked at.
      path: ['/_matrix/client/v3/keys/upload', '/_matrix/client/v3/keys/upload/:deviceId'],
      auth: 'user',
      guests: true,
      bodyLimit: MAX_BODY_BYTES,
      body: Type.Object({
        device_keys: Type.Optional(deviceKeysSchema),
        one_time_keys: Type.Optional(jsonObject),
        fallback_keys: Type.Optional(jsonObject),
      }),
      handle: ({ requester, body }) => {
        const deviceId = deviceOf(requester);
        deviceKeys.upload(requester.userId, deviceId, body);
        return { one_time_key_counts: deviceKeys.countOneTimeKeys(requester.userId, deviceId) };
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/keys/query',
      auth: 'user',
      guests: true,
      bodyLimit: MAX_BODY_BYTES,
      body: Type.Object({
        device_keys: mapByUser(Type.Array(Type.String())),
        timeout: Type.Optional(durationMs),
      }),
      handle: async ({ requester, body }) => {
        const viewer = requester.userId;
        const { local, remote: others } = splitByServer(body.device_keys, serverName);
        const elsewhere =
          others.size === 0 ? undefined : await remote?.query(others, body.timeout ?? DEFAULT_REMOTE_TIMEOUT_MS);
        const own = new Map<UserId, JsonObject>();
        const crossSigningKeys = new Map(USAGES.map((usage) => [usage, new Map<UserId, JsonObject>()]));
        const pace = new Pace(clock, SLICE_MS);
        for (const [userId, devices] of local) {
          await pace.step();
          own.set(userId, deviceKeys.query(userId, devices, viewer));
          for (const [usage, found] of crossSigningKeys) {
            const key = crossSigning.find(userId, usage, viewer);
            if (key !== undefined) found.set(userId, key);
          }
        }
        const keysOf = (usage: Usage): JsonObject => Object.fromEntries(crossSigningKeys.get(usage) ?? []);
        return {
          device_keys: { ...elsewhere?.deviceKeys, ...Object.fromEntries(own) },
          failures: elsewhere?.failures ?? unreachable(others.keys()),
          master_keys: { ...showMasters(elsewhere?.masterKeys ?? {}, viewer), ...keysOf('master') },
          self_signing_keys: { ...elsewhere?.selfSigningKeys, ...keysOf('self_signing') },
          user_signing_keys: keysOf('user_signing'),
        };
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/keys/claim',
      auth: 'user',
      guests: true,
      bodyLimit: MAX_BODY_BYTES,
      body: Type.Object({
        one_time_keys: mapByUser(mapOf(Type.String())),
        timeout: Type.Optional(durationMs),
      }),
      handle: async ({ body }) => {
        const { local, remote: others } = splitByServer(body.one_time_keys, serverName);
        const elsewhere =
          others.size === 0 ? undefined : await remote?.claim(others, body.timeout ?? DEFAULT_REMOTE_TIMEOUT_MS);
        const claimed = await claimAll({ ...needs, wanted: local });
        return {
          one_time_keys: { ...elsewhere?.oneTimeKeys, ...claimed },
          failures: elsewhere?.failures ?? unreachable(others.keys()),
        };
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/keys/changes',
      auth: 'user',
      guests: true,
      query: Type.Object({ from: Type.String(), to: Type.String() }),
      handle: ({ requester, query }) => {
        // NOT-SPEC: changes after `to` are given too. Only the last change of each user is kept, so one before `to` could
        // hide behind a later one, and to look once more at a user is harmless.
        tokens.parse(query.to, 'to');
        const window = windowSince(requester, tokens.parse(query.from, 'from'));
        return changedUsers(window, needs.deviceLists, rooms);
      },
    }),
    route({
      method: 'POST',
      path: ['/_matrix/client/v3/keys/device_signing/upload', '/_matrix/client/unstable/keys/device_signing/upload'],
      auth: 'user',
      body: jsonObject,
      handle: ({ requester, body, ip }) => {
        const read = (input: JsonObject): CrossSigningUpload => crossSigning.read(requester.userId, input);
        const act = (upload: CrossSigningUpload): object => {
          crossSigning.store(requester.userId, upload);
          return {};
        };
        const { auth, ...given } = body;
        // The second round of the dialogue may leave the keys out, as the session remembers them.
        const isResumed = isJsonObject(auth) && Object.keys(given).length === 0;
        if (!isResumed) {
          const upload = read(given);
          if (!crossSigning.replaces(requester.userId, upload)) return act(upload);
        }
        // New keys let in whoever holds them: that the user has just logged in is not proof enough.
        return interactiveAuth.guard(
          { requester, operation: 'replace cross-signing keys', body, ip, always: true, read },
          act,
        );
      },
    }),
    route({
      method: 'POST',
      path: ['/_matrix/client/v3/keys/signatures/upload', '/_matrix/client/unstable/keys/signatures/upload'],
      auth: 'user',
      bodyLimit: MAX_BODY_BYTES,
      body: mapOf(jsonObject),
      handle: async ({ requester, body }) => {
        const wanted = Object.fromEntries(Object.keys(body).map((userId) => [userId, []]));
        const { remote: others } = splitByServer(wanted, serverName);
        // What was signed is compared with what is there.
        const elsewhere = others.size === 0 ? undefined : await remote?.query(others, DEFAULT_REMOTE_TIMEOUT_MS);
        return { failures: await crossSigning.addSignatures(requester.userId, body, elsewhere?.masterKeys ?? {}) };
      },
    }),
  ];
}

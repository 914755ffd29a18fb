import { route, type Route } from '../../../http/route.ts';
import { mapOf, userId } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { invalidParam, tooLarge } from '../../../matrix/errors.ts';
import { isUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { claimAll } from '../service/claim-all.ts';
import type { CrossSigning } from '../service/cross-signing.ts';
import type { DeviceKeys } from '../service/device-keys.ts';
import { shownToClients } from '../service/read-remote.ts';
import type { OwnChangeStore } from '../store/own-changes.ts';

/** A household has few users, and no server asks for one of them twice in a request. */
const MAX_USERS = 1_000;
/** Keys that one request may take. */
const MAX_CLAIMS = 2_000;

export interface FederationKeyRoutesNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly serverName: ServerName;
  readonly rooms: {
    listRoomIdsOf(userId: UserId): readonly RoomId[];
    listServers(roomId: RoomId): readonly ServerName[];
  };
  readonly deviceKeys: DeviceKeys;
  readonly crossSigning: CrossSigning;
  readonly ownChanges: OwnChangeStore;
}

/** Keys of this server's users for other servers (spec: server-server API, "Device Management", "End-to-End Encryption"). */
export function federationKeyRoutes(needs: FederationKeyRoutesNeeds): Route[] {
  const { db, clock, serverName, rooms, deviceKeys, crossSigning, ownChanges } = needs;

  /** What was asked of this server's users; the others are left out. */
  function listOwn<T>(wanted: Readonly<Record<string, T>>): (readonly [UserId, T])[] {
    const entries = Object.entries(wanted);
    if (entries.length > MAX_USERS) throw tooLarge(`A request may be about ${MAX_USERS} users at most`);
    return entries.flatMap(([user, value]) =>
      isUserId(user) && serverNameOf(user) === serverName ? [[user, value] as const] : [],
    );
  }

  function sharesRoom(server: ServerName, user: UserId): boolean {
    return rooms.listRoomIdsOf(user).some((roomId) => rooms.listServers(roomId).includes(server));
  }

  function crossSigningKeys(users: readonly UserId[], usage: 'master' | 'self_signing'): JsonObject {
    return Object.fromEntries(
      users.flatMap((user) => {
        const key = crossSigning.findForServers(user, usage);
        return key === undefined ? [] : [[user, key] as const];
      }),
    );
  }

  return [
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/user/devices/:userId',
      auth: 'server',
      params: Type.Object({ userId }),
      handle: ({ origin, params }) => {
        const user = params.userId;
        if (serverNameOf(user) !== serverName) throw invalidParam('The user is not of this server');
        const { position, streamId = 0 } = ownChanges.latest(user);
        // Later updates refer to what this answer holds.
        const told = ownChanges.findTold(user, origin);
        if (told?.position !== position && sharesRoom(origin, user)) {
          db.write((tx) => ownChanges.putTold(tx, user, origin, { position, streamId }));
        }
        const master = crossSigning.findForServers(user, 'master');
        const selfSigning = crossSigning.findForServers(user, 'self_signing');
        return {
          user_id: user,
          stream_id: streamId,
          devices: deviceKeys.listForServers(user).map(({ deviceId, keys, displayName }) => ({
            device_id: deviceId,
            keys,
            ...(displayName === undefined ? {} : { device_display_name: displayName }),
          })),
          ...(master === undefined ? {} : { master_key: master }),
          ...(selfSigning === undefined ? {} : { self_signing_key: selfSigning }),
        };
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/federation/v1/user/keys/query',
      auth: 'server',
      body: Type.Object({ device_keys: mapOf(Type.Array(Type.String())) }),
      handle: ({ body }) => {
        const own = listOwn(body.device_keys);
        const users = own.map(([user]) => user);
        const devicesOf = (user: UserId, wanted: readonly string[]): JsonObject =>
          Object.fromEntries(
            deviceKeys
              .listForServers(user, wanted)
              .map(({ deviceId, keys, displayName }) => [deviceId, shownToClients(keys, displayName)]),
          );
        return {
          device_keys: Object.fromEntries(own.map(([user, wanted]) => [user, devicesOf(user, wanted)])),
          master_keys: crossSigningKeys(users, 'master'),
          self_signing_keys: crossSigningKeys(users, 'self_signing'),
        };
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/federation/v1/user/keys/claim',
      auth: 'server',
      body: Type.Object({ one_time_keys: mapOf(mapOf(Type.String())) }),
      handle: async ({ body }) => {
        const wanted = listOwn(body.one_time_keys);
        if (wanted.reduce((sum, [, byDevice]) => sum + Object.keys(byDevice).length, 0) > MAX_CLAIMS) {
          throw tooLarge(`A request may claim ${MAX_CLAIMS} keys at most`);
        }
        return { one_time_keys: await claimAll({ db, clock, deviceKeys, wanted }) };
      },
    }),
  ];
}

import { FederationError } from '../../../federation/errors.ts';
import { federationPath } from '../../../federation/path.ts';
import type { FederationClient } from '../../../federation/types.ts';
import {
  isRoomAlias,
  isRoomId,
  isServerName,
  type RoomAlias,
  type ServerName,
  serverNameOf,
} from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { asMatrixError, malformed } from '../../../rooms/remote/failures.ts';
import type { AliasTarget, RemoteDirectories } from './needs.ts';

/** Servers taken from an answer; a join tries far fewer. */
const MAX_SERVERS = 100;
/** Servers name all those in the room, of which the largest rooms have tens of thousands. */
const MAX_ALIAS_BYTES = 2_000_000;
/** A page of a few hundred rooms with long topics. */
const MAX_LIST_BYTES = 4_000_000;
const MAX_ROOMS = 1_000;
const TIMEOUT_MS = 15_000;
const TEXT_KEYS = ['name', 'topic', 'avatar_url', 'join_rule', 'room_type'];

/** Directories of other servers (server-server API, "Querying for information", "Published Room Directory"). */
export function remoteDirectories({ client }: { client: FederationClient }): RemoteDirectories {
  const asked = new Map<RoomAlias, Promise<AliasTarget | undefined>>();

  async function ask(alias: RoomAlias): Promise<AliasTarget | undefined> {
    try {
      const answer = await client.request({
        destination: serverNameOf(alias),
        method: 'GET',
        path: federationPath('/v1/query/directory'),
        query: { room_alias: alias },
        retries: 'short',
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_ALIAS_BYTES,
      });
      return readTarget(answer, serverNameOf(alias));
    } catch (error) {
      if (error instanceof FederationError && error.status === 404) return undefined;
      throw asMatrixError(error);
    }
  }

  return {
    findAlias: (alias) => {
      const running = asked.get(alias);
      if (running !== undefined) return running;
      // Nothing is kept: an alias may lead elsewhere a moment later. But many may ask for the same one at once.
      const target = ask(alias).finally(() => asked.delete(alias));
      asked.set(alias, target);
      return target;
    },

    listPublicRooms: async (server, query) => {
      try {
        return readPage(await askForRooms(client, server, query), server);
      } catch (error) {
        throw asMatrixError(error);
      }
    },
  };
}

/** With a filter only POST will do; without, GET is what every server has. */
function askForRooms(client: FederationClient, server: ServerName, query: JsonObject): Promise<JsonValue> {
  const { limit, since, filter, include_all_networks: all, third_party_instance_id: instance } = query;
  const options = {
    destination: server,
    path: federationPath('/v1/publicRooms'),
    retries: 'short',
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_LIST_BYTES,
  } as const;
  const page = {
    ...(typeof limit === 'number' ? { limit } : {}),
    ...(typeof since === 'string' ? { since } : {}),
    ...(typeof all === 'boolean' ? { include_all_networks: all } : {}),
    ...(typeof instance === 'string' ? { third_party_instance_id: instance } : {}),
  };
  if (!isJsonObject(filter)) return client.request({ ...options, method: 'GET', query: page });
  return client.request({ ...options, method: 'POST', body: { ...page, filter: withoutNulls(filter) } });
}

/** Null is what some clients send for what they have no value of; other servers may not know that. */
function withoutNulls(filter: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== null));
}

function readTarget(answer: JsonValue, asked: ServerName): AliasTarget {
  const { room_id: roomId, servers } = isJsonObject(answer) ? answer : {};
  if (typeof roomId !== 'string' || !isRoomId(roomId)) throw malformed(asked, 'it named no room');
  const named: readonly JsonValue[] = Array.isArray(servers) ? servers.slice(0, MAX_SERVERS) : [];
  const usable = named.filter((name) => typeof name === 'string' && isServerName(name));
  return { roomId, servers: usable.length === 0 ? [asked] : [...new Set(usable)] };
}

/** What a client may rely on is made sure of; entries that are none are left out. */
function readPage(answer: JsonValue, asked: ServerName): JsonObject {
  const chunk = isJsonObject(answer) ? answer['chunk'] : undefined;
  if (!isJsonObject(answer) || !Array.isArray(chunk)) throw malformed(asked, 'it gave no list of rooms');
  const { next_batch: next, prev_batch: previous, total_room_count_estimate: total } = answer;
  return {
    chunk: chunk.slice(0, MAX_ROOMS).flatMap((entry) => readRoom(entry) ?? []),
    ...(typeof next === 'string' ? { next_batch: next } : {}),
    ...(typeof previous === 'string' ? { prev_batch: previous } : {}),
    ...(isCount(total) ? { total_room_count_estimate: total } : {}),
  };
}

function readRoom(entry: JsonValue): JsonObject | undefined {
  if (!isJsonObject(entry)) return undefined;
  const { room_id: roomId, num_joined_members: members, canonical_alias: alias } = entry;
  if (typeof roomId !== 'string' || !isRoomId(roomId) || !isCount(members)) return undefined;
  return {
    room_id: roomId,
    num_joined_members: members,
    world_readable: entry['world_readable'] === true,
    guest_can_join: entry['guest_can_join'] === true,
    ...(typeof alias === 'string' && isRoomAlias(alias) ? { canonical_alias: alias } : {}),
    ...Object.fromEntries(TEXT_KEYS.flatMap((key) => (typeof entry[key] === 'string' ? [[key, entry[key]]] : []))),
  };
}

function isCount(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

import { FederationError } from '../../federation/errors.ts';
import { federationPath } from '../../federation/path.ts';
import { MatrixError } from '../../matrix/errors.ts';
import { completeTemplate } from '../../matrix/events/build.ts';
import type { RoomEvent } from '../../matrix/events/event.ts';
import { isUserId, type RoomId, type ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import { findRoomVersion, type RoomVersion, roomVersions, unstableRoomVersions } from '../../matrix/room-versions.ts';
import { randomString } from '../../util/random.ts';
import type { Membership } from '../types.ts';
import { malformed } from './failures.ts';
import type { RemoteChange, RemoteParts } from './parts.ts';

/** Servers that are asked about one room before a user is told that it does not work. */
const MAX_SERVERS = 10;
/** Of those that did not answer lately, how many are tried all the same once no other is left. */
const MAX_RETRIED = 3;
const OPAQUE_ID_LENGTH = 18;

/** What a server lets its users do in rooms of others: ask for a template, complete and sign it, hand it in. */
type Handshake = 'join' | 'knock' | 'leave';

/** What a template may decide; the rest is for whoever it is about to say. */
const KEYS_OF_TEMPLATE = ['auth_events', 'depth', 'prev_events'] as const;

/**
 * Tries servers one after the other until one of them did it; those that are being left alone after failures come last.
 * Throws the failures of all as an array in `failed`; what is no failure of a server ends it at once.
 */
export async function tryServers<Result>(
  servers: readonly ServerName[],
  attempt: (server: ServerName, options: { readonly ignoreBackoff: boolean }) => Promise<Result>,
  failed: (failures: readonly unknown[]) => Error,
): Promise<Result> {
  const failures: unknown[] = [];
  const resting: ServerName[] = [];
  for (const server of servers.slice(0, MAX_SERVERS)) {
    try {
      return await attempt(server, { ignoreBackoff: false });
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      if (error.kind === 'backing-off') resting.push(server);
      failures.push(error);
    }
  }
  for (const server of resting.slice(0, MAX_RETRIED)) {
    try {
      return await attempt(server, { ignoreBackoff: true });
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      failures.push(error);
    }
  }
  throw failed(failures);
}

/**
 * Asks a server for a template and makes an event of it (server-server API: make_join, make_knock, make_leave).
 * @throws FederationError, `malformed` for a template that is not what was asked for
 */
export async function makeEvent(
  parts: Pick<RemoteParts, 'client' | 'clock' | 'random' | 'serverName' | 'signingKey'>,
  handshake: Handshake,
  server: ServerName,
  { userId, roomId, content }: RemoteChange,
  options: { readonly timeoutMs: number; readonly ignoreBackoff: boolean },
): Promise<RoomEvent> {
  const answer = await parts.client.request({
    destination: server,
    method: 'GET',
    path: federationPath(`/v1/make_${handshake}`, roomId, userId),
    ...(handshake === 'leave' ? {} : { query: { ver: [...roomVersions.keys(), ...unstableRoomVersions.keys()] } }),
    ...options,
  });
  const { template, version } = readTemplate(answer, server);
  const templateContent = template['content'];
  // Spec: make_join: what must be verified before anything is signed.
  const isAsAsked =
    template['type'] === 'm.room.member' &&
    template['room_id'] === roomId &&
    template['sender'] === userId &&
    template['state_key'] === userId &&
    isJsonObject(templateContent) &&
    templateContent['membership'] === handshake;
  if (!isAsAsked) throw malformed(server, 'the template is not the event that was asked for');
  const authoriser = templateContent['join_authorised_via_users_server'];
  const isAuthorised = handshake === 'join' && version.restrictedJoins && authoriser !== undefined;
  if (isAuthorised && !(typeof authoriser === 'string' && isUserId(authoriser))) {
    throw malformed(server, 'nobody can vouch for the join who is no user');
  }
  const event: Record<string, JsonValue> = {
    type: 'm.room.member',
    room_id: roomId,
    sender: userId,
    state_key: userId,
    content: {
      ...content,
      membership: handshake satisfies Membership,
      ...(isAuthorised ? { join_authorised_via_users_server: authoriser } : {}),
    },
    origin: parts.serverName,
    origin_server_ts: parts.clock.now(),
  };
  for (const key of KEYS_OF_TEMPLATE) {
    const value = template[key];
    if (value !== undefined) event[key] = value;
  }
  try {
    return completeTemplate(event, version, {
      serverName: parts.serverName,
      signingKey: parts.signingKey,
      ...(version.eventIds === 'given' ? { eventIdLocalpart: randomString(parts.random, OPAQUE_ID_LENGTH) } : {}),
    });
  } catch (error) {
    // Too large is what the user wrote, not what the server said.
    if (error instanceof MatrixError && error.errcode !== 'M_TOO_LARGE') throw malformed(server, error.message);
    throw error;
  }
}

function readTemplate(answer: JsonValue, server: ServerName): { template: JsonObject; version: RoomVersion } {
  const template = isJsonObject(answer) ? answer['event'] : undefined;
  if (!isJsonObject(answer) || !isJsonObject(template)) throw malformed(server, 'the answer holds no template');
  // Servers from before room versions do not say one: it is 1, or 2 with the same format.
  const { room_version: id = '1' } = answer;
  const version = typeof id === 'string' ? findRoomVersion(id) : undefined;
  if (version === undefined) throw malformed(server, 'the room has a version that was not offered');
  return { template, version };
}

/** Candidates in order, each once, without this server itself. */
export function otherServers(
  parts: Pick<RemoteParts, 'serverName'>,
  ...lists: (readonly ServerName[])[]
): ServerName[] {
  return [...new Set(lists.flat())].filter((server) => server !== parts.serverName);
}

/** Where an event is handed in. */
export function sendPath(
  api: 'v1' | 'v2',
  handshake: Handshake,
  { roomId, eventId }: { readonly roomId: RoomId; readonly eventId: RoomEvent['eventId'] },
): string {
  return federationPath(`/${api}/send_${handshake}`, roomId, eventId);
}

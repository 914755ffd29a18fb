import { Readable } from 'node:stream';
import { Reply, route, type Route } from '../../../http/route.ts';
import { jsonObject, jsonValue, nonEmptyText } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import { readRooms, readSession, readSessions } from './read-upload.ts';
import type { KeyBackups } from './service.ts';
import type { BackedUpKey, KeyName } from './store.ts';

/** About five thousand keys: clients send some hundreds at once. To parse more in one go would hold up everybody else. */
const MAX_UPLOAD_BYTES = 5 * 1024 * 1024;

/** Clients that are older than the paths of the spec, or do not ask which versions of it are known, use the unstable one. */
const PREFIXES = ['/_matrix/client/v3/room_keys', '/_matrix/client/unstable/room_keys'];

const versions = (rest = ''): string[] => PREFIXES.map((prefix) => `${prefix}/version${rest}`);
const keys = (rest = ''): string[] => PREFIXES.map((prefix) => `${prefix}/keys${rest}`);

const config = { algorithm: nonEmptyText(255), auth_data: jsonValue };
const versionParams = Type.Object({ version: Type.String() });
const query = Type.Object({ version: Type.String() });
// Not checked any closer: a client that could not back up one key of an odd room would try for ever.
const roomParams = Type.Object({ roomId: nonEmptyText(255) });
const sessionParams = Type.Object({ roomId: nonEmptyText(255), sessionId: nonEmptyText(255) });

/** Server-side key backups (spec: client-server API, "Server-side key backups"). */
export function keyBackupRoutes(backups: KeyBackups): Route[] {
  const sendKeys = (userId: UserId, version: string, roomId?: string): Reply => {
    const { first, rest } = backups.pages(userId, version, roomId);
    const body = Readable.from(jsonOf(first, rest, roomId === undefined), { objectMode: false });
    return new Reply({ headers: { 'content-type': 'application/json', 'cache-control': 'no-store' }, body });
  };

  return [
    route({
      method: 'POST',
      path: versions(),
      auth: 'user',
      body: Type.Object(config),
      handle: ({ requester, body }) => ({
        version: backups.create(requester.userId, { algorithm: body.algorithm, authData: body.auth_data }),
      }),
    }),
    route({
      method: 'GET',
      path: versions(),
      auth: 'user',
      handle: ({ requester }) => backups.describe(requester.userId),
    }),
    route({
      method: 'GET',
      path: versions('/:version'),
      auth: 'user',
      params: versionParams,
      handle: ({ requester, params }) => backups.describe(requester.userId, params.version),
    }),
    route({
      method: 'PUT',
      path: versions('/:version'),
      auth: 'user',
      params: versionParams,
      // NOT-SPEC: a number is taken too; some send the version they read as one.
      body: Type.Object({ ...config, version: Type.Optional(Type.Union([Type.String(), Type.Integer()])) }),
      handle: ({ requester, params, body }) => {
        const { algorithm, auth_data: authData } = body;
        const version = body.version === undefined ? undefined : String(body.version);
        backups.update(requester.userId, params.version, { algorithm, authData, version });
        return {};
      },
    }),
    route({
      method: 'DELETE',
      path: versions('/:version'),
      auth: 'user',
      params: versionParams,
      handle: ({ requester, params }) => {
        backups.remove(requester.userId, params.version);
        return {};
      },
    }),
    route({
      method: 'PUT',
      path: keys(),
      auth: 'user',
      query,
      bodyLimit: MAX_UPLOAD_BYTES,
      body: jsonObject,
      handle: ({ requester, query: { version }, body }) => backups.put(requester.userId, version, readRooms(body)),
    }),
    route({
      method: 'PUT',
      path: keys('/:roomId'),
      auth: 'user',
      params: roomParams,
      query,
      bodyLimit: MAX_UPLOAD_BYTES,
      body: jsonObject,
      handle: ({ requester, params, query: { version }, body }) =>
        backups.put(requester.userId, version, readSessions(params.roomId, body)),
    }),
    route({
      method: 'PUT',
      path: keys('/:roomId/:sessionId'),
      auth: 'user',
      params: sessionParams,
      query,
      body: jsonObject,
      handle: ({ requester, params, query: { version }, body }) =>
        backups.put(requester.userId, version, [readSession(params, body)]),
    }),
    route({
      method: 'GET',
      path: keys(),
      auth: 'user',
      query,
      handle: ({ requester, query: { version } }) => sendKeys(requester.userId, version),
    }),
    route({
      method: 'GET',
      path: keys('/:roomId'),
      auth: 'user',
      params: roomParams,
      query,
      handle: ({ requester, params, query: { version } }) => sendKeys(requester.userId, version, params.roomId),
    }),
    route({
      method: 'GET',
      path: keys('/:roomId/:sessionId'),
      auth: 'user',
      params: sessionParams,
      query,
      handle: ({ requester, params, query: { version } }) => {
        const body = keyText(backups.get(requester.userId, version, params));
        return new Reply({ headers: { 'content-type': 'application/json' }, body });
      },
    }),
    route({
      method: 'DELETE',
      path: keys(),
      auth: 'user',
      query,
      handle: ({ requester, query: { version } }) => backups.removeKeys(requester.userId, version),
    }),
    route({
      method: 'DELETE',
      path: keys('/:roomId'),
      auth: 'user',
      params: roomParams,
      query,
      handle: ({ requester, params, query: { version } }) =>
        backups.removeKeysOfRoom(requester.userId, version, params.roomId),
    }),
    route({
      method: 'DELETE',
      path: keys('/:roomId/:sessionId'),
      auth: 'user',
      params: sessionParams,
      query,
      handle: ({ requester, params, query: { version } }) => backups.removeKey(requester.userId, version, params),
    }),
  ];
}

/** A key as JSON. Its data are not parsed only to be written again. */
function keyText({ firstMessageIndex, forwardedCount, isVerified, sessionData }: BackedUpKey): string {
  return `{"first_message_index":${firstMessageIndex},"forwarded_count":${forwardedCount},"is_verified":${isVerified},"session_data":${sessionData}}`;
}

type Keys = readonly (KeyName & BackedUpKey)[];

/** Keys, in the order of their rooms, as the JSON of a whole backup or of one room in it. */
async function* jsonOf(first: Keys, rest: AsyncIterable<Keys>, isWhole: boolean): AsyncGenerator<string, void> {
  let room: string | undefined;
  const textOf = (keys: Keys): string =>
    keys
      .map((key) => {
        const isNewRoom = key.roomId !== room;
        const before = !isNewRoom ? ',' : isWhole ? `${room === undefined ? '' : '}},'}${opening(key.roomId)}` : '';
        room = key.roomId;
        return `${before}${JSON.stringify(key.sessionId)}:${keyText(key)}`;
      })
      .join('');
  yield `${isWhole ? '{"rooms":{' : '{"sessions":{'}${textOf(first)}`;
  for await (const keys of rest) yield textOf(keys);
  yield isWhole && room !== undefined ? '}}}}' : '}}';
}

function opening(roomId: string): string {
  return `${JSON.stringify(roomId)}:{"sessions":{`;
}

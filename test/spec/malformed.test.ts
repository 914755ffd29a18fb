import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route } from '../../server/http/route.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { listRoutes } from './routes.ts';

/** What nobody but its owner may ever see. */
const SECRET = 'the-owl-flies-at-midnight';

const DEEP = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
const DEEP_OBJECT = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`;

/** Bodies that are wrong for whatever they are sent to. */
const BODIES: readonly string[] = [
  '',
  '{',
  'null',
  '[]',
  '7',
  '"text"',
  '{}',
  '{"a":1,"a":2}',
  '{"\\ud800":"\\udfff"}',
  '{"__proto__":{"admin":true},"constructor":{"prototype":{}}}',
  '\u0000',
  '{"n":1e999,"m":-0.0,"k":12345678901234567890}',
  JSON.stringify(nested(200)),
  DEEP,
  DEEP_OBJECT,
];

/** Deeper than canonical JSON goes, yet not too deep for a body. */
function nested(depth: number): Json {
  let value: Json = 1;
  for (let n = 0; n < depth; n += 1) value = { a: value };
  return value;
}

/** Values put in the place of each key a body may have. */
const VALUES: readonly Json[] = [
  null,
  true,
  -1,
  1.5,
  2 ** 53 + 2,
  '',
  '\u0000',
  '\ud800',
  '💥'.repeat(300),
  'x'.repeat(70_000),
  [],
  [null],
  [[[]]],
  {},
  { '': '' },
  { a: { b: [null, { c: '\u0000' }] } },
  nested(200),
  ['@alice:hearth.test', '!', '$', '#'],
];

/** Text put in the place of each path parameter, as it stands in the URL. */
const SEGMENTS: readonly string[] = [
  '%00',
  '%ED%A0%80',
  '%zz',
  '%F0%9F%92%A5',
  'x'.repeat(3_000),
  '..%2F..%2Fetc%2Fpasswd',
  '%27%3B%20DROP%20TABLE%20events%3B--',
  '@',
  '!',
  '%23',
  '$',
  '@%3A',
  '!nowhere:hearth.test',
  '-1',
  'constructor',
  '__proto__',
];

const QUERIES: readonly string[] = [
  'limit=-1',
  'limit=99999999999999999999',
  'limit=abc',
  'from=garbage&to=garbage&since=garbage',
  'since=s999999999&from=s999999999&to=t5-999999999&at=s1_ffff',
  'filter=%7B',
  'filter=%7B%22room%22%3A7%7D',
  'filter=999999',
  'dir=sideways',
  'ts=abc&dir=f',
  'user_id=%00&at=%00&ts=-1',
  'timeout=-5',
  'timeout=abc&full_state=maybe&set_presence=asleep',
  'a=1&a=2&limit=1&limit=2&dir=b&dir=f',
  '%zz=%zz',
  `q=${'x'.repeat(5_000)}`,
];

interface World {
  readonly server: TestServer;
  readonly roomId: string;
  readonly secretRoomId: string;
  readonly secretEventId: string;
  readonly victim: string;
  mallory: TestClient;
  count: number;
  /** What was wrong with answers: all of it, as one mistake tends to show in many places. */
  readonly faults: string[];
}

/** Something plausible for each kind of path parameter: malformed in one place, right in all others. */
function plausible(world: World, name: string): string {
  const values: Record<string, string> = {
    roomId: world.roomId,
    roomIdOrAlias: world.roomId,
    eventId: world.secretEventId,
    userId: world.mallory.userId,
    roomAlias: '#nowhere:hearth.test',
    deviceId: world.mallory.deviceId,
    type: 'org.example.type',
    eventType: 'm.room.message',
    txnId: `txn${world.count}`,
    receiptType: 'm.read',
    keyName: 'displayname',
  };
  return encodeURIComponent(values[name] ?? 'something');
}

function pathOf(world: World, template: string, replaced?: { name: string; by: string }): string {
  return template.replace(/:(\w+)/g, (_, name: string) =>
    replaced?.name === name ? replaced.by : plausible(world, name),
  );
}

/** Sends a request to the letter and judges the answer: no failure of the server, no word of anybody else's. */
async function send(world: World, method: string, path: string, body?: string): Promise<void> {
  world.count += 1;
  const shown = `${method} ${path.slice(0, 200)} ${(body ?? '').slice(0, 120)}`;
  const response = await fetch(`${world.server.baseUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${world.mallory.token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  // Media of servers that cannot be reached are nobody's fault here.
  const isElsewhere = response.status === 502 && path.startsWith('/_matrix/client/v1/media/');
  if (response.status >= 500 && !isElsewhere) world.faults.push(`${shown}: ${response.status} ${text.slice(0, 200)}`);
  if (text.includes(SECRET)) world.faults.push(`${shown}: tells the secret`);
  if (response.status >= 400 && (response.headers.get('content-type') ?? '').startsWith('application/json')) {
    const errcode: Json = JSON.parse(text).errcode;
    // A dialogue of interactive authentication has no errcode until something went wrong in it.
    if (response.status !== 401 || errcode !== undefined) {
      if (!/^(M|ORG)_[A-Z_]+$/.test(String(errcode))) world.faults.push(`${shown}: ${text.slice(0, 200)}`);
    }
    if (errcode === 'M_UNKNOWN_TOKEN') world.mallory = await world.server.login('mallory');
  }
}

function keysOf(schema: unknown): string[] {
  const properties: unknown = (schema as { properties?: unknown } | undefined)?.properties;
  return typeof properties === 'object' && properties !== null ? Object.keys(properties) : [];
}

/** A body with a plausible value for each key but one. */
function bodyWith(keys: readonly string[], key: string, value: Json): string {
  return JSON.stringify({ ...Object.fromEntries(keys.map((other) => [other, 'x'])), [key]: value });
}

async function attack(world: World, route: Route): Promise<void> {
  const templates = [route.path].flat();
  const [template = ''] = templates;
  const hasBody = route.method !== 'GET';
  const wait = 'timeout=0';
  for (const each of templates)
    await send(world, route.method, `${pathOf(world, each)}?${wait}`, hasBody ? '{}' : undefined);
  for (const [, name = ''] of template.matchAll(/:(\w+)/g)) {
    for (const by of SEGMENTS) {
      await send(world, route.method, `${pathOf(world, template, { name, by })}?${wait}`, hasBody ? '{}' : undefined);
    }
  }
  for (const query of QUERIES) {
    const path = `${pathOf(world, template)}?${query.includes('timeout') ? query : `${query}&${wait}`}`;
    await send(world, route.method, path, hasBody ? '{}' : undefined);
  }
  if (!hasBody) return;
  for (const body of BODIES) await send(world, route.method, pathOf(world, template), body);
  const keys = keysOf(route.body);
  for (const key of keys) {
    for (const value of VALUES) await send(world, route.method, pathOf(world, template), bodyWith(keys, key, value));
  }
}

async function buildWorld(server: TestServer): Promise<World> {
  const alice = await server.register('alice');
  const mallory = await server.register('mallory');
  const secretRoomId = await alice.createRoom({ preset: 'private_chat', name: SECRET, topic: SECRET });
  const secretEventId = await alice.send(secretRoomId, SECRET);
  const account = `/_matrix/client/v3/user/${alice.userId}`;
  expectOk(await alice.put(`${account}/account_data/org.example.diary`, { text: SECRET }));
  expectOk(
    await alice.put(`${account}/rooms/${encodeURIComponent(secretRoomId)}/account_data/org.example.note`, {
      text: SECRET,
    }),
  );
  expectOk(await alice.put(`${account}/rooms/${encodeURIComponent(secretRoomId)}/tags/${SECRET}`, { order: 0.5 }));
  expectOk(await alice.put(`/_matrix/client/v3/devices/${alice.deviceId}`, { display_name: SECRET }));
  const toDevice = { messages: { [alice.userId]: { '*': { text: SECRET } } } };
  expectOk(await alice.put('/_matrix/client/v3/sendToDevice/org.example.whisper/1', toDevice));
  const roomId = await mallory.createRoom({ preset: 'public_chat' });
  await alice.join(roomId);
  return { server, roomId, secretRoomId, secretEventId, victim: alice.userId, mallory, count: 0, faults: [] };
}

test('no malformed request brings the server down or tells anybody else’s secrets', async () => {
  const routes = await listRoutes();
  assert.ok(routes.length > 100, 'the whole server is attacked');
  await using server = await TestServer.start();
  const world = await buildWorld(server);
  for (const route of routes) await attack(world, route);
  assert.deepEqual(world.faults, []);
  assert.ok(world.count > 5_000, `only ${world.count} requests were sent`);

  // It is still there, and the room that was attacked too.
  const alice = await server.login('alice');
  const rooms = (await alice.sync()).rooms.join;
  assert.ok(world.secretRoomId in rooms, 'Alice still has her room');
  await alice.send(world.secretRoomId, 'Did you hear that noise?');
});

test('a stranger asking for everything in a private room gets none of it', async () => {
  const routes = await listRoutes();
  await using server = await TestServer.start();
  const world = await buildWorld(server);
  for (const route of routes) {
    for (const template of [route.path].flat()) {
      const path = template
        .replace(':roomIdOrAlias', encodeURIComponent(world.secretRoomId))
        .replace(':roomId', encodeURIComponent(world.secretRoomId))
        .replace(':userId', encodeURIComponent(world.victim));
      await send(
        world,
        route.method,
        `${pathOf(world, path)}?timeout=0&dir=b`,
        route.method === 'GET' ? undefined : '{}',
      );
    }
  }
  assert.deepEqual(world.faults, []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Logger, silentLogger } from '../../server/util/log.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { type HeardByService, isTransaction, ScriptedAppService } from '../kit/scripted-app-service.ts';
import { type Answer, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer, type TestServerOptions } from '../kit/test-server.ts';

const v3 = '/_matrix/client/v3';
const segment = encodeURIComponent;

async function withBridge(registration: Json = {}, options: TestServerOptions = {}) {
  const stack = new AsyncDisposableStack();
  const bridge = stack.use(await ScriptedAppService.start(registration));
  const config = { app_service_config_files: [bridge.file], ...options.config };
  const server = stack.use(await TestServer.start({ ...options, config }));
  return { bridge, server, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}

async function ghostOf(bridge: ScriptedAppService, server: TestServer, localpart = '_bridge_bob'): Promise<TestClient> {
  const body = { type: 'm.login.application_service', username: localpart, inhibit_login: true };
  expectOk(await bridge.as(server).post(`${v3}/register`, body));
  return bridge.as(server, `@${localpart}:hearth.test`);
}

const bodyOf = ({ content }: Json): unknown => content.body;
const holds = (text: string) => (heard: HeardByService) =>
  isTransaction(heard) && heard.body.events.some((event: Json) => bodyOf(event) === text);

test('what a bridge missed comes in order once it listens again, each transaction the same each time', async () => {
  const clock = new ManualClock();
  await using house = await withBridge({}, { clock });
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await bridge.as(server).join(roomId);
  await bridge.untilEvent(({ sender }) => sender === '@bridgebot:hearth.test');

  bridge.on((heard) => (isTransaction(heard) && isDown ? { status: 503 } : undefined));
  let isDown = true;
  const down = bridge.next(isTransaction);
  await alice.send(roomId, 'message 0');
  const refused = await down;
  for (let count = 1; count < 250; count += 1) await alice.send(roomId, `message ${count}`);
  // More failures, each after a longer wait.
  const again = bridge.next(isTransaction);
  await clock.passUntil(again);
  isDown = false;
  await clock.passUntil(bridge.until(holds('message 249')));

  const byPath = new Map<string, string>();
  for (const { path, body } of bridge.transactions) {
    const known = byPath.get(path);
    assert.ok(known === undefined || known === JSON.stringify(body), 'a transaction stays what it was');
    byPath.set(path, JSON.stringify(body));
    assert.ok(body.events.length <= 100);
  }
  assert.ok(bridge.transactions.filter(({ path }) => path === refused.path).length >= 2);
  const said = bridge.events.filter(({ type }) => type === 'm.room.message').map(bodyOf);
  assert.deepEqual(
    said,
    Array.from({ length: 250 }, (_, count) => `message ${count}`),
  );
});

/** Gives how long each wait after a failed transaction is going to be, ms, once it begins. */
function watchWaits(): { readonly log: Logger; readonly next: () => Promise<number> } {
  const waits: number[] = [];
  let tell: (() => void) | undefined;
  const log: Logger = {
    ...silentLogger,
    warn: ({ waitMs }) => {
      if (typeof waitMs === 'number') waits.push(waitMs);
      tell?.();
    },
    child: () => log,
  };
  const next = async (): Promise<number> => {
    for (;;) {
      const wait = waits.shift();
      if (wait !== undefined) return wait;
      await new Promise<void>((resolve) => {
        tell = resolve;
      });
    }
  };
  return { log, next };
}

test('the waits grow to minutes, and end when the bridge asks to be pinged', async () => {
  const clock = new ManualClock();
  const { log, next } = watchWaits();
  await using house = await withBridge({}, { clock, log });
  const { bridge, server } = house;
  const roomId = await bridge.as(server).createRoom({ preset: 'private_chat' });
  await bridge.untilEvent(({ type }) => type === 'm.room.create');
  bridge.on((heard) => (isTransaction(heard) && isDown ? { status: 500 } : undefined));
  let isDown = true;
  await bridge.as(server).send(roomId, 'is this on?');
  let longest = 0;
  for (let tries = 0; tries < 16; tries += 1) {
    const wait = await next();
    assert.ok(wait <= 300_000, `${wait}`);
    longest = Math.max(longest, wait);
    await clock.advance(wait);
  }
  await next();
  assert.ok(longest >= 150_000, `${longest}`);
  isDown = false;
  const taken = bridge.next(holds('is this on?'));
  expectOk(await bridge.as(server).post('/_matrix/client/v1/appservice/bridge/ping', {}));
  assert.ok(bridge.heard.some(({ path }) => path === '/_matrix/app/v1/ping'));
  // No time passes any more.
  await taken;
});

test('what waits for a bridge survives a crash between two tries', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await bridge.as(server).join(roomId);
  await bridge.untilEvent(({ sender }) => sender === '@bridgebot:hearth.test');
  await bridge.hangUp();
  for (const text of ['one', 'two', 'three']) await alice.send(roomId, text);
  await server.restart();
  await bridge.listen();
  await server.restart();
  await alice.send(roomId, 'four');
  await bridge.until(holds('four'));
  const said = bridge.events.filter(({ type }) => type === 'm.room.message').map(bodyOf);
  assert.deepEqual(said, ['one', 'two', 'three', 'four']);
});

test('a bridge that never answers holds up nobody else', async () => {
  await using slow = await ScriptedAppService.start({
    id: 'slow',
    namespaces: { users: [{ regex: '@.*', exclusive: false }] },
  });
  slow.on((heard) => (isTransaction(heard) ? new Promise<never>(() => {}) : undefined));
  await using house = await withBridge();
  const { bridge, server } = house;
  await server.restart({ app_service_config_files: [slow.file, bridge.file] });
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await bridge.as(server).join(roomId);
  await slow.until(isTransaction);
  await alice.send(roomId, 'hello');
  await bridge.until(holds('hello'));
  assert.equal(slow.transactions.length, 1);
});

test('a service without an address is sent nothing, and acts all the same', async () => {
  await using house = await withBridge({ url: null });
  const { bridge, server } = house;
  const ghost = await ghostOf(bridge, server);
  const roomId = await ghost.createRoom();
  await ghost.send(roomId, 'to myself');
  await ghost.sync();
  await server.restart();
  assert.deepEqual(bridge.heard, []);
});

test('a service that knows the old paths only is found there, with its token in the address if that is wanted', async () => {
  await using house = await withBridge({}, { config: { use_appservice_legacy_authorization: true } });
  const { bridge, server } = house;
  bridge.on(({ path }) => (path.startsWith('/_matrix/app/v1/') ? { status: 404, text: 'Cannot PUT' } : undefined));
  const ghost = await ghostOf(bridge, server);
  const roomId = await ghost.createRoom();
  await ghost.send(roomId, 'hello');
  const heard = await bridge.until((each) => each.path.startsWith('/transactions/') && holds('hello')(each));
  assert.equal(heard.query.get('access_token'), 'hs-token-of-bridge');
  assert.equal(heard.authorization, 'Bearer hs-token-of-bridge');
});

test('typing, receipts and presence come to a service that wants them', async () => {
  await using house = await withBridge({ receive_ephemeral: true });
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const carol = await server.register('carol');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const elsewhere = await carol.createRoom({ preset: 'public_chat' });
  await carol.join(roomId);
  const ghost = await ghostOf(bridge, server);
  await ghost.join(roomId);
  const said = await alice.send(roomId, 'read this');
  const room = (id: string): string => `${v3}/rooms/${segment(id)}`;
  expectOk(await carol.put(`${room(elsewhere)}/typing/${segment(carol.userId)}`, { typing: true, timeout: 30_000 }));
  expectOk(await alice.put(`${room(roomId)}/typing/${segment(alice.userId)}`, { typing: true, timeout: 30_000 }));
  const typing = await bridge.untilIn('ephemeral', ({ type }) => type === 'm.typing');
  assert.deepEqual(typing, { type: 'm.typing', room_id: roomId, content: { user_ids: [alice.userId] } });

  expectOk(await ghost.post(`${room(roomId)}/receipt/m.read.private/${segment(said)}`));
  expectOk(await alice.post(`${room(roomId)}/receipt/m.read.private/${segment(said)}`));
  expectOk(await carol.post(`${room(roomId)}/receipt/m.read/${segment(said)}`));
  const receipt = await bridge.untilIn('ephemeral', ({ type, content }) => {
    return type === 'm.receipt' && content[said]?.['m.read']?.[carol.userId] !== undefined;
  });
  assert.equal(receipt.room_id, roomId);
  await bridge.untilIn('ephemeral', ({ content }) => content[said]?.['m.read.private']?.[ghost.userId] !== undefined);
  const all = JSON.stringify(bridge.transactions.map(({ body }) => body.ephemeral ?? []));
  assert.ok(!all.includes(`"m.read.private":{"${alice.userId}"`), 'a private receipt of somebody else is not told');

  expectOk(
    await alice.put(`${v3}/presence/${segment(alice.userId)}/status`, { presence: 'online', status_msg: 'tea' }),
  );
  const presence = await bridge.untilIn('ephemeral', ({ content }) => content.status_msg === 'tea');
  assert.deepEqual([presence.type, presence.sender, presence.content.presence], ['m.presence', alice.userId, 'online']);
  const last = bridge.transactions.at(-1)?.body;
  assert.deepEqual(last.ephemeral, last['de.sorunome.msc2409.ephemeral']);
});

test('a service that did not ask for it is told of nothing but events', async () => {
  await using house = await withBridge();
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const ghost = await ghostOf(bridge, server);
  await ghost.join(roomId);
  const said = await alice.send(roomId, 'read this');
  expectOk(await alice.post(`${v3}/rooms/${segment(roomId)}/receipt/m.read/${segment(said)}`));
  await alice.send(roomId, 'the end');
  await bridge.until(holds('the end'));
  assert.ok(bridge.transactions.every(({ body }) => Object.keys(body).join() === 'events'));
});

const deviceKeys = (userId: string, deviceId: string): Json => ({
  user_id: userId,
  device_id: deviceId,
  algorithms: ['m.megolm.v1.aes-sha2'],
  keys: { [`ed25519:${deviceId}`]: 'key', [`curve25519:${deviceId}`]: 'key' },
  signatures: { [userId]: { [`ed25519:${deviceId}`]: 'signature' } },
});

test('messages to devices, device lists and counts of keys come to a service that encrypts', async () => {
  await using house = await withBridge({
    'de.sorunome.msc2409.push_ephemeral': true,
    'org.matrix.msc3202': true,
  });
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const ghost = await ghostOf(bridge, server);
  await ghost.join(roomId);
  assert.equal((await ghost.put(`${v3}/devices/GHOST`, {})).status, 201);
  const device = bridge.as(server, ghost.userId, 'GHOST');
  const signed = { key: 'k', signatures: { [ghost.userId]: { 'ed25519:GHOST': 's' } } };
  expectOk(
    await device.post(`${v3}/keys/upload`, {
      device_keys: deviceKeys(ghost.userId, 'GHOST'),
      one_time_keys: { 'signed_curve25519:AAAA': signed },
      fallback_keys: { 'signed_curve25519:FFFF': { ...signed, fallback: true } },
    }),
  );
  const countsOf = ({ body }: HeardByService): Json =>
    body['org.matrix.msc3202.device_one_time_keys_count']?.[ghost.userId]?.GHOST?.signed_curve25519;
  const uploaded = await bridge.until((heard) => isTransaction(heard) && countsOf(heard) === 1);
  assert.deepEqual(
    uploaded.body['org.matrix.msc3202.device_one_time_key_counts'],
    uploaded.body['org.matrix.msc3202.device_one_time_keys_count'],
  );
  assert.deepEqual(uploaded.body['org.matrix.msc3202.device_unused_fallback_key_types'], {
    [ghost.userId]: { GHOST: ['signed_curve25519'] },
  });
  const claimed = bridge.next((heard) => isTransaction(heard) && countsOf(heard) === 0);
  const claim = { one_time_keys: { [ghost.userId]: { GHOST: 'signed_curve25519' } } };
  expectOk(await alice.post(`${v3}/keys/claim`, claim));
  await claimed;

  const changes = (heard: HeardByService): Json =>
    isTransaction(heard) ? (heard.body['org.matrix.msc3202.device_lists'] ?? {}) : {};
  const moved = bridge.next((heard) => changes(heard).changed?.includes(alice.userId) === true);
  const keys = { device_keys: deviceKeys(alice.userId, alice.deviceId) };
  expectOk(await alice.post(`${v3}/keys/upload`, keys));
  await moved;

  const content = { ciphertext: 'secret' };
  const send: Answer = await alice.put(`${v3}/sendToDevice/m.room.encrypted/1`, {
    messages: { [ghost.userId]: { GHOST: content } },
  });
  expectOk(send);
  const message = await bridge.untilIn('to_device', ({ type }) => type === 'm.room.encrypted');
  assert.deepEqual(message, {
    type: 'm.room.encrypted',
    sender: alice.userId,
    content,
    to_user_id: ghost.userId,
    to_device_id: 'GHOST',
  });
  await bridge.untilIn('de.sorunome.msc2409.to_device', ({ content: same }) => same.ciphertext === 'secret');
  // The service has it; nobody else waits for it.
  assert.deepEqual(expectOk(await device.get(`${v3}/sync`)).to_device?.events ?? [], []);

  const gone = bridge.next((heard) => changes(heard).left?.includes(alice.userId) === true);
  await alice.leave(roomId);
  await gone;
});

test('a message to a device of somebody whom a service only shares waits for the device as well', async () => {
  await using house = await withBridge({
    receive_ephemeral: true,
    'org.matrix.msc3202': true,
    namespaces: { users: [{ regex: '@.*', exclusive: false }] },
  });
  const { bridge, server } = house;
  const alice = await server.register('alice');
  const messages = { [alice.userId]: { '*': { hello: 'there' } } };
  expectOk(await alice.put(`${v3}/sendToDevice/test/1`, { messages }));
  await bridge.untilIn('to_device', ({ type }) => type === 'test');
  assert.deepEqual((await alice.sync()).to_device.events, [
    { type: 'test', sender: alice.userId, content: { hello: 'there' } },
  ]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { allRooms, slide } from './sliding-kit.ts';

async function sendToDevice(from: TestClient, to: TestClient, text: string): Promise<void> {
  const path = `/_matrix/client/v3/sendToDevice/m.test/${encodeURIComponent(text)}`;
  expectOk(await from.put(path, { messages: { [to.userId]: { [to.deviceId]: { text } } } }));
}

function texts(extension: Json): string[] {
  return extension.events.map((event: Json) => event.content.text);
}

test('messages to a device are given until it comes back with their token', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  for (const text of ['one', 'two', 'three']) await sendToDevice(bob, alice, text);
  const ask = async (since?: string, limit?: number, pos?: string): Promise<Json> =>
    slide(
      alice,
      { conn_id: 'encryption', extensions: { to_device: { enabled: true, since, limit } } },
      pos === undefined ? {} : { pos },
    );
  const first = await ask(undefined, 2);
  assert.deepEqual(texts(first.extensions.to_device), ['one', 'two']);
  const again = await ask(undefined, 2);
  assert.deepEqual(texts(again.extensions.to_device), ['one', 'two']);
  const second = await ask(again.extensions.to_device.next_batch, undefined, again.pos);
  assert.deepEqual(texts(second.extensions.to_device), ['three']);
  const third = await ask(second.extensions.to_device.next_batch, undefined, second.pos);
  assert.deepEqual(third.extensions.to_device.events, []);
  // A device whose token cannot be read has not shown that it got anything.
  await sendToDevice(bob, alice, 'four');
  const junk = await ask('from another server', undefined, third.pos);
  assert.deepEqual(texts(junk.extensions.to_device), ['four']);
  const future = await ask('s999999999', undefined, junk.pos);
  assert.deepEqual(texts(future.extensions.to_device), ['four']);
});

test('the encryption extension tells whose devices changed and which keys are left', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  const body = { conn_id: 'encryption', extensions: { e2ee: { enabled: true } } };
  const first = await slide(alice, body);
  assert.equal(first.extensions.e2ee.device_lists, undefined);
  assert.deepEqual(first.extensions.e2ee.device_unused_fallback_key_types, []);
  assert.equal(first.extensions.e2ee.device_one_time_keys_count.signed_curve25519, 0);
  await bob.join(room);
  const second = await slide(alice, body, { pos: first.pos });
  assert.deepEqual(second.extensions.e2ee.device_lists, { changed: [bob.userId], left: [] });
  await bob.leave(room);
  const third = await slide(alice, body, { pos: second.pos });
  assert.deepEqual(third.extensions.e2ee.device_lists, { changed: [], left: [bob.userId] });
  assert.deepEqual(third.rooms, {});
});

test('account data is told for the rooms in sight, and caught up on for those that come into it', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const far = await alice.createRoom();
  const near = await alice.createRoom();
  const account = `/_matrix/client/v3/user/${alice.userId}`;
  const setIn = async (room: string, value: number): Promise<void> => {
    expectOk(await alice.put(`${account}/rooms/${encodeURIComponent(room)}/account_data/org.test`, { value }));
  };
  expectOk(await alice.put(`${account}/account_data/org.global`, { value: 0 }));
  await setIn(far, 1);
  await setIn(near, 2);
  expectOk(await alice.put(`${account}/rooms/${encodeURIComponent(near)}/tags/m.favourite`));
  const narrow = allRooms({ ranges: [[0, 0]] }, { extensions: { account_data: { enabled: true } } });
  const wide = allRooms({ ranges: [[0, 1]] }, { extensions: { account_data: { enabled: true } } });
  const valuesIn = (answer: Json, room: string): Json =>
    answer.extensions.account_data?.rooms[room]?.map(({ type, content }: Json) => content.value ?? type);

  const first = await slide(alice, narrow);
  const global = first.extensions.account_data.global.map(({ type }: Json) => type);
  assert.ok(global.includes('org.global') && global.includes('m.push_rules'));
  assert.deepEqual(valuesIn(first, near).sort(), [2, 'm.tag']);
  assert.equal(valuesIn(first, far), undefined);
  const second = await slide(alice, wide, { pos: first.pos });
  assert.deepEqual(second.extensions.account_data.global, []);
  assert.deepEqual(valuesIn(second, far), [1]);
  assert.equal(valuesIn(second, near), undefined);
  await setIn(far, 3);
  const third = await slide(alice, narrow, { pos: second.pos });
  assert.deepEqual(third.extensions.account_data, undefined);
  expectOk(await alice.put(`${account}/account_data/org.global`, { value: 1 }));
  const fourth = await slide(alice, narrow, { pos: third.pos });
  assert.deepEqual(
    fourth.extensions.account_data.global.map(({ type }: Json) => type),
    ['org.global'],
  );
  const fifth = await slide(alice, wide, { pos: fourth.pos });
  assert.deepEqual(valuesIn(fifth, far), [3]);
});

test('receipts come with the events they are of, and later as they are given', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const carol = await server.register('carol');
  const room = await alice.createRoom({ preset: 'public_chat' });
  for (const person of [bob, carol]) await person.join(room);
  const read = async (person: TestClient, event: string, type = 'm.read'): Promise<void> => {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/receipt/${type}/${encodeURIComponent(event)}`;
    expectOk(await person.post(path));
  };
  const old = await alice.send(room, 'long ago');
  await read(carol, old);
  await read(alice, old, 'm.read.private');
  const last = await bob.send(room, 'just now');
  await read(bob, last, 'm.read.private');
  const body = allRooms({ timeline_limit: 1 }, { extensions: { receipts: { enabled: true, rooms: ['*'] } } });
  const readers = (answer: Json): Json =>
    Object.entries<Json>(answer.extensions.receipts?.rooms[room]?.content ?? {}).flatMap(([event, kinds]) =>
      Object.entries<Json>(kinds).flatMap(([kind, users]) => Object.keys(users).map((user) => [event, kind, user])),
    );
  const first = await slide(alice, body);
  assert.deepEqual(readers(first), [[old, 'm.read.private', alice.userId]]);
  await read(carol, last);
  const second = await slide(alice, body, { pos: first.pos });
  assert.deepEqual(readers(second), [[last, 'm.read', carol.userId]]);
  assert.equal(second.extensions.receipts.rooms[room].type, 'm.receipt');
  assert.deepEqual(second.rooms, {});
  assert.deepEqual(readers(await slide(alice, body, { pos: second.pos })), []);
});

test('of two receipts that somebody gave one event, the one that is about no thread is told, whole', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  const root = await alice.send(room, 'a thread');
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}`;
  const content = { msgtype: 'm.text', body: 'in it', 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
  const { event_id: reply } = expectOk(await alice.put(`${path}/send/m.room.message/reply`, content));
  const body = allRooms({}, { extensions: { receipts: { enabled: true } } });
  const first = await slide(alice, body);
  for (const given of [{ thread_id: root }, {}]) {
    expectOk(await bob.post(`${path}/receipt/m.read/${encodeURIComponent(reply)}`, given));
  }
  const { extensions } = await slide(alice, body, { pos: first.pos });
  const receipt = extensions.receipts.rooms[room].content[reply]['m.read'][bob.userId];
  assert.deepEqual(Object.keys(receipt), ['ts']);
});

test('who is typing is told for the lists and rooms that were asked for', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  const body = (typing: Json): Json => allRooms({}, { extensions: { typing: { enabled: true, ...typing } } });
  const first = await slide(alice, body({}));
  assert.deepEqual(first.extensions, {});
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/typing/${encodeURIComponent(bob.userId)}`;
  expectOk(await bob.put(path, { typing: true, timeout: 30_000 }));
  const none = await slide(alice, body({ lists: [], rooms: ['*'] }), { pos: first.pos });
  assert.deepEqual(none.extensions, {});
  const second = await slide(alice, body({ lists: ['all'] }), { pos: first.pos });
  assert.deepEqual(second.extensions.typing.rooms[room], { type: 'm.typing', content: { user_ids: [bob.userId] } });
  const fresh = await slide(alice, { ...body({}), conn_id: 'fresh' });
  assert.deepEqual(fresh.extensions.typing.rooms[room].content, { user_ids: [bob.userId] });
  expectOk(await bob.put(path, { typing: false }));
  const third = await slide(alice, body({}), { pos: second.pos });
  assert.deepEqual(third.extensions.typing.rooms[room].content, { user_ids: [] });
});

test('changes of the threads somebody follows are an extension of their own', async () => {
  await using server = await TestServer.start({ config: { hearth: { thread_subscriptions: true } } });
  const alice = await server.register('alice');
  const room = await alice.createRoom();
  const root = await alice.send(room, 'root');
  const name = 'io.element.msc4308.thread_subscriptions';
  const body = { extensions: { [name]: { enabled: true, limit: 10 } } };
  const first = await slide(alice, body);
  assert.deepEqual(first.extensions, {});
  const path = `/_matrix/client/unstable/io.element.msc4306/rooms/${encodeURIComponent(room)}/thread/${encodeURIComponent(root)}/subscription`;
  expectOk(await alice.put(path, {}));
  const second = await slide(alice, body, { pos: first.pos, timeout: 30_000 });
  assert.equal(second.extensions[name].subscribed[room][root].automatic, false);
  const nothing = { types: [] };
  const old = await alice.sync({ filter: { account_data: nothing, room: { rooms: [] } } });
  assert.equal(JSON.stringify(old).includes('subscribed'), false);
});

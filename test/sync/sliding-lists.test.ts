import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { allRooms, slide } from './sliding-kit.ts';

/** The rooms of a list with some filters, and how many it says there are. */
async function listed(client: TestClient, filters: Json, names: ReadonlyMap<string, string>): Promise<string[]> {
  const answer = await slide(client, allRooms({ filters }, { conn_id: 'filters' }));
  const rooms = Object.keys(answer.rooms);
  assert.equal(answer.lists.all.count, rooms.length);
  return rooms.map((room) => names.get(room) ?? room).sort();
}

test('lists are filtered by what rooms are', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const encryption = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } };
  const plain = await alice.createRoom();
  const secret = await alice.createRoom({ initial_state: [encryption] });
  const space = await alice.createRoom({ creation_content: { type: 'm.space' } });
  const invited = await bob.createRoom({ invite: [alice.userId], initial_state: [encryption] });
  const names = new Map([
    [plain, 'plain'],
    [secret, 'secret'],
    [space, 'space'],
    [invited, 'invited'],
  ]);
  const account = `/_matrix/client/v3/user/${alice.userId}`;
  expectOk(await alice.put(`${account}/account_data/m.direct`, { [bob.userId]: [secret] }));
  expectOk(await alice.put(`${account}/rooms/${encodeURIComponent(plain)}/tags/m.favourite`, { order: 0.5 }));
  expectOk(await alice.put(`${account}/rooms/${encodeURIComponent(plain)}/tags/u.work`));
  expectOk(await alice.put(`${account}/rooms/${encodeURIComponent(secret)}/tags/u.work`));
  await alice.setState(space, 'm.space.child', { via: ['hearth.test'] }, plain);
  await alice.setState(space, 'm.space.child', {}, secret);

  assert.deepEqual(await listed(alice, {}, names), ['invited', 'plain', 'secret', 'space']);
  assert.deepEqual(await listed(alice, { is_dm: true }, names), ['secret']);
  assert.deepEqual(await listed(alice, { is_dm: false }, names), ['invited', 'plain', 'space']);
  assert.deepEqual(await listed(alice, { is_encrypted: true }, names), ['invited', 'secret']);
  assert.deepEqual(await listed(alice, { is_encrypted: false }, names), ['plain', 'space']);
  assert.deepEqual(await listed(alice, { is_invite: true }, names), ['invited']);
  assert.deepEqual(await listed(alice, { is_invited: false }, names), ['plain', 'secret', 'space']);
  assert.deepEqual(await listed(alice, { room_types: ['m.space'] }, names), ['space']);
  assert.deepEqual(await listed(alice, { room_types: [null] }, names), ['invited', 'plain', 'secret']);
  assert.deepEqual(await listed(alice, { not_room_types: ['m.space'] }, names), ['invited', 'plain', 'secret']);
  assert.deepEqual(await listed(alice, { room_types: ['m.space', null], not_room_types: [null] }, names), ['space']);
  assert.deepEqual(await listed(alice, { tags: ['u.work', 'm.lowpriority'] }, names), ['plain', 'secret']);
  assert.deepEqual(await listed(alice, { tags: ['u.work'], not_tags: ['m.favourite'] }, names), ['secret']);
  assert.deepEqual(await listed(alice, { not_tags: ['u.work'] }, names), ['invited', 'space']);
  assert.deepEqual(await listed(alice, { spaces: [space] }, names), ['plain']);
  assert.deepEqual(await listed(alice, { spaces: ['!unknown:hearth.test'] }, names), []);
  assert.deepEqual(await listed(alice, { is_encrypted: false, is_dm: false, tags: ['m.favourite'] }, names), ['plain']);
});

test('a room moves into a list when it becomes what the list is of', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const room = await alice.createRoom({ name: 'Letters' });
  const body = allRooms({ filters: { is_encrypted: true } });
  const first = await slide(alice, body);
  assert.deepEqual([first.lists.all.count, first.rooms], [0, {}]);
  await alice.setState(room, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
  const second = await slide(alice, body, { pos: first.pos });
  assert.equal(second.lists.all.count, 1);
  assert.equal(second.rooms[room].initial, true);
});

test('a room in several lists gets the most that any of them asks for', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const room = await alice.createRoom({ name: 'Both', topic: 'Two' });
  for (const text of ['one', 'two', 'three']) await alice.send(room, text);
  const answer = await slide(alice, {
    lists: {
      short: { ranges: [[0, 4]], timeline_limit: 1, required_state: [['m.room.name', '']] },
      long: {
        ranges: [
          [0, 0],
          [3, 4],
        ],
        timeline_limit: 3,
        required_state: [['m.room.topic', '']],
      },
    },
  });
  const told = answer.rooms[room];
  assert.deepEqual(told.lists.sort(), ['long', 'short']);
  assert.equal(told.timeline.length, 3);
  assert.deepEqual(told.required_state.map((event: Json) => event.type).sort(), ['m.room.name', 'm.room.topic']);
});

test('what ignored people say and whom they invite to is not shown', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  expectOk(
    await alice.put(`/_matrix/client/v3/user/${alice.userId}/account_data/m.ignored_user_list`, {
      ignored_users: { [bob.userId]: {} },
    }),
  );
  const first = await slide(alice, allRooms());
  await bob.send(room, 'unheard');
  await bob.createRoom({ invite: [alice.userId] });
  const second = await slide(alice, allRooms(), { pos: first.pos });
  assert.equal(second.rooms[room]?.timeline, undefined);
  assert.equal(second.lists.all.count, 1);
});

test('what is unread is counted, and read elsewhere it is told', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  const first = await slide(alice, allRooms());
  const event = await bob.send(room, { msgtype: 'm.text', body: 'look', 'm.mentions': { user_ids: [alice.userId] } });
  const second = await slide(alice, allRooms(), { pos: first.pos });
  assert.equal(second.rooms[room].notification_count, 1);
  assert.equal(second.rooms[room].highlight_count, 1);
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/receipt/m.read/${encodeURIComponent(event)}`;
  expectOk(await alice.post(path));
  const third = await slide(alice, allRooms(), { pos: second.pos });
  assert.equal(third.rooms[room].notification_count, 0);
  assert.equal(third.rooms[room].highlight_count, 0);
  assert.equal(third.rooms[room].timeline, undefined);
});

test('a position pages back like any other token', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const room = await alice.createRoom();
  await alice.send(room, 'before');
  const { pos, rooms } = await slide(alice, allRooms({ timeline_limit: 1 }));
  await alice.send(room, 'after');
  const messages = async (from: string): Promise<string> => {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages`;
    const { chunk } = expectOk(await alice.get(path, { from, dir: 'b', limit: 1 }));
    return chunk[0].content.body ?? chunk[0].type;
  };
  assert.equal(await messages(pos), 'before');
  assert.notEqual(await messages(rooms[room].prev_batch), 'before');
});

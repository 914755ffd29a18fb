import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { registerAdmin } from './room-directory-people.ts';

const LIST = '/_matrix/client/v3/publicRooms';
const entry = (roomId: string): string => `/_matrix/client/v3/directory/list/room/${encodeURIComponent(roomId)}`;
const publish = (who: TestClient, roomId: string, visibility?: string): Promise<Answer> =>
  who.put(entry(roomId), visibility === undefined ? {} : { visibility });

async function search(who: TestClient, query: Json = {}): Promise<Json> {
  return expectOk(await who.post(LIST, query));
}

async function idsOf(who: TestClient, query: Json = {}): Promise<string[]> {
  return (await search(who, query)).chunk.map((room: Json) => room.room_id);
}

async function namesOf(who: TestClient, query: Json = {}): Promise<string[]> {
  return (await search(who, query)).chunk.map((room: Json) => room.name).sort();
}

const published = (more: Json = {}): Json => ({ visibility: 'public', ...more });

test('a published room is listed with what it shows of itself, as it is now', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom(published({ name: 'Kitchen', topic: 'Soup', room_alias_name: 'kitchen' }));
  await ann.setState(roomId, 'm.room.avatar', { url: 'mxc://hearth.test/soup' });
  await bob.join(roomId);
  assert.deepEqual(await search(bob), {
    chunk: [
      {
        room_id: roomId,
        name: 'Kitchen',
        topic: 'Soup',
        avatar_url: 'mxc://hearth.test/soup',
        canonical_alias: '#kitchen:hearth.test',
        num_joined_members: 2,
        world_readable: false,
        guest_can_join: false,
        join_rule: 'public',
      },
    ],
    total_room_count_estimate: 1,
  });

  await ann.setState(roomId, 'm.room.name', {});
  await ann.setState(roomId, 'm.room.topic', {
    topic: 'Soup',
    'm.topic': { 'm.text': [{ mimetype: 'text/html', body: '<b>Stew</b>' }, { body: 'Stew' }] },
  });
  await ann.setState(roomId, 'm.room.canonical_alias', {});
  await ann.setState(roomId, 'm.room.avatar', {});
  await ann.setState(roomId, 'm.room.history_visibility', { history_visibility: 'world_readable' });
  await ann.setState(roomId, 'm.room.guest_access', { guest_access: 'can_join' });
  await ann.setState(roomId, 'm.room.join_rules', { join_rule: 'knock' });
  await bob.leave(roomId);
  assert.deepEqual((await search(bob)).chunk, [
    {
      room_id: roomId,
      topic: 'Stew',
      num_joined_members: 1,
      world_readable: true,
      guest_can_join: true,
      join_rule: 'knock',
    },
  ]);
});

test('a redacted name is no longer shown', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom(published());
  const eventId = await ann.setState(roomId, 'm.room.name', { name: 'Regrettable' });
  assert.deepEqual(await namesOf(ann), ['Regrettable']);
  const redact = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(eventId)}/t`;
  expectOk(await ann.put(redact, {}));
  assert.deepEqual(await namesOf(ann), [undefined]);
  assert.deepEqual(await idsOf(ann, { filter: { generic_search_term: 'regrettable' } }), []);
});

test('what nobody outside could enter or read is not listed, published or not', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom(published({ preset: 'private_chat' }));
  assert.deepEqual(await idsOf(ann), []);
  for (const rule of ['knock', 'knock_restricted', 'public']) {
    await ann.setState(roomId, 'm.room.join_rules', { join_rule: rule });
    assert.deepEqual(await idsOf(ann), [roomId]);
  }
  await ann.setState(roomId, 'm.room.join_rules', { join_rule: 'invite' });
  assert.deepEqual(await idsOf(ann), []);
  await ann.setState(roomId, 'm.room.history_visibility', { history_visibility: 'world_readable' });
  assert.deepEqual(await idsOf(ann), [roomId]);
  await ann.leave(roomId);
  assert.deepEqual(await idsOf(ann), []);
});

test('a room comes into the directory and leaves it as its moderators please', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const admin = await registerAdmin(server, 'root');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const visibility = async (): Promise<string> => expectOk(await server.anonymous().get(entry(roomId))).visibility;

  assert.equal(await visibility(), 'private');
  expectError(await publish(bob, roomId), 403, 'M_FORBIDDEN');
  assert.deepEqual(expectOk(await publish(ann, roomId)), {});
  assert.equal(await visibility(), 'public');
  expectOk(await publish(ann, roomId, 'public'));
  assert.deepEqual(await idsOf(bob), [roomId]);
  expectError(await publish(bob, roomId, 'private'), 403, 'M_FORBIDDEN');
  expectOk(await publish(admin, roomId, 'private'));
  assert.equal(await visibility(), 'private');
  assert.deepEqual(await idsOf(bob), []);

  expectError(await publish(ann, roomId, 'secret'), 400, 'M_BAD_JSON');
  expectError(await publish(ann, '!none:hearth.test'), 404, 'M_NOT_FOUND');
  expectError(await ann.get(entry('!none:hearth.test')), 404, 'M_NOT_FOUND');
  expectError(await ann.get(entry('none')), 400, 'M_INVALID_PARAM');
  expectError(await publish(server.anonymous(), roomId), 401, 'M_MISSING_TOKEN');
});

test('rules of the configuration say what may be published; what may not is not made either', async () => {
  const rules = [
    { user_id: '@bob:*', action: 'deny' },
    { alias: '#open-*', action: 'allow' },
  ];
  await using server = await TestServer.start({ config: { room_list_publication_rules: rules } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const create = '/_matrix/client/v3/createRoom';
  expectError(await ann.post(create, published()), 403, 'M_FORBIDDEN');
  expectError(await ann.post(create, published({ room_alias_name: 'closed' })), 403, 'M_FORBIDDEN');
  expectError(await bob.post(create, published({ room_alias_name: 'open-bob' })), 403, 'M_FORBIDDEN');
  assert.deepEqual(expectOk(await bob.get('/_matrix/client/v3/joined_rooms')).joined_rooms, []);
  const roomId = await ann.createRoom(published({ room_alias_name: 'open-ann' }));
  const plain = await ann.createRoom({ preset: 'public_chat' });
  expectError(await publish(ann, plain), 403, 'M_FORBIDDEN');
  // Taking a room out of the directory is nothing the rules are asked about.
  expectOk(await publish(ann, plain, 'private'));
  assert.deepEqual(await idsOf(ann), [roomId]);
});

test('pages go through the directory once, the largest rooms first, and back again', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const rooms: string[] = [];
  for (let n = 0; n < 7; n++) rooms.push(await ann.createRoom(published({ name: `Room ${n}` })));
  const [first = '', second = ''] = rooms;
  await bob.join(first);
  await bob.join(second);

  const all = await idsOf(ann);
  assert.deepEqual([...all].sort(), [...rooms].sort());
  assert.deepEqual(all.slice(0, 2).sort(), [first, second].sort());

  const pages: Json[] = [];
  let since: string | undefined;
  do {
    const page = expectOk(await ann.get(LIST, { limit: 3, since }));
    pages.push(page);
    since = page.next_batch;
  } while (since !== undefined);
  const idsIn = (page: Json): string[] => page.chunk.map((room: Json) => room.room_id);
  assert.deepEqual(
    pages.map((page) => page.chunk.length),
    [3, 3, 1],
  );
  assert.deepEqual(pages.flatMap(idsIn), all);
  assert.ok(pages.every((page) => page.total_room_count_estimate === 7));
  assert.equal(pages[0].prev_batch, undefined);

  const middle = await search(ann, { limit: 3, since: pages[2].prev_batch });
  assert.deepEqual(idsIn(middle), all.slice(3, 6));
  const top = await search(ann, { limit: 3, since: middle.prev_batch });
  assert.deepEqual(idsIn(top), all.slice(0, 3));
  assert.equal(top.prev_batch, undefined);
  assert.deepEqual(idsIn(await search(ann, { limit: 3, since: top.next_batch })), all.slice(3, 6));
  assert.equal((await search(ann, { limit: 0 })).chunk.length, 7);
  for (const wrong of ['x', 'ZjE', '']) {
    expectError(await ann.get(LIST, { since: wrong }), 400, 'M_INVALID_PARAM');
  }
  expectError(await ann.get(LIST, { limit: 'many' }), 400, 'M_INVALID_PARAM');
});

test('a search looks at names, topics and aliases, whatever the case', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const kitchen = await ann.createRoom(
    published({ name: 'Große Küche', topic: 'Soup & Stew', room_alias_name: 'cooking' }),
  );
  const cellar = await ann.createRoom(published({ name: 'Cellar', topic: 'Wine 100%' }));
  const find = (term: string): Promise<string[]> => idsOf(ann, { filter: { generic_search_term: term } });
  assert.deepEqual(await find('KÜCHE'), [kitchen]);
  assert.deepEqual(await find('stew große'), [kitchen]);
  assert.deepEqual(await find('cooking'), [kitchen]);
  assert.deepEqual(await find('100%'), [cellar]);
  assert.deepEqual(await find('_'), []);
  assert.deepEqual(await find('cellar soup'), []);
  assert.deepEqual((await find('  ')).sort(), [kitchen, cellar].sort());
  assert.equal((await search(ann, { filter: { generic_search_term: 'wine' } })).total_room_count_estimate, 1);
});

test('rooms can be looked for by their type, and those without one', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  await ann.createRoom(published({ name: 'House', creation_content: { type: 'm.space' } }));
  await ann.createRoom(published({ name: 'Call', creation_content: { type: 'org.example.call' } }));
  await ann.createRoom(published({ name: 'Kitchen' }));
  const find = (roomTypes: Json): Promise<string[]> => namesOf(ann, { filter: { room_types: roomTypes } });
  assert.deepEqual(await find(['m.space']), ['House']);
  assert.deepEqual(await find([null]), ['Kitchen']);
  assert.deepEqual(await find(['org.example.call', null]), ['Call', 'Kitchen']);
  assert.deepEqual(await find([]), []);
  assert.deepEqual(await find(null), ['Call', 'House', 'Kitchen']);
  const spaces = await search(ann, { filter: { room_types: ['m.space'] } });
  assert.equal(spaces.chunk[0].room_type, 'm.space');
  expectError(await ann.post(LIST, { filter: { room_types: 'm.space' } }), 400, 'M_BAD_JSON');
});

test('the directory is for users of the server, unless the configuration opens it', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  const roomId = await ann.createRoom(published());
  expectError(await server.anonymous().get(LIST), 401, 'M_MISSING_TOKEN');
  expectError(await server.anonymous().post(LIST, {}), 401, 'M_MISSING_TOKEN');
  const guest = await server.guest();
  assert.deepEqual(await idsOf(guest), [roomId]);
  assert.equal(expectOk(await guest.get(LIST)).chunk.length, 1);
  await server.restart({ allow_public_rooms_without_auth: true });
  assert.equal(expectOk(await server.anonymous().get(LIST)).chunk.length, 1);
  expectError(await server.anonymous().get(LIST, { server: 'elsewhere.test' }), 401, 'M_MISSING_TOKEN');
});

test('this server’s own directory can be asked for by name, that of others only through federation', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom(published());
  assert.equal(expectOk(await ann.get(LIST, { server: 'hearth.test' })).chunk[0].room_id, roomId);
  const own = expectOk(await ann.post(LIST, {}, { server: 'hearth.test' }));
  assert.equal(own.chunk[0].room_id, roomId);
  expectError(await ann.get(LIST, { server: 'elsewhere.test' }), 502, 'M_UNKNOWN');
  expectError(await ann.post(LIST, {}, { server: 'elsewhere.test' }), 502, 'M_UNKNOWN');
  expectError(await ann.get(LIST, { server: 'no server' }), 400, 'M_INVALID_PARAM');
});

test('with the list switched off it appears empty', async () => {
  await using server = await TestServer.start({ config: { enable_room_list_search: false } });
  const ann = await server.register('ann');
  await ann.createRoom(published());
  assert.deepEqual(await search(ann), { chunk: [], total_room_count_estimate: 0 });
  assert.deepEqual((await search(ann, { filter: { generic_search_term: 'x' } })).chunk, []);
});

test('directories of other networks are the business of application services', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom(published());
  const path = `/_matrix/client/v3/directory/list/appservice/irc/${encodeURIComponent(roomId)}`;
  expectError(await ann.put(path, { visibility: 'public' }), 403, 'M_FORBIDDEN');
  expectError(await ann.delete(path), 403, 'M_FORBIDDEN');
  assert.deepEqual(await idsOf(ann, { third_party_instance_id: 'irc|libera' }), []);
  assert.deepEqual(await idsOf(ann, { include_all_networks: true }), [roomId]);
  const both = { include_all_networks: true, third_party_instance_id: 'irc|libera' };
  expectError(await ann.post(LIST, both), 400, 'M_INVALID_PARAM');
});

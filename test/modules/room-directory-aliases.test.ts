import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { registerAdmin } from './room-directory-people.ts';

const path = (alias: string): string => `/_matrix/client/v3/directory/room/${encodeURIComponent(alias)}`;
const room = (roomId: string, action: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${action}`;
const give = (who: TestClient, alias: string, roomId: string): Promise<Answer> =>
  who.put(path(alias), { room_id: roomId });
const look = (who: TestClient, alias: string): Promise<Answer> => who.get(path(alias));
const setCanonical = (who: TestClient, roomId: string, content: Json): Promise<Answer> =>
  who.put(room(roomId, 'state/m.room.canonical_alias/'), content);

async function canonicalOf(who: TestClient, roomId: string): Promise<Json> {
  return expectOk(await who.get(room(roomId, 'state/m.room.canonical_alias/')));
}

async function aliasesOf(who: TestClient, roomId: string): Promise<string[]> {
  return expectOk(await who.get(room(roomId, 'aliases'))).aliases;
}

test('an alias leads everybody to its room, whatever letters it is made of', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  for (const alias of ['#kitchen:hearth.test', '#☕:hearth.test', '#a/b?c%d:hearth.test']) {
    assert.deepEqual(expectOk(await give(ann, alias, roomId)), {});
    const found = expectOk(await look(server.anonymous(), alias));
    assert.deepEqual(found, { room_id: roomId, servers: ['hearth.test'] });
  }
  assert.equal(await bob.join('#☕:hearth.test'), roomId);
  assert.deepEqual((await aliasesOf(bob, roomId)).sort(), [
    '#a/b?c%d:hearth.test',
    '#kitchen:hearth.test',
    '#☕:hearth.test',
  ]);
  expectError(await look(ann, '#pantry:hearth.test'), 404, 'M_NOT_FOUND');
});

test('an alias belongs to the first who takes it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const kitchen = await ann.createRoom();
  const cellar = await bob.createRoom();
  expectOk(await give(ann, '#home:hearth.test', kitchen));
  expectError(await give(bob, '#home:hearth.test', cellar), 409, 'M_UNKNOWN');
  expectError(await give(ann, '#home:hearth.test', kitchen), 409, 'M_UNKNOWN');
  assert.equal(expectOk(await look(bob, '#home:hearth.test')).room_id, kitchen);
});

test('what is no alias, or none of this server, cannot be given', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom();
  for (const alias of [
    '#kitchen:elsewhere.test',
    '#with space:hearth.test',
    '#tab\t:hearth.test',
    'kitchen',
    '#:hearth.test',
    `#${'x'.repeat(250)}:hearth.test`,
  ]) {
    expectError(await give(ann, alias, roomId), 400, 'M_INVALID_PARAM');
  }
  expectError(await ann.put(path('#kitchen:hearth.test'), {}), 400, 'M_BAD_JSON');
  expectError(await ann.put(path('#kitchen:hearth.test'), { room_id: 'kitchen' }), 400, 'M_BAD_JSON');
  expectError(await look(ann, 'kitchen'), 400, 'M_INVALID_PARAM');
  expectError(await look(ann, '#kitchen:elsewhere.test'), 502, 'M_UNKNOWN');
  expectError(await server.anonymous().put(path('#kitchen:hearth.test'), { room_id: roomId }), 401, 'M_MISSING_TOKEN');
  assert.deepEqual(await aliasesOf(ann, roomId), []);
});

test('members alone give aliases, unless the configuration is more generous', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const admin = await registerAdmin(server, 'root');
  const roomId = await ann.createRoom();
  expectError(await give(bob, '#kitchen:hearth.test', roomId), 403, 'M_FORBIDDEN');
  expectError(await give(bob, '#kitchen:hearth.test', '!nowhere:hearth.test'), 403, 'M_FORBIDDEN');
  expectOk(await give(admin, '#by-admin:hearth.test', roomId));
  expectError(await give(admin, '#nowhere:hearth.test', '!nowhere:hearth.test'), 404, 'M_NOT_FOUND');
  await server.restart({ require_membership_for_aliases: false });
  expectOk(await give(bob, '#kitchen:hearth.test', roomId));
  assert.deepEqual(await aliasesOf(ann, roomId), ['#by-admin:hearth.test', '#kitchen:hearth.test']);
});

test('rules of the configuration say who may give which aliases', async () => {
  const rules = [
    { user_id: '@bob:*', action: 'deny' },
    { alias: '#family-*', action: 'allow' },
    { user_id: '@ann:*', alias: '#ANN-?:*' },
  ];
  await using server = await TestServer.start({ config: { alias_creation_rules: rules } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  expectOk(await give(ann, '#family-room:hearth.test', roomId));
  expectOk(await give(ann, '#ann-1:hearth.test', roomId));
  expectError(await give(ann, '#ann-10:hearth.test', roomId), 403, 'M_FORBIDDEN');
  expectError(await give(bob, '#family-bob:hearth.test', roomId), 403, 'M_FORBIDDEN');
  const order = { room_alias_name: 'other' };
  expectError(await ann.post('/_matrix/client/v3/createRoom', order), 403, 'M_FORBIDDEN');
  assert.deepEqual(expectOk(await ann.get('/_matrix/client/v3/joined_rooms')).joined_rooms, [roomId]);
  await ann.createRoom({ room_alias_name: 'family-cellar' });
});

test('an alias is deleted by who made it, by those with power in the room, and by administrators', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const carl = await server.register('carl');
  const admin = await registerAdmin(server, 'root');
  const roomId = await ann.createRoom({ preset: 'public_chat', room_version: '11' });
  await bob.join(roomId);
  await carl.join(roomId);
  const remove = (who: TestClient, alias: string): Promise<Answer> => who.delete(path(alias));

  expectOk(await give(bob, '#bobs:hearth.test', roomId));
  expectError(await remove(carl, '#bobs:hearth.test'), 403, 'M_FORBIDDEN');
  expectOk(await remove(bob, '#bobs:hearth.test'));
  expectError(await remove(bob, '#bobs:hearth.test'), 404, 'M_NOT_FOUND');

  expectOk(await give(bob, '#bobs:hearth.test', roomId));
  expectOk(await remove(ann, '#bobs:hearth.test'));
  expectOk(await give(bob, '#bobs:hearth.test', roomId));
  expectOk(await remove(admin, '#bobs:hearth.test'));
  expectOk(await give(bob, '#bobs:hearth.test', roomId));
  await ann.setState(roomId, 'm.room.power_levels', { users: { [ann.userId]: 100, [carl.userId]: 50 } });
  expectOk(await carl.delete(path('#bobs:hearth.test'), {}));
  expectError(await look(ann, '#bobs:hearth.test'), 404, 'M_NOT_FOUND');
  expectError(await remove(ann, '#bobs:elsewhere.test'), 400, 'M_INVALID_PARAM');
});

test('with a deleted alias goes its mention in the room, if whoever deletes it may see to that', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const aliases = ['#a:hearth.test', '#b:hearth.test', '#c:hearth.test'];
  for (const alias of aliases) expectOk(await give(bob, alias, roomId));
  expectOk(
    await setCanonical(ann, roomId, {
      alias: '#a:hearth.test',
      alt_aliases: ['#b:hearth.test', '#c:hearth.test'],
      note: 1,
    }),
  );
  expectOk(await ann.delete(path('#b:hearth.test')));
  assert.deepEqual(await canonicalOf(ann, roomId), {
    alias: '#a:hearth.test',
    alt_aliases: ['#c:hearth.test'],
    note: 1,
  });
  expectOk(await ann.delete(path('#a:hearth.test')));
  assert.deepEqual(await canonicalOf(ann, roomId), { alt_aliases: ['#c:hearth.test'], note: 1 });
  // Bob may not change the state, but the alias is his.
  expectOk(await bob.delete(path('#c:hearth.test')));
  expectError(await look(bob, '#c:hearth.test'), 404, 'M_NOT_FOUND');
  assert.deepEqual(await canonicalOf(ann, roomId), { alt_aliases: ['#c:hearth.test'], note: 1 });
});

test('a room may only show aliases that lead to it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom({ room_alias_name: 'kitchen' });
  await ann.createRoom({ room_alias_name: 'cellar' });
  expectOk(await give(ann, '#pantry:hearth.test', roomId));
  const set = (content: Json): Promise<Answer> => setCanonical(ann, roomId, content);
  expectOk(await set({ alias: '#kitchen:hearth.test', alt_aliases: ['#pantry:hearth.test', '#kitchen:hearth.test'] }));
  for (const bad of ['#none:hearth.test', '#cellar:hearth.test', '#kitchen:elsewhere.test']) {
    expectError(await set({ alias: bad }), 400, 'M_BAD_ALIAS');
    expectError(await set({ alt_aliases: [bad] }), 400, 'M_BAD_ALIAS');
  }
  for (const bad of ['%kitchen:hearth.test', 'kitchen', 5, {}]) {
    expectError(await set({ alias: bad }), 400, 'M_INVALID_PARAM');
    expectError(await set({ alt_aliases: [bad] }), 400, 'M_INVALID_PARAM');
  }
  expectError(await set({ alt_aliases: '#kitchen:hearth.test' }), 400, 'M_INVALID_PARAM');
  for (const none of [{}, { alias: null }, { alias: '' }]) expectOk(await set(none));
});

test('an alias that has drifted away may stay where it was shown', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  expectOk(await give(bob, '#bobs:hearth.test', roomId));
  expectOk(await setCanonical(ann, roomId, { alias: '#bobs:hearth.test' }));
  expectOk(await bob.delete(path('#bobs:hearth.test')));
  expectOk(await setCanonical(ann, roomId, { alt_aliases: ['#bobs:hearth.test'] }));
  expectOk(await setCanonical(ann, roomId, {}));
  expectError(await setCanonical(ann, roomId, { alias: '#bobs:hearth.test' }), 400, 'M_BAD_ALIAS');
});

test('the aliases of a room are listed to its members, and to all if the world may read it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'public_chat', room_alias_name: 'kitchen' });
  const list = (who: TestClient): Promise<Answer> => who.get(room(roomId, 'aliases'));
  expectError(await list(bob), 403, 'M_FORBIDDEN');
  await bob.join(roomId);
  assert.deepEqual(expectOk(await list(bob)), { aliases: ['#kitchen:hearth.test'] });
  await bob.leave(roomId);
  expectError(await list(bob), 403, 'M_FORBIDDEN');
  await ann.setState(roomId, 'm.room.history_visibility', { history_visibility: 'world_readable' });
  assert.deepEqual(expectOk(await list(bob)), { aliases: ['#kitchen:hearth.test'] });
  expectError(await bob.get(room('!none:hearth.test', 'aliases')), 403, 'M_FORBIDDEN');
});

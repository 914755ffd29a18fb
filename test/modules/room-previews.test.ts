import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const summarise = (who: TestClient, room: string): Promise<Answer> =>
  who.get(`/_matrix/client/v1/room_summary/${encodeURIComponent(room)}`);

const joinRule = (rule: string, allow: readonly string[] = []): Json => ({
  type: 'm.room.join_rules',
  state_key: '',
  content: {
    join_rule: rule,
    ...(allow.length === 0 ? {} : { allow: allow.map((id) => ({ type: 'm.room_membership', room_id: id })) }),
  },
});

test('a public room shows what it is to everybody, logged in or not', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({
    preset: 'public_chat',
    name: 'Kitchen',
    topic: 'Soup',
    room_alias_name: 'kitchen',
    room_version: '11',
    initial_state: [
      { type: 'm.room.avatar', state_key: '', content: { url: 'mxc://hearth.test/soup' } },
      { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
    ],
  });
  await bob.join(roomId);

  const summary = expectOk(await summarise(server.anonymous(), roomId));
  const { canonical_alias: _alias, ...rest } = summary;
  assert.deepEqual(rest, {
    room_id: roomId,
    name: 'Kitchen',
    topic: 'Soup',
    avatar_url: 'mxc://hearth.test/soup',
    num_joined_members: 2,
    world_readable: false,
    guest_can_join: false,
    join_rule: 'public',
    room_version: '11',
    encryption: 'm.megolm.v1.aes-sha2',
  });
  assert.equal(expectOk(await summarise(bob, '#kitchen:hearth.test')).membership, 'join');
  assert.equal(expectOk(await summarise(await server.guest(), roomId)).membership, 'leave');
});

test('the names from before the spec had one still answer', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const roomId = await ann.createRoom({ preset: 'public_chat', creation_content: { type: 'm.space' } });
  const id = encodeURIComponent(roomId);
  const stable = expectOk(await summarise(ann, roomId));
  assert.equal(stable.room_type, 'm.space');
  const unstable = '/_matrix/client/unstable/im.nheko.summary';
  assert.deepEqual(expectOk(await ann.get(`${unstable}/summary/${id}`)), stable);
  assert.deepEqual(expectOk(await ann.get(`${unstable}/rooms/${id}/summary`)), stable);
});

test('a private room shows itself to members and the invited alone', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const roomId = await ann.createRoom({ preset: 'private_chat', name: 'Study' });

  expectError(await summarise(server.anonymous(), roomId), 404, 'M_NOT_FOUND');
  expectError(await summarise(bob, roomId), 404, 'M_NOT_FOUND');
  assert.equal(expectOk(await summarise(ann, roomId)).join_rule, 'invite');
  await ann.invite(roomId, bob.userId);
  const invited = expectOk(await summarise(bob, roomId));
  assert.deepEqual([invited.name, invited.membership], ['Study', 'invite']);
  await bob.leave(roomId);
  expectError(await summarise(bob, roomId), 404, 'M_NOT_FOUND');
  expectError(await summarise(bob, '!nowhere:hearth.test'), 404, 'M_NOT_FOUND');
  expectError(await summarise(bob, '#nowhere:hearth.test'), 404, 'M_NOT_FOUND');
  expectError(await summarise(bob, 'neither'), 400, 'M_INVALID_PARAM');
});

test('a room whose history the world may read shows itself to the world', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const world = { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'world_readable' } };
  const roomId = await ann.createRoom({ preset: 'private_chat', initial_state: [world] });
  assert.equal(expectOk(await summarise(server.anonymous(), roomId)).world_readable, true);
});

test('a room one may knock on shows itself, unless its version knows no knocking', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const knock = await ann.createRoom({ initial_state: [joinRule('knock')] });
  const old = await ann.createRoom({ initial_state: [joinRule('knock')], room_version: '6' });
  assert.equal(expectOk(await summarise(bob, knock)).join_rule, 'knock');
  expectError(await summarise(bob, old), 404, 'M_NOT_FOUND');
});

test('a room open to members of another shows itself to them, and says whom it is open to', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const family = await ann.createRoom({ preset: 'public_chat' });
  const garden = await ann.createRoom({ initial_state: [joinRule('restricted', [family])] });

  expectError(await summarise(bob, garden), 404, 'M_NOT_FOUND');
  await bob.join(family);
  const summary = expectOk(await summarise(bob, garden));
  assert.deepEqual([summary.join_rule, summary.allowed_room_ids], ['restricted', [family]]);
  assert.equal(summary.membership, 'leave');
  assert.equal(expectOk(await summarise(bob, family)).allowed_room_ids, undefined);

  // This one may be knocked on as well, so all may see it.
  const orchard = await ann.createRoom({ initial_state: [joinRule('knock_restricted', [family])] });
  expectOk(await summarise(server.anonymous(), orchard));
});

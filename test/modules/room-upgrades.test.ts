import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const room = (roomId: string, action: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${action}`;
const tryUpgrade = (who: TestClient, roomId: string, version: string, more: Json = {}): Promise<Answer> =>
  who.post(room(roomId, 'upgrade'), { new_version: version, ...more });

async function upgrade(who: TestClient, roomId: string, version: string, more: Json = {}): Promise<string> {
  return expectOk(await tryUpgrade(who, roomId, version, more)).replacement_room;
}

async function stateOf(who: TestClient, roomId: string, type: string, stateKey = ''): Promise<Json> {
  return expectOk(await who.get(room(roomId, `state/${type}/${encodeURIComponent(stateKey)}`)));
}

async function hasState(who: TestClient, roomId: string, type: string, stateKey = ''): Promise<boolean> {
  return (await who.get(room(roomId, `state/${type}/${encodeURIComponent(stateKey)}`))).status === 200;
}

async function levelsOf(who: TestClient, roomId: string): Promise<Json> {
  return stateOf(who, roomId, 'm.room.power_levels');
}

test('a replaced room points to the new one, and the new one back', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  for (const [from, to] of [
    ['10', '11'],
    ['11', '12'],
    ['12', '12'],
    ['1', '2'],
    ['12', '10'],
  ] as const) {
    const old = await ann.createRoom({ room_version: from, name: 'Kitchen' });
    const lastEvent = await ann.send(old, 'We are moving');
    const replacement = await upgrade(ann, old, to);
    const create = await stateOf(ann, replacement, 'm.room.create');
    assert.equal(create.room_version, to);
    assert.equal(create.predecessor.room_id, old);
    const tombstone = await stateOf(ann, old, 'm.room.tombstone');
    const tombstones = expectOk(
      await ann.get(room(old, 'messages'), { dir: 'b', filter: JSON.stringify({ types: ['m.room.tombstone'] }) }),
    );
    // From version 12 on the new room's ID, which the tombstone names, depends on this very content.
    assert.equal(create.predecessor.event_id, to === '12' ? lastEvent : tombstones.chunk[0].event_id);
    assert.equal(tombstone.replacement_room, replacement);
    assert.equal(typeof tombstone.body, 'string');
    assert.deepEqual(await stateOf(ann, replacement, 'm.room.name'), { name: 'Kitchen' });
    assert.ok(expectOk(await ann.get('/_matrix/client/v3/joined_rooms')).joined_rooms.includes(replacement));
  }
});

test('what a room is like moves with it; what its members said of themselves does not', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const old = await ann.createRoom({
    room_version: '10',
    preset: 'public_chat',
    creation_content: { 'm.federate': false },
  });
  await bob.join(old);
  const moved: Json = {
    'm.room.name': { name: 'Kitchen' },
    'm.room.topic': { topic: 'Soup' },
    'm.room.avatar': { url: 'mxc://hearth.test/soup' },
    'm.room.encryption': { algorithm: 'm.megolm.v1.aes-sha2' },
    'm.room.server_acl': { allow: ['*'], deny: ['evil.test'], allow_ip_literals: false },
    'm.room.history_visibility': { history_visibility: 'joined' },
    'm.room.guest_access': { guest_access: 'can_join' },
    'm.room.join_rules': { join_rule: 'knock' },
  };
  for (const [type, content] of Object.entries(moved)) await ann.setState(old, type, content);
  await ann.setState(old, 'org.example.widget', { url: 'https://example.org' });
  await ann.setState(old, 'm.space.parent', { via: ['hearth.test'] }, '!parent:hearth.test');
  await ann.setState(old, 'm.space.child', { via: ['hearth.test'] }, '!child:hearth.test');
  const replacement = await upgrade(ann, old, '11');
  for (const [type, content] of Object.entries(moved)) assert.deepEqual(await stateOf(ann, replacement, type), content);
  assert.equal((await stateOf(ann, replacement, 'm.room.create'))['m.federate'], false);
  assert.ok(await hasState(ann, replacement, 'm.space.parent', '!parent:hearth.test'));
  assert.ok(!(await hasState(ann, replacement, 'm.space.child', '!child:hearth.test')));
  assert.ok(!(await hasState(ann, replacement, 'org.example.widget')));
  assert.ok(!(await hasState(ann, replacement, 'm.room.member', bob.userId)));
});

test('a space keeps its type and its rooms, but for those taken out of it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const old = await ann.createRoom({ room_version: '10', creation_content: { type: 'm.space', 'org.example': 1 } });
  await ann.setState(old, 'm.space.child', { via: ['hearth.test'], order: 'a' }, '!kept:hearth.test');
  await ann.setState(old, 'm.space.child', { via: ['hearth.test'] }, '!gone:hearth.test');
  await ann.setState(old, 'm.space.child', {}, '!gone:hearth.test');
  const replacement = await upgrade(ann, old, '11');
  const create = await stateOf(ann, replacement, 'm.room.create');
  assert.deepEqual([create.type, create['org.example']], ['m.space', undefined]);
  const child = await stateOf(ann, replacement, 'm.space.child', '!kept:hearth.test');
  assert.deepEqual(child, { via: ['hearth.test'], order: 'a' });
  assert.ok(!(await hasState(ann, replacement, 'm.space.child', '!gone:hearth.test')));
});

test('the banned stay banned, even those who once had power', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const eve = await server.register('eve');
  for (const version of ['11', '12']) {
    const old = await ann.createRoom({ room_version: '10', preset: 'public_chat' });
    await bob.join(old);
    const before = await levelsOf(ann, old);
    expectOk(await ann.post(room(old, 'ban'), { user_id: eve.userId, reason: 'knives' }));
    expectOk(await ann.post(room(old, 'ban'), { user_id: bob.userId }));
    // A level that Bob keeps although he was banned, as high as Ann's own.
    await ann.setState(old, 'm.room.power_levels', { ...before, users: { [ann.userId]: 100, [bob.userId]: 100 } });
    const replacement = await upgrade(ann, old, version);
    assert.deepEqual(await stateOf(ann, replacement, 'm.room.member', eve.userId), {
      membership: 'ban',
      reason: 'knives',
    });
    assert.equal((await stateOf(ann, replacement, 'm.room.member', bob.userId)).membership, 'ban');
    expectError(await eve.post(`/_matrix/client/v3/join/${encodeURIComponent(replacement)}`), 403, 'M_FORBIDDEN');
    const { users } = await levelsOf(ann, replacement);
    assert.deepEqual(users, version === '12' ? { [bob.userId]: 100 } : { [ann.userId]: 100, [bob.userId]: 100 });
  }
});

test('power levels come over as they were, also those of a moderator who does the work', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const mod = await server.register('mod');
  const old = await ann.createRoom({ room_version: '10', preset: 'public_chat' });
  await mod.join(old);
  const levels = await levelsOf(ann, old);
  const wanted = {
    ...levels,
    users: { [ann.userId]: 100, [mod.userId]: 50, '@someone:elsewhere.test': 40 },
    events: { ...levels.events, 'm.room.tombstone': 50, 'org.example': 9_000 },
  };
  // Levels beyond one's own can only be set at the start.
  const start = await ann.createRoom({
    room_version: '10',
    preset: 'public_chat',
    initial_state: [{ type: 'm.room.power_levels', content: wanted }],
  });
  await mod.join(start);
  await ann.setState(start, 'm.room.server_acl', { allow: ['*'] });
  const replacement = await upgrade(mod, start, '11');
  assert.deepEqual(await levelsOf(mod, replacement), wanted);
  // Closing the old room would have taken more than the moderator has.
  assert.deepEqual(await levelsOf(ann, start), wanted);
  assert.equal((await stateOf(ann, start, 'm.room.tombstone')).replacement_room, replacement);
  assert.deepEqual(await stateOf(mod, replacement, 'm.room.server_acl'), { allow: ['*'] });
  const setName = `state/m.room.server_acl/`;
  expectError(await mod.put(room(replacement, setName), { allow: ['*', 'x'] }), 403, 'M_FORBIDDEN');
});

test('in the old room members fall silent', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  for (const [usersDefault, expected] of [
    [0, 50],
    [80, 81],
  ] as const) {
    const old = await ann.createRoom({
      room_version: '11',
      preset: 'public_chat',
      power_level_content_override: { users_default: usersDefault, invite: 0 },
    });
    await bob.join(old);
    await upgrade(ann, old, '12');
    const levels = await levelsOf(ann, old);
    assert.deepEqual([levels.events_default, levels.invite], [expected, expected]);
    expectError(
      await bob.put(room(old, 'send/m.room.message/t'), { msgtype: 'm.text', body: 'x' }),
      403,
      'M_FORBIDDEN',
    );
  }
});

test('creators of version 12 are who upgrades and whom they name; they are not listed as well', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const carl = await server.register('carl');
  const old = await ann.createRoom({
    room_version: '11',
    power_level_content_override: {
      users: { [ann.userId]: 100, [bob.userId]: 100, [carl.userId]: 50 },
      events: { 'm.room.power_levels': 100 },
    },
  });
  const privileged = await upgrade(ann, old, '12', { additional_creators: [bob.userId, ann.userId] });
  assert.deepEqual((await stateOf(ann, privileged, 'm.room.create')).additional_creators, [bob.userId]);
  const levels = await levelsOf(ann, privileged);
  assert.deepEqual(levels.users, { [carl.userId]: 50 });
  // Else moderators could make themselves creators by replacing the room once more.
  assert.equal(levels.events['m.room.tombstone'], 150);

  // They are not taken along by themselves.
  const again = await upgrade(ann, privileged, '12');
  assert.equal((await stateOf(ann, again, 'm.room.create')).additional_creators, undefined);

  // Where there are no such creators, those of the old room are listed as high as anybody.
  const back = await upgrade(ann, privileged, '11', { additional_creators: [carl.userId] });
  assert.equal((await stateOf(ann, back, 'm.room.create')).additional_creators, undefined);
  assert.deepEqual((await levelsOf(ann, back)).users, { [ann.userId]: 150, [bob.userId]: 150, [carl.userId]: 50 });

  expectError(await tryUpgrade(ann, again, '12', { additional_creators: ['bob'] }), 400, 'M_BAD_JSON');
});

test('a join rule that the new version does not know becomes one it does', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const allow = [{ type: 'm.room_membership', room_id: '!club:hearth.test' }];
  const old = await ann.createRoom({
    room_version: '10',
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock_restricted', allow } }],
  });
  const ruleIn = async (version: string): Promise<Json> =>
    stateOf(ann, await upgrade(ann, old, version), 'm.room.join_rules');
  assert.deepEqual(await ruleIn('11'), { join_rule: 'knock_restricted', allow });
  assert.deepEqual(await ruleIn('8'), { join_rule: 'restricted', allow });
  assert.deepEqual(await ruleIn('7'), { join_rule: 'invite' });
});

test('what an old room could say and a new one cannot does not keep it from being replaced', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const old = await ann.createRoom({ room_version: '5' });
  const info = { w: 12.5, sizes: [1e20, { h: -0.5 }] };
  await ann.setState(old, 'm.room.avatar', { url: 'mxc://hearth.test/soup', info });
  const levels = await levelsOf(ann, old);
  const replacement = await upgrade(ann, old, '11');
  assert.deepEqual(await stateOf(ann, replacement, 'm.room.avatar'), {
    url: 'mxc://hearth.test/soup',
    info: { w: 12, sizes: [Number.MAX_SAFE_INTEGER, { h: 0 }] },
  });
  assert.deepEqual(await levelsOf(ann, replacement), levels);
});

test('aliases and the place in the directory move to the new room', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const old = await ann.createRoom({ room_version: '11', visibility: 'public', room_alias_name: 'kitchen' });
  const path = (alias: string): string => `/_matrix/client/v3/directory/room/${encodeURIComponent(alias)}`;
  expectOk(await ann.put(path('#pantry:hearth.test'), { room_id: old }));
  await ann.setState(old, 'm.room.canonical_alias', {
    alias: '#kitchen:hearth.test',
    alt_aliases: ['#pantry:hearth.test'],
  });
  const replacement = await upgrade(ann, old, '12');
  for (const alias of ['#kitchen:hearth.test', '#pantry:hearth.test']) {
    assert.equal(expectOk(await bob.get(path(alias))).room_id, replacement);
  }
  assert.deepEqual(await stateOf(ann, old, 'm.room.canonical_alias'), {});
  assert.deepEqual(await stateOf(ann, replacement, 'm.room.canonical_alias'), {
    alias: '#kitchen:hearth.test',
    alt_aliases: ['#pantry:hearth.test'],
  });
  const list = expectOk(await bob.get('/_matrix/client/v3/publicRooms')).chunk;
  assert.deepEqual(
    list.map((entry: Json) => entry.room_id),
    [replacement],
  );
  assert.equal(await bob.join('#kitchen:hearth.test'), replacement);
});

test('an alias the room shows although it drifted away stays with the old room', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const old = await ann.createRoom({ room_version: '11', preset: 'public_chat', room_alias_name: 'kitchen' });
  await bob.join(old);
  const path = `/_matrix/client/v3/directory/room/${encodeURIComponent('#bobs:hearth.test')}`;
  expectOk(await bob.put(path, { room_id: old }));
  await ann.setState(old, 'm.room.canonical_alias', {
    alias: '#kitchen:hearth.test',
    alt_aliases: ['#bobs:hearth.test'],
  });
  expectOk(await bob.delete(path));
  const replacement = await upgrade(ann, old, '12');
  assert.deepEqual(await stateOf(ann, old, 'm.room.canonical_alias'), { alt_aliases: ['#bobs:hearth.test'] });
  assert.deepEqual(await stateOf(ann, replacement, 'm.room.canonical_alias'), { alias: '#kitchen:hearth.test' });
});

test('tags, direct chats and push rules come over with each who joins the new room', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const old = await ann.createRoom({ room_version: '11', preset: 'public_chat' });
  await bob.join(old);
  const account = (who: TestClient, path: string): string => `/_matrix/client/v3/user/${who.userId}/${path}`;
  const tagsOf = async (who: TestClient, roomId: string): Promise<Json> =>
    expectOk(await who.get(account(who, `rooms/${encodeURIComponent(roomId)}/tags`))).tags;
  const direct = account(bob, 'account_data/m.direct');
  for (const who of [ann, bob]) {
    expectOk(await who.put(account(who, `rooms/${encodeURIComponent(old)}/tags/m.favourite`), { order: 0.5 }));
  }
  const rule = (roomId: string): string => `/_matrix/client/v3/pushrules/global/room/${encodeURIComponent(roomId)}`;
  expectOk(await bob.put(rule(old), { actions: [] }));
  expectOk(await bob.put(direct, { [ann.userId]: ['!other:hearth.test', old], '@carl:x': ['!c:hearth.test'] }));

  const replacement = await upgrade(ann, old, '12');
  assert.deepEqual(await tagsOf(ann, replacement), { 'm.favourite': { order: 0.5 } });
  assert.deepEqual(await tagsOf(bob, replacement), {});
  await bob.join(replacement);
  assert.deepEqual(await tagsOf(bob, replacement), { 'm.favourite': { order: 0.5 } });
  const chats = { [ann.userId]: ['!other:hearth.test', old, replacement], '@carl:x': ['!c:hearth.test'] };
  assert.deepEqual(expectOk(await bob.get(direct)), chats);

  assert.deepEqual(expectOk(await bob.get(rule(replacement))).actions, []);
  expectError(await ann.get(rule(replacement)), 404, 'M_NOT_FOUND');

  // Coming back later changes nothing.
  await bob.leave(replacement);
  await bob.join(replacement);
  assert.deepEqual(expectOk(await bob.get(direct)), chats);
});

test('a room that only claims to replace another gets nothing of it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const eve = await server.register('eve');
  const kitchen = await ann.createRoom({ preset: 'public_chat', visibility: 'public', room_alias_name: 'kitchen' });
  const tags = (roomId: string): string =>
    `/_matrix/client/v3/user/${ann.userId}/rooms/${encodeURIComponent(roomId)}/tags`;
  expectOk(await ann.put(`${tags(kitchen)}/m.favourite`, {}));
  const trap = await eve.createRoom({
    preset: 'public_chat',
    creation_content: { predecessor: { room_id: kitchen, event_id: '$x' } },
  });
  await ann.join(trap);
  assert.deepEqual(expectOk(await ann.get(tags(trap))).tags, {});
  const alias = expectOk(
    await ann.get(`/_matrix/client/v3/directory/room/${encodeURIComponent('#kitchen:hearth.test')}`),
  );
  assert.equal(alias.room_id, kitchen);
});

test('nobody replaces a room who may not close it', async () => {
  await using server = await TestServer.start({
    config: { allow_guest_access: true, rc_room_creation: { per_second: 0.001, burst_count: 2 } },
  });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const guest = await server.guest();
  const old = await ann.createRoom({ preset: 'public_chat' });
  expectError(await tryUpgrade(bob, old, '12'), 403, 'M_FORBIDDEN');
  await bob.join(old);
  expectError(await tryUpgrade(bob, old, '12'), 403, 'M_FORBIDDEN');
  expectError(await tryUpgrade(guest, old, '12'), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectError(await tryUpgrade(ann, old, 'newest'), 400, 'M_UNSUPPORTED_ROOM_VERSION');
  expectError(await tryUpgrade(ann, '!none:hearth.test', '12'), 404, 'M_NOT_FOUND');
  expectError(await ann.post(room(old, 'upgrade'), {}), 400, 'M_BAD_JSON');
  assert.ok(!(await hasState(ann, old, 'm.room.tombstone')));
  await upgrade(ann, old, '12');
  expectError(await tryUpgrade(ann, old, '12'), 429, 'M_LIMIT_EXCEEDED');
});

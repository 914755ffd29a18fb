import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type TestClient } from '../kit/test-client.ts';
import { inRoom, join, leave, roomsHouse } from './room-events-harness.ts';

const text = (body: string): object => ({ msgtype: 'm.text', body });

/** Alice's room with Bob in it. */
async function aliceAndBob(
  house: Awaited<ReturnType<typeof roomsHouse>>,
  options: object = {},
): Promise<{ alice: TestClient; bob: TestClient; roomId: string }> {
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom(options);
  await join(bob, roomId);
  return { alice, bob, roomId };
}

test('a message that is sent again with the same transaction is there once', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const send = (client: TestClient, room: string, id: string): Promise<unknown> =>
    client.put(inRoom(room, 'send', 'm.room.message', id), text('hello')).then((answer) => expectOk(answer).event_id);

  const first = await send(alice, roomId, 'a/b');
  assert.equal(await send(alice, roomId, 'a/b'), first);
  assert.notEqual(await send(alice, roomId, 'c'), first, 'another transaction is another message');
  assert.notEqual(await send(bob, roomId, 'a/b'), first, 'so is that of another device');
  assert.notEqual(await send(house.person('alice', { device: 'TABLET' }), roomId, 'a/b'), first);
  const other = await alice.createRoom();
  assert.notEqual(await send(alice, other, 'a/b'), first, 'and that to another room');

  const { chunk } = expectOk(await alice.get(inRoom(roomId, 'messages'), { dir: 'b', limit: 50 }));
  const messages = chunk.filter((event: { type: string }) => event.type === 'm.room.message');
  assert.equal(messages.length, 4);
  const own = messages.find((event: { event_id: string }) => event.event_id === first);
  assert.equal(own.unsigned.transaction_id, 'a/b');
});

test('only members may send, and strangers learn nothing about a room', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const carol = house.person('carol');
  expectError(await carol.put(inRoom(roomId, 'send', 'm.room.message', '1'), text('hi')), 403, 'M_FORBIDDEN');
  expectError(await carol.put(inRoom('!nowhere:hearth.test', 'send', 'm.x', '1'), {}), 403, 'M_FORBIDDEN');
  expectError(await carol.put(inRoom(roomId, 'state', 'm.room.name'), { name: 'mine' }), 403, 'M_FORBIDDEN');
  expectError(await bob.put(inRoom(roomId, 'state', 'm.room.name'), { name: 'mine' }), 403, 'M_FORBIDDEN');
  await leave(bob, roomId);
  expectError(await bob.put(inRoom(roomId, 'send', 'm.room.message', '1'), text('hi')), 403, 'M_FORBIDDEN');
  expectError(await alice.put(inRoom('nonsense', 'send', 'm.x', '1'), {}), 400, 'M_INVALID_PARAM');
});

test('messages without what every client needs of them are refused', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  let sent = 0;
  const send = (content: unknown, type = 'm.room.message') =>
    alice.put(inRoom(roomId, 'send', type, `t${(sent += 1)}`), content);
  expectError(await send({ body: 'no kind' }), 400, 'M_BAD_JSON');
  expectError(await send({ msgtype: 'm.text', body: 7 }), 400, 'M_BAD_JSON');
  expectError(await send('{"msgtype":'), 400, 'M_NOT_JSON');
  expectError(await send('[]'), 400, 'M_BAD_JSON');
  expectError(await send({ ...text('a'), 'm.mentions': { user_ids: '@bob:hearth.test' } }), 400, 'M_BAD_JSON');
  expectError(await send({ ...text('a'), 'm.mentions': { room: 'yes' } }), 400, 'M_BAD_JSON');
  expectError(await send({ ...text('a'), 'm.mentions': [] }), 400, 'M_BAD_JSON');
  expectError(await send(text('x'.repeat(66_000))), 413, 'M_TOO_LARGE');
  expectError(await send({}, 'x'.repeat(256)), 400, 'M_INVALID_PARAM');
  expectError(await send({ share: 0.5 }, 'm.example'), 400, 'M_BAD_JSON');
  expectOk(await send({}, 'm.example'));
  expectOk(await send({ ...text('a'), 'm.mentions': { user_ids: ['@bob:hearth.test'], room: false } }));
  expectError(await send({ name: 'Attic' }, 'm.room.name'), 400, 'M_BAD_JSON');
  // A member event that is no state is none.
  expectError(await send({ membership: 'join' }, 'm.room.member'), 403, 'M_FORBIDDEN');
});

test('an application service may say when something happened, a user may not', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  const bridge = house.person('bridge', { appserviceId: 'irc', device: null });
  await join(bridge, roomId);
  const path = (id: string): string => inRoom(roomId, 'send', 'm.room.message', id);
  const when = async (client: TestClient, id: string): Promise<number> => {
    const { event_id: eventId } = expectOk(await client.put(path(id), text('past'), { ts: 1_000_000 }));
    return expectOk(await alice.get(inRoom(roomId, 'event', eventId))).origin_server_ts;
  };
  assert.equal(await when(bridge, 'one'), 1_000_000);
  assert.equal(await when(alice, 'one'), house.clock.now());
  const again = await Promise.all([0, 1].map(() => bridge.put(path('two'), text('twice'))));
  assert.equal(again[0]?.body.event_id, again[1]?.body.event_id, 'transactions hold without a device too');
  const member = { membership: 'join', displayname: 'Bridge' };
  const state = expectOk(
    await bridge.put(inRoom(roomId, 'state', 'm.room.member', bridge.userId), member, { ts: 2_000_000 }),
  );
  assert.equal(expectOk(await alice.get(inRoom(roomId, 'event', state.event_id))).origin_server_ts, 2_000_000);
});

test('state is set with and without a key, and setting it again changes nothing', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const named = expectOk(await alice.put(inRoom(roomId, 'state', 'm.room.name'), { name: 'Attic' })).event_id;
  assert.equal(
    expectOk(await alice.put(`${inRoom(roomId, 'state', 'm.room.name')}/`, { name: 'Attic' })).event_id,
    named,
  );
  const keyed = await alice.setState(roomId, 'org.example', { n: 1 }, 'a/b ü');
  assert.notEqual(keyed, await alice.setState(roomId, 'org.example', { n: 2 }));

  const read = (...path: string[]) => bob.get(inRoom(roomId, 'state', ...path));
  assert.deepEqual(expectOk(await read('m.room.name')), { name: 'Attic' });
  assert.deepEqual(expectOk(await bob.get(`${inRoom(roomId, 'state', 'm.room.name')}/`)), { name: 'Attic' });
  assert.deepEqual(expectOk(await read('org.example', 'a/b ü')), { n: 1 });
  assert.deepEqual(expectOk(await read('org.example')), { n: 2 });
  expectError(await read('org.example', 'other'), 404, 'M_NOT_FOUND');
  const event = expectOk(await bob.get(inRoom(roomId, 'state', 'm.room.name'), { format: 'event' }));
  assert.deepEqual(
    [event.event_id, event.sender, event.room_id, event.state_key, event.content],
    [named, alice.userId, roomId, '', { name: 'Attic' }],
  );
  expectError(await bob.get(inRoom(roomId, 'state', 'm.room.name'), { format: 'pdu' }), 400, 'M_INVALID_PARAM');
  expectError(await alice.post(inRoom(roomId, 'state', 'm.room.name'), {}), 405, 'M_UNRECOGNIZED');
  const all: { type: string; state_key: string }[] = expectOk(await bob.get(inRoom(roomId, 'state')));
  assert.deepEqual(all.map(({ type, state_key: key }) => `${type} ${key}`).sort(), [
    'm.room.create ',
    'm.room.join_rules ',
    `m.room.member ${alice.userId}`,
    `m.room.member ${bob.userId}`,
    'm.room.name ',
    'm.room.power_levels ',
    'org.example ',
    'org.example a/b ü',
  ]);
});

test('state that would break a room is refused before the room hears of it', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const set = (type: string, content: unknown, key = '') => alice.put(inRoom(roomId, 'state', type, key), content);
  const levels = { users: { [alice.userId]: 100 } };
  for (const bad of [
    { ...levels, ban: '50' },
    { ...levels, users_default: 1.5 },
    { ...levels, events: { 'm.room.name': '50' } },
    { users: { [alice.userId]: 100, [bob.userId]: '7' } },
    { ...levels, notifications: [] },
  ]) {
    expectError(await set('m.room.power_levels', bad), 400, 'M_BAD_JSON');
  }
  expectOk(await set('m.room.power_levels', { ...levels, events: { 'm.room.topic': 0 } }));

  expectError(await set('m.room.server_acl', { allow: ['*'], deny: ['*.TEST'] }), 400, 'M_BAD_JSON');
  expectError(await set('m.room.server_acl', { deny: [] }), 400, 'M_BAD_JSON');
  expectError(await set('m.room.server_acl', { allow: '*' }), 400, 'M_BAD_JSON');
  expectOk(await set('m.room.server_acl', { allow: ['*'], allow_ip_literals: 'false' }));
  expectOk(await set('m.room.server_acl', { allow: ['h?arth.*'], deny: ['evil.test'], allow_ip_literals: false }));

  expectError(await set('m.room.encryption', {}), 400, 'M_BAD_JSON');
  expectError(await set('m.room.name', { name: 5 }), 400, 'M_BAD_JSON');
  expectOk(await set('m.room.name', {}));
  expectError(await set('m.room.tombstone', { body: 'moved' }), 400, 'M_BAD_JSON');
  expectError(await set('m.room.tombstone', { replacement_room: roomId }), 400, 'M_BAD_JSON');
  expectError(await set('m.room.create', {}), 403, 'M_FORBIDDEN');
  expectError(await set('m.room.redaction', { redacts: '$x' }), 400, 'M_BAD_JSON');
  expectError(await set('m.room.canonical_alias', { alias: '#elsewhere:hearth.test' }), 400, 'M_BAD_ALIAS');
  expectOk(await set('m.room.canonical_alias', { alias: '#here:hearth.test' }));
  expectError(await set('org.example', {}, 'x'.repeat(256)), 400, 'M_INVALID_PARAM');
});

test('a member may have another name in one room', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  await join(bob, roomId, 'Bobby');
  const content = expectOk(await alice.get(inRoom(roomId, 'state', 'm.room.member', bob.userId)));
  assert.deepEqual(content, { membership: 'join', displayname: 'Bobby' });
});

test('a suspended user may take back their own words, leave, and write to those who run the server', async (t) => {
  let noticesRoom = '';
  const house = await roomsHouse(t, { isServerNoticesRoom: (_userId, roomId) => roomId === noticesRoom });
  const { alice, bob, roomId } = await aliceAndBob(house);
  const [hers, his] = [await alice.send(roomId, 'hers'), await bob.send(roomId, 'his')];
  const suspended = house.person('bob', { isSuspended: true });
  const send = (room: string) => suspended.put(inRoom(room, 'send', 'm.room.message', 'm'), text('more'));
  expectError(await send(roomId), 403, 'M_USER_SUSPENDED');
  expectError(await suspended.put(inRoom(roomId, 'state', 'org.example'), {}), 403, 'M_USER_SUSPENDED');
  expectError(await suspended.put(inRoom(roomId, 'redact', hers, '1'), {}), 403, 'M_USER_SUSPENDED');
  expectError(
    await suspended.put(inRoom(roomId, 'send', 'm.room.redaction', '2'), { redacts: hers }),
    403,
    'M_USER_SUSPENDED',
  );
  expectOk(await suspended.put(inRoom(roomId, 'redact', his, '3'), {}));
  noticesRoom = await alice.createRoom();
  await join(bob, noticesRoom);
  expectOk(await send(noticesRoom));
  expectOk(await suspended.get(inRoom(roomId, 'messages'), { dir: 'b' }));
});

test('whoever sends too fast is told how long to wait', async (t) => {
  const house = await roomsHouse(t, { messageBurst: 2, adminRedactionBurst: 1 });
  const { alice, bob, roomId } = await aliceAndBob(house);
  const [first, second] = [await bob.send(roomId, 'one'), await bob.send(roomId, 'two')];
  const refused = expectError(
    await bob.put(inRoom(roomId, 'send', 'm.room.message', 'x'), text('three')),
    429,
    'M_LIMIT_EXCEEDED',
  );
  assert.equal(refused.retry_after_ms, 1_000);
  expectOk(await house.person('bob', { rateLimited: false }).put(inRoom(roomId, 'send', 'm.x', 'y'), {}));
  // Tidying up after others is counted apart.
  expectOk(await alice.put(inRoom(roomId, 'redact', first, '1'), {}));
  expectError(await alice.put(inRoom(roomId, 'redact', second, '2'), {}), 429, 'M_LIMIT_EXCEEDED');
  await alice.send(roomId, 'still here');
  await house.clock.advance(1_000);
  await bob.send(roomId, 'three');
});

test('guests may send and set what members may', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  const guest = house.person('guest', { isGuest: true });
  await join(guest, roomId);
  await guest.send(roomId, 'hello from outside');
  const said = await alice.send(roomId, 'hello');
  expectError(await guest.put(inRoom(roomId, 'redact', said, '1'), {}), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectOk(await guest.get(inRoom(roomId, 'state')));
  expectOk(await guest.get(inRoom(roomId, 'members')));
});

test('a message may be sent without a transaction, as old clients do', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  const path = inRoom(roomId, 'send', 'm.room.message');
  const [one, two] = [expectOk(await alice.post(path, text('a'))), expectOk(await alice.post(path, text('a')))];
  assert.notEqual(one.event_id, two.event_id);
});

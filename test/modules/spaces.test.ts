import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { idsOf, joinRule, link, newRoom, newSpace, roomsOf, walk } from './spaces-kit.ts';

test('a space shows what it is, its children, and theirs, before the next of its own', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const house = await newSpace(ann, { name: 'House', topic: 'Ours' });
  const upstairs = await newSpace(ann, { name: 'Upstairs' });
  const [bath, kitchen] = [await newRoom(ann, { name: 'Bath' }), await newRoom(ann, { name: 'Kitchen' })];
  await link(ann, house, upstairs, { suggested: true });
  await link(ann, house, kitchen);
  await link(ann, upstairs, bath);

  const { rooms, ...rest } = expectOk(await walk(ann, house));
  assert.deepEqual(rest, {});
  assert.deepEqual(idsOf({ rooms }), [house, upstairs, bath, kitchen]);
  const { children_state: links, ...summary } = rooms[0];
  assert.deepEqual(summary, {
    room_id: house,
    name: 'House',
    topic: 'Ours',
    room_type: 'm.space',
    num_joined_members: 1,
    join_rule: 'public',
    world_readable: false,
    guest_can_join: false,
    room_version: summary.room_version,
  });
  assert.deepEqual(
    links.map(({ origin_server_ts: ts, ...event }: { origin_server_ts: unknown }) => [typeof ts, event]),
    [
      [
        'number',
        {
          type: 'm.space.child',
          state_key: upstairs,
          sender: ann.userId,
          content: { via: ['hearth.test'], suggested: true },
        },
      ],
      ['number', { type: 'm.space.child', state_key: kitchen, sender: ann.userId, content: { via: ['hearth.test'] } }],
    ],
  );
  assert.deepEqual(rooms[3].children_state, []);
});

test('children come by their order, then by when they were added, and those with a wrong order as if they had none', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const ann = await server.register('ann');
  const space = await newSpace(ann);
  const orders: unknown[] = [undefined, 'first', 'aaaa', ' ', '', 'x'.repeat(51), 7, 'é', 'first'];
  const children: string[] = [];
  for (const order of orders) {
    const room = await newRoom(ann);
    children.push(room);
    await link(ann, space, room, order === undefined ? {} : { order });
    await clock.advance(10);
  }
  const expected = [3, 2, 1, 8, 0, 4, 5, 6, 7].map((n) => children[n]);
  assert.deepEqual(await roomsOf(ann, space), [space, ...expected]);
});

test('a child without a usable via is none', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const space = await newSpace(ann);
  const good = await newRoom(ann);
  await link(ann, space, good);
  for (const content of [{}, { via: 'hearth.test' }, { via: [] }, { via: ['hearth.test', 7] }]) {
    await ann.setState(space, 'm.space.child', content, await newRoom(ann));
  }
  await ann.setState(space, 'm.space.child', { via: ['hearth.test'] }, 'no room');
  const [first] = expectOk(await walk(ann, space)).rooms;
  assert.deepEqual(await roomsOf(ann, space), [space, good]);
  assert.equal(first.children_state.length, 1);
  await ann.setState(space, 'm.space.child', {}, good);
  assert.deepEqual(await roomsOf(ann, space), [space]);
});

test('what is said in a room that is no space makes no children', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const [room, other] = [await newRoom(ann), await newRoom(ann)];
  await link(ann, room, other);
  const page = expectOk(await walk(ann, room));
  assert.deepEqual(idsOf(page), [room]);
  assert.deepEqual(page.rooms[0].children_state, []);
});

test('spaces that hold one another, or themselves, end, and a room with two parents comes once', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const [a, b, c] = [await newSpace(ann), await newSpace(ann), await newRoom(ann)];
  await link(ann, a, a, { order: '0' });
  await link(ann, a, b, { order: '1' });
  await link(ann, a, c, { order: '2' });
  await link(ann, b, a);
  await link(ann, b, c);
  assert.deepEqual(await roomsOf(ann, a), [a, b, c]);
  assert.deepEqual(await roomsOf(ann, b), [b, a, c]);
});

test('one may ask for suggested children only, and not to go too deep', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const [top, middle, low, other] = [await newSpace(ann), await newSpace(ann), await newRoom(ann), await newRoom(ann)];
  await link(ann, top, middle, { suggested: true, order: '1' });
  await link(ann, top, other, { order: '2', suggested: 'yes' });
  await link(ann, middle, low, { suggested: true });
  assert.deepEqual(await roomsOf(ann, top, { suggested_only: true }), [top, middle, low]);
  const [first] = expectOk(await walk(ann, top, { suggested_only: true })).rooms;
  assert.equal(first.children_state.length, 1);
  assert.deepEqual(await roomsOf(ann, top, { max_depth: 0 }), [top]);
  assert.deepEqual(await roomsOf(ann, top, { max_depth: 1 }), [top, middle, other]);
  assert.deepEqual(await roomsOf(ann, top, { max_depth: 2 }), [top, middle, low, other]);
  for (const query of [{ limit: 0 }, { limit: -1 }, { max_depth: -1 }, { max_depth: 'x' }, { suggested_only: 'x' }]) {
    expectError(await walk(ann, top, query), 400, 'M_INVALID_PARAM');
  }
});

test('everybody is shown the rooms they are in or may come into, and no others', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const world = { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'world_readable' } };
  const space = await newSpace(ann);
  const family = await newRoom(ann, { preset: 'private_chat' });
  const rooms = {
    public: await newRoom(ann),
    family,
    restricted: await ann.createRoom({ initial_state: [joinRule('restricted', [family])] }),
    world: await ann.createRoom({ initial_state: [world] }),
    knock: await ann.createRoom({ initial_state: [joinRule('knock')] }),
    oldKnock: await ann.createRoom({ initial_state: [joinRule('knock')], room_version: '6' }),
    invited: await newRoom(ann, { preset: 'private_chat' }),
  };
  for (const [order, room] of Object.values(rooms).entries()) await link(ann, space, room, { order: `${order}` });

  const open = [space, rooms.public, rooms.world, rooms.knock];
  assert.deepEqual(await roomsOf(ann, space), [space, ...Object.values(rooms)]);
  assert.deepEqual(await roomsOf(bob, space), open);
  assert.deepEqual(await roomsOf(await server.guest(), space), open);
  await ann.invite(rooms.invited, bob.userId);
  await ann.invite(family, bob.userId);
  assert.deepEqual(await roomsOf(bob, space), [space, rooms.public, family, rooms.world, rooms.knock, rooms.invited]);
  await bob.join(family);
  const page = expectOk(await walk(bob, space));
  assert.equal(idsOf(page)[3], rooms.restricted);
  assert.deepEqual(page.rooms[3].allowed_room_ids, [family]);

  await ann.setState(rooms.public, 'm.room.member', { membership: 'ban' }, bob.userId);
  await ann.setState(rooms.world, 'm.room.member', { membership: 'ban' }, bob.userId);
  const left = idsOf(expectOk(await walk(bob, space)));
  assert.ok(!left.includes(rooms.public), 'who was banned cannot come in');
  assert.ok(left.includes(rooms.world), 'but may read what everybody may');
});

test('a space that is not for somebody is refused, like one that is not there', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const space = await newSpace(ann, { preset: 'private_chat' });
  expectError(await walk(bob, space), 403, 'M_FORBIDDEN');
  expectError(await walk(bob, '!nowhere:hearth.test'), 403, 'M_FORBIDDEN');
  expectError(await walk(bob, 'nothing'), 400, 'M_INVALID_PARAM');
  expectError(await walk(server.anonymous(), space), 401, 'M_MISSING_TOKEN');
  const open = await newSpace(ann);
  await ann.setState(open, 'm.room.member', { membership: 'ban' }, bob.userId);
  expectError(await walk(bob, open), 403, 'M_FORBIDDEN');
});

test('pages follow one another, for their user and with the same wishes, as often as they are asked for', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const space = await newSpace(ann);
  const inner = await newSpace(ann);
  const expected = [space, inner];
  await link(ann, space, inner, { order: '0' });
  for (const [parent, order] of [
    [inner, '1'],
    [inner, '2'],
    [space, '3'],
    [space, '4'],
  ] as const) {
    const room = await newRoom(ann);
    await link(ann, parent, room, { order });
    expected.push(room);
  }

  const first = expectOk(await walk(ann, space, { limit: 4 }));
  assert.deepEqual(idsOf(first), expected.slice(0, 4));
  const from: string = first.next_batch;
  assert.equal(typeof from, 'string');
  for (const query of [{ suggested_only: true }, { max_depth: 3 }]) {
    expectError(await walk(ann, space, { from, ...query }), 400, 'M_INVALID_PARAM');
  }
  expectError(await walk(bob, space, { from }), 400, 'M_INVALID_PARAM');
  expectError(await walk(ann, inner, { from }), 400, 'M_INVALID_PARAM');
  expectError(await walk(ann, space, { from: 'never' }), 400, 'M_INVALID_PARAM');

  const second = expectOk(await walk(ann, space, { from, limit: 1 }));
  assert.deepEqual(idsOf(second), expected.slice(4, 5));
  // The answer may have been lost on its way; and the server may be another process by then.
  await server.restart();
  assert.deepEqual(idsOf(expectOk(await walk(ann, space, { from, limit: 1 }))), expected.slice(4, 5));
  assert.deepEqual(await roomsOf(ann, space, { from: second.next_batch }), expected.slice(5));

  await clock.advance(11 * 60_000);
  expectError(await walk(ann, space, { from }), 400, 'M_INVALID_PARAM');
});

test('the walks that a user leaves unfinished are forgotten, the oldest first', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const space = await newSpace(ann);
  await link(ann, space, await newRoom(ann));
  const tokens: string[] = [];
  for (let n = 0; n < 22; n += 1) tokens.push(expectOk(await walk(ann, space, { limit: 1 })).next_batch);
  expectError(await walk(ann, space, { from: tokens[1] }), 400, 'M_INVALID_PARAM');
  expectOk(await walk(ann, space, { from: tokens[2] }));
});

test('whoever asks too often has to wait', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const ann = await server.register('ann');
  const space = await newSpace(ann);
  for (let n = 0; n < 50; n += 1) expectOk(await walk(ann, space));
  expectError(await walk(ann, space), 429, 'M_LIMIT_EXCEEDED');
  await clock.advance(1_000);
  expectOk(await walk(ann, space));
});

test('a space of hundreds of rooms comes whole in pages of fifty', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const initial = [];
  // Rooms nobody knows: they are passed over at once, for nobody is named who could be asked.
  for (let n = 0; n < 300; n += 1) {
    initial.push({ type: 'm.space.child', state_key: `!nobody${n}:hearth.test`, content: { via: ['hearth.test'] } });
  }
  const space = await newSpace(ann, { initial_state: initial });
  const expected = [];
  for (let n = 0; n < 60; n += 1) {
    const room = await newRoom(ann);
    expected.push(room);
    await link(ann, space, room, { order: String(n).padStart(3, '0') });
  }
  const found: string[] = [];
  let from: string | undefined;
  let pages = 0;
  do {
    const page = expectOk(await walk(ann, space, { limit: 500, from }));
    assert.ok(page.rooms.length <= 50);
    found.push(...idsOf(page));
    from = page.next_batch;
    pages += 1;
  } while (from !== undefined && pages < 20);
  assert.equal(from, undefined);
  assert.deepEqual(found, [space, ...expected]);
});

test('a link with more in it than anybody needs is shown cut down to what counts', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const space = await newSpace(ann);
  const [short, long] = [await newRoom(ann), await newRoom(ann)];
  await link(ann, space, short, { 'test.colour': 'green', order: '1' });
  await link(ann, space, long, { 'test.colour': 'x'.repeat(5_000), order: '2', suggested: true });
  const [{ children_state: links }] = expectOk(await walk(ann, space)).rooms;
  assert.deepEqual(
    links.map(({ content }: { content: unknown }) => content),
    [
      { via: ['hearth.test'], 'test.colour': 'green', order: '1' },
      { via: ['hearth.test'], order: '2', suggested: true },
    ],
  );
});

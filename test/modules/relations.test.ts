import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { edit, idsOf, inRoom, inRoomV1, join, reaction, relating, reply, roomsHouse } from './room-events-harness.ts';

type House = Awaited<ReturnType<typeof roomsHouse>>;

async function aliceAndBob(
  house: House,
  options: Json = {},
): Promise<{ alice: TestClient; bob: TestClient; roomId: string }> {
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom(options);
  await join(bob, roomId);
  return { alice, bob, roomId };
}

async function bundleOf(client: TestClient, roomId: string, eventId: string): Promise<Json> {
  return expectOk(await client.get(inRoom(roomId, 'event', eventId))).unsigned['m.relations'];
}

async function redact(client: TestClient, roomId: string, eventId: string): Promise<void> {
  expectOk(await client.put(inRoom(roomId, 'redact', eventId, `redact ${eventId}`), {}));
}

async function ignore(client: TestClient, ...users: TestClient[]): Promise<void> {
  const ignored = Object.fromEntries(users.map((user) => [user.userId, {}]));
  expectOk(
    await client.put(`/_matrix/client/v3/user/${client.userId}/account_data/m.ignored_user_list`, {
      ignored_users: ignored,
    }),
  );
}

test('an edited message brings its latest edit along wherever it is read', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const said = await alice.send(roomId, 'helo');
  await alice.send(roomId, edit(said, 'helló'));
  house.clock.setWallClock(house.clock.now() + 1);
  const latest = await alice.send(roomId, edit(said, 'hello'));

  const shown: Json[] = [
    expectOk(await bob.get(inRoom(roomId, 'event', said))),
    expectOk(await bob.get(inRoom(roomId, 'context', said))).event,
    expectOk(await bob.get(inRoom(roomId, 'messages'), { dir: 'b' })).chunk.find((one: Json) => one.event_id === said),
    (await bob.sync()).rooms.join[roomId].timeline.events.find((one: Json) => one.event_id === said),
  ];
  for (const [place, event] of shown.entries()) {
    assert.equal(event.content.body, 'helo', 'the original stays as it is');
    const bundled = event.unsigned['m.relations']['m.replace'];
    assert.equal(bundled.event_id, latest, `place ${place}`);
    assert.equal(bundled.content['m.new_content'].body, 'hello');
    assert.deepEqual([bundled.type, bundled.sender], ['m.room.message', alice.userId]);
  }
});

test('of edits made at the same time the one with the larger ID counts', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  const said = await alice.send(roomId, 'a');
  const edits: string[] = [];
  for (let n = 0; n < 4; n += 1) edits.push(await alice.send(roomId, edit(said, `${n}`)));
  const bundle = await bundleOf(alice, roomId, said);
  assert.equal(bundle['m.replace'].event_id, edits.sort().at(-1));
});

test('edits that break the rules are not bundled', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const said = await alice.send(roomId, 'mine');
  await bob.send(roomId, edit(said, 'forged'));
  await alice.send(roomId, edit(said, 'of another type'), 'm.sticker');
  await alice.send(roomId, relating('m.replace', said, { msgtype: 'm.text', body: 'nothing new' }));
  await alice.setState(roomId, 'm.room.message', edit(said, 'as state'));
  assert.equal(await bundleOf(alice, roomId, said), undefined);
  const good = await alice.send(roomId, edit(said, 'good'));
  assert.equal((await bundleOf(alice, roomId, said))['m.replace'].event_id, good);
  await alice.send(roomId, edit(good, 'an edit of an edit'));
  assert.equal(await bundleOf(alice, roomId, good), undefined);
  // State has no bundles.
  const state = await alice.setState(roomId, 'm.room.name', { name: 'Attic' });
  await alice.send(roomId, relating('m.reference', state), 'org.example');
  assert.equal(await bundleOf(alice, roomId, state), undefined);
  // The new content of an encrypted event is for clients to see.
  const secret = await alice.send(roomId, { algorithm: 'x', ciphertext: 'y' }, 'm.room.encrypted');
  const secretEdit = await alice.send(
    roomId,
    relating('m.replace', secret, { algorithm: 'x', ciphertext: 'z' }),
    'm.room.encrypted',
  );
  assert.equal((await bundleOf(bob, roomId, secret))['m.replace'].event_id, secretEdit);
});

test('a redacted edit gives way to the one before, a redacted message shows none', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  const said = await alice.send(roomId, 'a');
  const first = await alice.send(roomId, edit(said, 'b'));
  house.clock.setWallClock(house.clock.now() + 1);
  const second = await alice.send(roomId, edit(said, 'c'));
  await redact(alice, roomId, second);
  assert.equal((await bundleOf(alice, roomId, said))['m.replace'].event_id, first);
  const reference = await alice.send(roomId, relating('m.reference', said), 'org.example');
  await redact(alice, roomId, said);
  const bundle = await bundleOf(alice, roomId, said);
  assert.deepEqual(bundle, { 'm.reference': { chunk: [{ event_id: reference }] } });
  const { chunk } = expectOk(await alice.get(inRoomV1(roomId, 'relations', said)));
  assert.deepEqual(idsOf(chunk), [reference, first], 'what related to it stays');
});

test('references are listed, reactions are left for clients to count', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const said = await alice.send(roomId, 'a poll');
  const votes = [
    await alice.send(roomId, relating('m.reference', said), 'm.poll.response'),
    await bob.send(roomId, relating('m.reference', said), 'm.poll.response'),
  ];
  await bob.send(roomId, reaction(said, '👍'), 'm.reaction');
  assert.deepEqual(await bundleOf(alice, roomId, said), {
    'm.reference': { chunk: votes.map((eventId) => ({ event_id: eventId })) },
  });
  await ignore(alice, bob);
  assert.deepEqual(await bundleOf(alice, roomId, said), { 'm.reference': { chunk: [{ event_id: votes[0] }] } });
});

test('the same reaction is refused a second time, until the first is taken back', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const said = await alice.send(roomId, 'cake!');
  let sent = 0;
  const react = (client: TestClient, key: string, type = 'm.reaction', id = `r${(sent += 1)}`) =>
    client.put(inRoom(roomId, 'send', type, id), reaction(said, key));
  const first = expectOk(await react(alice, '👍', 'm.reaction', 'same')).event_id;
  assert.equal(expectOk(await react(alice, '👍', 'm.reaction', 'same')).event_id, first, 'a retry is no second one');
  expectError(await react(alice, '👍'), 400, 'M_DUPLICATE_ANNOTATION');
  const { chunk } = expectOk(await bob.get(inRoomV1(roomId, 'relations', said)));
  assert.deepEqual(idsOf(chunk), [first], 'nothing of it remains');
  expectOk(await react(bob, '👍'));
  expectOk(await react(alice, '👎'));
  expectOk(await react(alice, '👍', 'org.example.reaction'));
  const both = await Promise.all([react(alice, '🎂'), react(alice, '🎂')]);
  assert.deepEqual(new Set(both.map((answer) => answer.status)), new Set([200, 400]));
  await redact(alice, roomId, first);
  expectOk(await react(alice, '👍'));
});

test('what cannot be related to is refused', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  const elsewhere = await alice.send(await alice.createRoom(), 'elsewhere');
  const said = await alice.send(roomId, 'here');
  const inThread = await alice.send(roomId, reply(said, 'in a thread'));
  let sent = 0;
  const send = (content: Json) => alice.put(inRoom(roomId, 'send', 'm.example', `t${(sent += 1)}`), content);
  expectError(await send(relating('m.reference', elsewhere)), 400, 'M_UNKNOWN');
  expectError(await send(relating('m.reference', '$nothing')), 400, 'M_UNKNOWN');
  expectError(await send(relating('m.annotation', said)), 400, 'M_BAD_JSON');
  expectError(await send(reaction(said, 'x'.repeat(501))), 400, 'M_BAD_JSON');
  expectError(await send(reply(inThread, 'a thread in a thread')), 400, 'M_UNKNOWN');
  // A rich reply is no relation, so a thread may begin there.
  const answer = await alice.send(roomId, {
    msgtype: 'm.text',
    body: 'yes',
    'm.relates_to': { 'm.in_reply_to': { event_id: said } },
  });
  expectOk(await send(reply(answer, 'a thread')));
  // What has not the form of a relation is not one.
  expectOk(await send({ 'm.relates_to': { rel_type: 5, event_id: said } }));
  expectOk(await send({ 'm.relates_to': 'you' }));
  assert.equal(expectOk(await alice.get(inRoomV1(roomId, 'relations', said))).chunk.length, 1);
});

test('what relates to an event is listed page by page, in either direction', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const said = await alice.send(roomId, 'root');
  const replies: string[] = [];
  for (let n = 0; n < 5; n += 1) {
    replies.push(await bob.send(roomId, reply(said, `${n}`)));
    await bob.send(roomId, reaction(said, `${n}`), 'm.reaction');
  }
  const list = async (path: string[] = [], query: Json = {}): Promise<Json> =>
    expectOk(await alice.get(inRoomV1(roomId, 'relations', said, ...path), query));
  assert.deepEqual(idsOf((await list(['m.thread'])).chunk), replies.toReversed());
  assert.deepEqual(idsOf((await list(['m.thread'], { dir: 'f' })).chunk), replies);
  assert.equal((await list(['m.annotation', 'm.reaction'])).chunk.length, 5);
  assert.deepEqual((await list(['m.annotation', 'm.room.message'])).chunk, []);
  assert.equal((await list()).chunk.length, 10);

  for (const [dir, expected] of [
    ['b', replies.toReversed()],
    ['f', replies],
  ] as const) {
    const seen: string[] = [];
    let page = await list(['m.thread'], { dir, limit: 2 });
    assert.equal(page.prev_batch, undefined);
    seen.push(...idsOf(page.chunk));
    while (page.next_batch !== undefined) {
      const from: string = page.next_batch;
      page = await list(['m.thread'], { dir, limit: 2, from });
      assert.equal(page.prev_batch, from);
      seen.push(...idsOf(page.chunk));
    }
    assert.deepEqual(seen, expected);
  }
  const { next_batch: to } = await list(['m.thread'], { limit: 2 });
  assert.deepEqual(idsOf((await list(['m.thread'], { to })).chunk), replies.slice(3).toReversed());
  const { next_batch: now } = await alice.sync();
  await bob.send(roomId, reply(said, 'later'));
  assert.deepEqual(idsOf((await list(['m.thread'], { from: now })).chunk), replies.toReversed());
  assert.equal((await list(['m.thread'], { from: now, dir: 'f' })).chunk.length, 1);

  const old = `/_matrix/client/unstable/rooms/${roomId}/relations/${encodeURIComponent(said)}/m.thread`;
  const answer = expectOk(await alice.get(old, { 'org.matrix.msc3715.dir': 'f', limit: 1 }));
  assert.deepEqual(idsOf(answer.chunk), replies.slice(0, 1));
  expectError(await alice.get(inRoomV1(roomId, 'relations', said), { from: 'x' }), 400, 'M_INVALID_PARAM');
  expectError(await alice.get(inRoomV1(roomId, 'relations', said), { dir: 'x' }), 400, 'M_INVALID_PARAM');
});

test('what relates to what relates to an event is found on request, as deep as is said', async (t) => {
  const house = await roomsHouse(t);
  const { alice, roomId } = await aliceAndBob(house);
  const root = await alice.send(roomId, 'root');
  const child = await alice.send(roomId, relating('m.reference', root), 'm.a');
  const grandchild = await alice.send(roomId, relating('m.reference', child), 'm.a');
  const liked = await alice.send(roomId, reaction(child, '👍'), 'm.reaction');
  const third = await alice.send(roomId, relating('m.reference', liked), 'm.a');
  const fourth = await alice.send(roomId, relating('m.reference', third), 'm.a');
  const list = async (path: string[], query: Json = {}): Promise<Json> =>
    expectOk(await alice.get(inRoomV1(roomId, 'relations', root, ...path), query));

  const plain = await list([]);
  assert.deepEqual([idsOf(plain.chunk), plain.recursion_depth], [[child], undefined]);
  const deep = await list([], { recurse: true });
  assert.deepEqual([idsOf(deep.chunk), deep.recursion_depth], [[third, liked, grandchild, child], 3]);
  assert.ok(!idsOf(deep.chunk).includes(fourth));
  // Behind a step that does not match nothing is found, though it would match itself.
  assert.deepEqual(idsOf((await list(['m.reference'], { recurse: true, dir: 'f' })).chunk), [child, grandchild]);
  const page = await list([], { recurse: true, limit: 3 });
  assert.deepEqual(idsOf((await list([], { recurse: true, from: page.next_batch })).chunk), [child]);
});

test('relations of an event one may not see are not shown, nor relations one may not see', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const [carol, dave] = [house.person('carol'), house.person('dave')];
  const said = await alice.send(roomId, 'root');
  await alice.setState(roomId, 'm.room.history_visibility', { history_visibility: 'joined' });
  await alice.send(roomId, edit(said, 'unseen'));
  const hidden = await alice.send(roomId, reply(said, 'unseen'));
  await alice.send(roomId, relating('m.reference', said), 'm.a');
  const unseen = await alice.send(roomId, 'unseen');
  await join(carol, roomId);
  const relations = (client: TestClient, event: string) => client.get(inRoomV1(roomId, 'relations', event));
  expectError(await relations(dave, said), 404, 'M_NOT_FOUND');
  expectError(await relations(carol, unseen), 404, 'M_NOT_FOUND');
  expectError(await relations(carol, '$nothing'), 404, 'M_NOT_FOUND');
  assert.deepEqual(expectOk(await relations(carol, said)).chunk, []);
  assert.equal(await bundleOf(carol, roomId, said), undefined);
  const seen = await bob.send(roomId, reply(said, 'seen'));
  assert.deepEqual(idsOf(expectOk(await relations(carol, said)).chunk), [seen]);
  assert.equal((await bundleOf(carol, roomId, said))['m.thread'].latest_event.event_id, seen);
  assert.notEqual(seen, hidden);
});

test('a thread is summed up at its root', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const carol = house.person('carol');
  await join(carol, roomId);
  const root = await alice.send(roomId, 'root');
  await bob.send(roomId, reply(root, 'one'));
  const two = await bob.send(roomId, reply(root, 'two'));
  const edited = await bob.send(roomId, edit(two, 'second'));
  const thread = async (client: TestClient): Promise<Json> => (await bundleOf(client, roomId, root))?.['m.thread'];

  const summary = await thread(alice);
  assert.deepEqual([summary.count, summary.current_user_participated], [2, true]);
  assert.equal(summary.latest_event.event_id, two);
  assert.equal(summary.latest_event.room_id, roomId);
  assert.equal(summary.latest_event.unsigned['m.relations']['m.replace'].event_id, edited);
  assert.equal((await thread(bob)).current_user_participated, true);
  assert.equal((await thread(carol)).current_user_participated, false);

  const three = await carol.send(roomId, reply(root, 'three'));
  assert.deepEqual([(await thread(carol)).count, (await thread(carol)).current_user_participated], [3, true]);
  await ignore(alice, carol);
  assert.deepEqual([(await thread(alice)).count, (await thread(alice)).latest_event.event_id], [2, two]);
  await redact(carol, roomId, three);
  assert.deepEqual([(await thread(bob)).count, (await thread(bob)).latest_event.event_id], [2, two]);
  await ignore(alice, bob, carol);
  assert.equal(await thread(alice), undefined, 'there is no thread for who hears nobody in it');
});

test('a filter finds events by what was related to them', async (t) => {
  const house = await roomsHouse(t);
  const { alice, bob, roomId } = await aliceAndBob(house);
  const [one, two] = [await alice.send(roomId, 'one'), await alice.send(roomId, 'two')];
  await alice.send(roomId, 'three');
  await bob.send(roomId, reply(one, 'yes'));
  await alice.send(roomId, reply(two, 'no'));
  await bob.send(roomId, reaction(two, '👍'), 'm.reaction');
  const found = async (filter: Json): Promise<string[]> =>
    idsOf(
      expectOk(await alice.get(inRoom(roomId, 'messages'), { dir: 'f', limit: 50, filter: JSON.stringify(filter) }))
        .chunk,
    );
  assert.deepEqual(await found({ related_by_rel_types: ['m.thread'] }), [one, two]);
  assert.deepEqual(await found({ related_by_senders: [bob.userId] }), [one, two]);
  assert.deepEqual(await found({ related_by_rel_types: ['m.thread'], related_by_senders: [bob.userId] }), [one]);
  assert.deepEqual(await found({ related_by_rel_types: [] }), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SyncContribution } from '../../server/sync/types.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { alice, bob, carol, type Household, openHousehold } from './household.ts';

const v3 = '/_matrix/client/v3';
const get = async (
  client: TestClient,
  path: string,
  query: Record<string, string | number | boolean> = {},
): Promise<Json> => expectOk(await client.get(v3 + path, query));
const bodiesIn = (events: Json[]): string[] => events.map((event) => event.content.body ?? event.type);

/** Presence of Alice and Bob, a tag and receipt in every joined room, and account data. */
const everything: SyncContribution = {
  name: 'everything',
  contribute: (window) => ({
    accountData: [{ type: 'org.example', content: { cats: 1 } }],
    presence: [alice, bob].map((sender) => ({ type: 'm.presence', sender, content: { presence: 'online' } })),
    rooms: new Map(
      [...window.joined.keys(), ...window.left].map((roomId) => [
        roomId,
        {
          accountData: [{ type: 'm.tag', content: { tags: {} } }],
          ephemeral: [
            { type: 'm.receipt', content: { $x: {} } },
            { type: 'm.typing', content: { user_ids: [] } },
          ],
        },
      ]),
    ),
  }),
};

/** A room Bob left, in which Alice went on. */
function leftRoom(home: Household): ReturnType<Household['rooms']['create']> {
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  home.rooms.state(room, alice, 'org.example', { when: 'before' });
  home.rooms.say(room, alice, 'one');
  home.rooms.say(room, alice, 'two');
  home.rooms.member(room, bob, 'leave');
  home.rooms.say(room, alice, 'three');
  home.rooms.state(room, alice, 'org.example', { when: 'after' });
  return room;
}

test('initialSync gives all rooms with their state and last messages', async (t) => {
  const home = await openHousehold(t, { published: { isPublished: () => true } });
  const room = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  home.rooms.say(room, alice, 'one');
  home.rooms.say(room, alice, 'two');
  const invited = home.rooms.create(alice);
  home.rooms.member(invited, bob, 'invite', { by: alice });
  home.contributions.push(everything);

  const answer = await get(home.client(bob), '/initialSync', { limit: 1 });
  assert.deepEqual(
    answer.rooms.map((entry: Json) => [entry.room_id, entry.membership, entry.visibility]),
    [
      [room, 'join', 'public'],
      [invited, 'invite', 'public'],
    ],
  );
  const [joined, invite] = answer.rooms;
  assert.deepEqual(bodiesIn(joined.messages.chunk), ['two']);
  assert.equal(joined.messages.chunk[0].room_id, room);
  const member = joined.state.find((event: Json) => event.state_key === bob);
  assert.equal(member.user_id, bob);
  assert.equal(member.content.membership, 'join');
  assert.deepEqual(joined.account_data, [{ type: 'm.tag', content: { tags: {} } }]);
  assert.equal(invite.inviter, alice);
  assert.equal(invite.invite.state_key, bob);
  assert.deepEqual(answer.receipts, [{ type: 'm.receipt', content: { $x: {} }, room_id: room }]);
  assert.equal(answer.presence[1].content.user_id, bob);
  assert.deepEqual(answer.account_data, [{ type: 'org.example', content: { cats: 1 } }]);

  assert.deepEqual((await get(home.client(bob), '/initialSync', { limit: 0 })).rooms[0].messages.chunk, []);
  expectError(await home.client(bob).get(`${v3}/initialSync`, { limit: 'hello' }), 400, 'M_INVALID_PARAM');
});

test('a departed room is in initialSync where that is asked for, as it was', async (t) => {
  const home = await openHousehold(t);
  const room = leftRoom(home);
  const client = home.client(bob);
  assert.deepEqual((await get(client, '/initialSync')).rooms, []);
  const { rooms } = await get(client, '/initialSync', { archived: true, limit: 2 });
  const single = await get(client, `/rooms/${room}/initialSync`, { limit: 2 });
  for (const entry of [rooms[0], single]) {
    assert.equal(entry.room_id, room);
    assert.equal(entry.membership, 'leave');
    assert.deepEqual(bodiesIn(entry.messages.chunk), ['two', 'm.room.member']);
    const state = entry.state.find((event: Json) => event.type === 'org.example');
    assert.equal(state.content.when, 'before');
  }
  assert.deepEqual(single.presence, []);
  assert.deepEqual(single.receipts, []);
});

test('a room can be looked into by its members, and by anybody if it is world readable', async (t) => {
  const home = await openHousehold(t);
  home.contributions.push(everything);
  const room = home.rooms.create(alice);
  home.rooms.say(room, alice, 'private');
  const path = `/rooms/${room}/initialSync`;
  const guest = home.client(carol, { guest: true });
  expectError(await guest.get(v3 + path), 403, 'M_FORBIDDEN');
  expectError(await guest.get(`${v3}/rooms/!nowhere:hearth.test/initialSync`), 403, 'M_FORBIDDEN');

  home.rooms.state(room, alice, 'm.room.history_visibility', { history_visibility: 'world_readable' });
  home.rooms.say(room, alice, 'public');
  const peeked = await get(guest, path);
  assert.deepEqual(bodiesIn(peeked.messages.chunk), ['m.room.history_visibility', 'public']);
  assert.equal(peeked.membership, undefined);
  assert.deepEqual(
    peeked.presence.map((event: Json) => event.sender),
    [alice],
  );
  assert.equal(peeked.receipts.length, 1);

  const joined = await get(home.client(alice), path);
  assert.equal(joined.membership, 'join');
  assert.ok(bodiesIn(joined.messages.chunk).includes('private'));
  assert.deepEqual(joined.account_data, [{ type: 'm.tag', content: { tags: {} } }]);
});

test('the event stream goes on from its own tokens, a limited number of events at a time, without losing any', async (t) => {
  const home = await openHousehold(t);
  const rooms = [home.rooms.create(alice), home.rooms.create(alice)] as const;
  const client = home.client(alice);
  let { end: from } = await get(client, '/events', { timeout: 0 });
  assert.equal((await get(client, '/events', { from: '', timeout: 0 })).end, from, 'an empty token is none');
  const said = Array.from({ length: 17 }, (_, n) => home.rooms.say(rooms[n % 2 === 0 ? 0 : 1], alice, `message ${n}`));
  const heard: string[] = [];
  for (let round = 0; round < 4; round += 1) {
    const answer = await get(client, '/events', { from, timeout: 0, limit: 5 });
    assert.equal(answer.start, from);
    assert.ok(answer.chunk.length <= 5);
    heard.push(...answer.chunk.map((event: Json) => event.event_id));
    from = answer.end;
  }
  assert.deepEqual(
    heard,
    said.map((event) => event.eventId),
  );
  assert.deepEqual((await get(client, '/events', { from, timeout: 0 })).chunk, []);
  for (const query of [{ limit: 'hello' }, { limit: -2 }, { timeout: 'hello' }]) {
    expectError(await client.get(`${v3}/events`, { from, ...query }), 400, 'M_INVALID_PARAM');
  }
});

test('the event stream waits, and brings invites, departures and what modules give', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const client = home.client(bob);
  let { end: from } = await get(client, '/events', { timeout: 0 });
  const next = async (change: () => void): Promise<Json[]> => {
    const waiting = get(client, '/events', { from, timeout: 30_000 });
    await home.held(1);
    change();
    const answer = await waiting;
    from = answer.end;
    return answer.chunk;
  };
  const [invite] = await next(() => home.rooms.member(room, bob, 'invite', { by: alice }));
  assert.deepEqual([invite.room_id, invite.state_key, invite.content.membership], [room, bob, 'invite']);
  const [join] = await next(() => home.rooms.member(room, bob, 'join'));
  assert.equal(join.content.membership, 'join');
  home.rooms.say(room, alice, 'last words');
  home.rooms.member(room, bob, 'leave', { by: alice });
  home.rooms.say(room, alice, 'unheard');
  const rest = await get(client, '/events', { from, timeout: 0 });
  assert.deepEqual(bodiesIn(rest.chunk), ['last words', 'm.room.member']);

  const kitchen = home.rooms.create(bob);
  home.contributions.push(everything);
  const all = await get(client, '/events', { from: rest.end, timeout: 0 });
  const typing = all.chunk.find((event: Json) => event.type === 'm.typing');
  assert.equal(typing.room_id, kitchen);
  assert.equal(all.chunk.find((event: Json) => event.type === 'm.presence').content.user_id, alice);
});

test('guests and strangers follow world readable rooms only', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { historyVisibility: 'world_readable' });
  const hidden = home.rooms.create(alice);
  const guest = home.client(carol, { guest: true });
  expectError(await guest.get(`${v3}/events`), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectError(await guest.get(`${v3}/events`, { room_id: hidden }), 403, 'M_FORBIDDEN');
  const { end: from } = await get(guest, '/events', { room_id: room, timeout: 0 });
  const waiting = get(guest, '/events', { room_id: room, from, timeout: 30_000 });
  await home.held(1);
  home.rooms.say(hidden, alice, 'not this');
  home.rooms.say(room, alice, 'this');
  const { chunk, end } = await waiting;
  assert.deepEqual(bodiesIn(chunk), ['this']);
  assert.deepEqual((await get(guest, '/events', { room_id: room, from: end, timeout: 0 })).chunk, []);
});

test('a single event is given to whoever may read it', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice, { historyVisibility: 'joined' });
  const { eventId } = home.rooms.say(room, alice, 'hello');
  home.rooms.member(room, bob, 'join');
  assert.equal((await get(home.client(alice), `/events/${eventId}`)).content.body, 'hello');
  expectError(await home.client(bob).get(`${v3}/events/${eventId}`), 404, 'M_NOT_FOUND');
  expectError(await home.client(alice).get(`${v3}/events/$nothing`), 404, 'M_NOT_FOUND');
});

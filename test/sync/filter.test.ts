import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fieldTrimmer, matchesPattern } from '../../server/sync/filter-match.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { alice, bob, carol, openHousehold, syncOnce, told } from './household.ts';

const filterPath = (user: string): string => `/_matrix/client/v3/user/${encodeURIComponent(user)}/filter`;

test('an uploaded filter can be downloaded as it was and used by its ID, by its owner alone', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  home.rooms.say(room, alice, 'hello');
  const client = home.client(alice);
  const definition = { room: { timeline: { limit: 1 } }, 'org.example.unknown': { kept: [1.5, null] } };
  const { filter_id: id } = expectOk(await client.post(filterPath(alice), definition));
  assert.equal(typeof id, 'string');
  assert.ok(!id.startsWith('{'));
  assert.deepEqual(expectOk(await client.get(`${filterPath(alice)}/${id}`)), definition);
  assert.deepEqual(told((await syncOnce(client, { filter: id })).rooms.join[room].timeline), ['hello']);

  expectError(await home.client(bob).get(`${filterPath(alice)}/${id}`), 403, 'M_FORBIDDEN');
  expectError(await home.client(bob).post(filterPath(alice), {}), 403, 'M_FORBIDDEN');
  expectError(await home.client(bob).get(`${filterPath(bob)}/${id}`), 404, 'M_NOT_FOUND');
  expectError(await home.client(bob).get('/_matrix/client/v3/sync', { filter: id }), 400, 'M_INVALID_PARAM');
});

test('the same filter is kept once, whatever the order of its keys', async (t) => {
  const client = (await openHousehold(t)).client(alice);
  const upload = async (body: object): Promise<string> =>
    expectOk(await client.post(filterPath(alice), body)).filter_id;
  const first = await upload({ room: { timeline: { limit: 1, types: ['a'] } } });
  assert.equal(await upload({ room: { timeline: { types: ['a'], limit: 1 } } }), first);
  assert.notEqual(await upload({ room: { timeline: { limit: 2, types: ['a'] } } }), first);
});

test('a filter that is not as the spec has it is refused, uploaded or in the query', async (t) => {
  const client = (await openHousehold(t)).client(alice);
  const wrong: unknown[] = [
    { room: { state: { lazy_load_members: 'true' } } },
    { room: { state: { lazy_load_members: 1 } } },
    { room: { state: { include_redundant_members: 1 } } },
    { room: { timeline: { senders: ['alice'] } } },
    { room: { timeline: { not_senders: ['#alice:hearth.test'] } } },
    { room: { rooms: ['not a room'] } },
    { room: { not_rooms: ['@alice:hearth.test'] } },
    { room: { timeline: { rooms: ['x'] } } },
    { room: { timeline: { limit: -1 } } },
    { room: { timeline: { limit: 1.5 } } },
    { room: { timeline: { limit: '10' } } },
    { room: { timeline: { types: 'm.room.message' } } },
    { room: { timeline: { types: [1] } } },
    { room: { timeline: { contains_url: 'yes' } } },
    { room: { include_leave: 'yes' } },
    { room: [] },
    { presence: 'none' },
    { presence: { senders: [1] } },
    { account_data: { types: {} } },
    { event_format: 'pretty' },
    { event_fields: 'content' },
  ];
  for (const filter of wrong) {
    expectError(await client.post(filterPath(alice), filter), 400, 'M_BAD_JSON');
    const query = { filter: JSON.stringify(filter) };
    expectError(await client.get('/_matrix/client/v3/sync', query), 400, 'M_BAD_JSON');
  }
  expectError(await client.get('/_matrix/client/v3/sync', { filter: '{"room":' }), 400, 'M_NOT_JSON');
  for (const filter of ['99', '', 'nonsense', '-1', '1e3']) {
    expectError(await client.get('/_matrix/client/v3/sync', { filter }), 400, 'M_INVALID_PARAM');
    if (filter !== '') expectError(await client.get(`${filterPath(alice)}/${filter}`), 404, 'M_NOT_FOUND');
  }
});

test('events are filtered by type, sender, room and whether they hold a url', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const other = home.rooms.create(alice);
  home.rooms.member(room, bob, 'join');
  const client = home.client(alice);
  const { next_batch: since } = await syncOnce(client);
  home.rooms.say(room, alice, 'text of alice');
  home.rooms.say(room, bob, 'text of bob');
  const image = { body: 'image of bob', url: 'mxc://hearth.test/x' };
  home.rooms.send({ roomId: room, sender: bob, type: 'm.room.message', content: image });
  home.rooms.send({ roomId: room, sender: bob, type: 'm.sticker', content: { body: 'sticker' } });
  home.rooms.say(other, alice, 'elsewhere');

  const texts = async (timeline: object): Promise<string[]> => {
    const { rooms } = await syncOnce(client, { since, filter: { room: { timeline } } });
    return [room, other].flatMap((id) => told(rooms?.join?.[id]?.timeline));
  };
  const all = ['text of alice', 'text of bob', 'image of bob', 'sticker', 'elsewhere'];
  assert.deepEqual(await texts({}), all);
  assert.deepEqual(await texts({ types: ['m.sticker'] }), ['sticker']);
  assert.deepEqual(await texts({ types: ['m.room.*'], not_types: ['*.message'] }), []);
  assert.deepEqual(await texts({ types: ['*'], not_types: ['m.st*er'] }), all.toSpliced(3, 1));
  assert.deepEqual(await texts({ types: [] }), []);
  assert.deepEqual(await texts({ senders: [bob] }), ['text of bob', 'image of bob', 'sticker']);
  assert.deepEqual(await texts({ senders: [alice, bob], not_senders: [bob] }), ['text of alice', 'elsewhere']);
  assert.deepEqual(await texts({ rooms: [other] }), ['elsewhere']);
  assert.deepEqual(await texts({ not_rooms: [other] }), all.slice(0, 4));
  assert.deepEqual(await texts({ contains_url: true }), ['image of bob']);
  assert.deepEqual(await texts({ contains_url: false }), all.toSpliced(2, 1));
});

test('what modules give is filtered where its section says so', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const presenceOf = (sender: string): JsonObject => ({ type: 'm.presence', sender, content: { presence: 'online' } });
  home.contributions.push({
    name: 'everything',
    contribute: () => ({
      accountData: [
        { type: 'm.direct', content: {} },
        { type: 'org.example', content: {} },
      ],
      presence: [presenceOf(bob), presenceOf(carol)],
      toDevice: [{ type: 'm.any', sender: bob, content: {} }],
      rooms: new Map([
        [
          room,
          {
            ephemeral: [
              { type: 'm.typing', content: { user_ids: [] } },
              { type: 'm.receipt', content: {} },
            ],
            accountData: [
              { type: 'm.tag', content: {} },
              { type: 'm.fully_read', content: {} },
            ],
          },
        ],
      ]),
    }),
  });
  const filter = {
    account_data: { types: ['m.*'] },
    presence: { not_senders: [carol] },
    room: { ephemeral: { not_types: ['m.receipt'] }, account_data: { types: ['m.tag'] } },
  };
  const answer = await syncOnce(home.client(alice), { filter });
  assert.deepEqual(told(answer.account_data), ['m.direct']);
  assert.deepEqual(answer.presence.events, [presenceOf(bob)]);
  assert.equal(answer.to_device.events.length, 1);
  assert.deepEqual(told(answer.rooms.join[room].ephemeral), ['m.typing']);
  assert.deepEqual(told(answer.rooms.join[room].account_data), ['m.tag']);

  const none = await syncOnce(home.client(alice), {
    filter: { presence: { types: [] }, account_data: { types: [] }, room: { ephemeral: { senders: [bob] } } },
  });
  assert.equal(none.presence, undefined);
  assert.equal(none.account_data, undefined);
  assert.deepEqual(none.rooms.join[room].ephemeral.events, []);
});

test('events related to by certain senders are found by who keeps relations', async (t) => {
  const asked: unknown[] = [];
  const home = await openHousehold(t, {
    related: {
      eventsRelatedBy: (events, by) => {
        asked.push(by);
        return new Set(events.filter((event) => event.content['body'] === 'root').map((event) => event.eventId));
      },
    },
  });
  const room = home.rooms.create(alice);
  home.rooms.say(room, alice, 'root');
  home.rooms.say(room, alice, 'lonely');
  const timeline = { related_by_senders: [bob], related_by_rel_types: ['m.thread'] };
  const answer = await syncOnce(home.client(alice), { filter: { room: { timeline } } });
  assert.deepEqual(told(answer.rooms.join[room].timeline), ['root']);
  assert.deepEqual(asked[0], { senders: [bob], relTypes: ['m.thread'] });
});

test('events can be had as servers exchange them', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const said = home.rooms.say(room, alice, 'hello');
  const filter = { event_format: 'federation', room: { timeline: { limit: 1 } } };
  const [event] = (await syncOnce(home.client(alice), { filter })).rooms.join[room].timeline.events;
  for (const key of ['content', 'sender', 'type', 'origin_server_ts', 'prev_events', 'auth_events', 'depth']) {
    assert.deepEqual(event[key], said.pdu[key], key);
  }
  assert.ok('hashes' in event && 'signatures' in event);
  assert.equal(event.event_id, said.eventId);
  assert.equal(event.room_id, room);
});

test('events can be cut down to some fields, those with dots in their names too', async (t) => {
  const home = await openHousehold(t);
  const room = home.rooms.create(alice);
  const content = { body: 'hi', 'm.relates_to': { rel_type: 'x', key: 'y' }, 'a\\b': 1, formatted: { body: 2 } };
  home.rooms.send({ roomId: room, sender: alice, type: 'm.room.message', content });
  const filter = {
    event_fields: [
      'type',
      'content.body',
      'content.m\\.relates_to.key',
      'content.a\\\\b',
      'content.formatted.none',
      'x',
    ],
    room: { timeline: { limit: 1 } },
  };
  const [event] = (await syncOnce(home.client(alice), { filter })).rooms.join[room].timeline.events;
  assert.deepEqual(event, {
    type: 'm.room.message',
    content: { body: 'hi', 'm.relates_to': { key: 'y' }, 'a\\b': 1 },
  });
});

test('cutting an event down keeps parts of it, all the parts named and no others', () => {
  const key = fc.constantFrom('a', 'b', 'c.d', 'e\\f', '__proto__');
  const json = fc.letrec((tie) => ({
    object: fc.dictionary(key, fc.oneof({ depthSize: 'small' }, fc.integer(), tie('object')), {
      noNullPrototype: true,
    }),
  })).object as fc.Arbitrary<JsonObject>;
  const escape = (name: string): string => name.replaceAll('\\', '\\\\').replaceAll('.', '\\.');
  fc.assert(
    fc.property(json, fc.array(fc.array(key, { minLength: 1, maxLength: 3 }), { maxLength: 4 }), (event, paths) => {
      const kept = fieldTrimmer(paths.map((path) => path.map(escape).join('.')))(event);
      const leaves = (value: JsonObject, at: string[]): string[][] =>
        Object.entries(value).flatMap(([name, inner]) =>
          typeof inner === 'object' && inner !== null && Object.keys(inner).length > 0
            ? leaves(inner as JsonObject, [...at, name])
            : [[...at, name]],
        );
      const isNamed = (leaf: string[]): boolean => paths.some((path) => path.every((name, n) => name === leaf[n]));
      const expected = leaves(event, []).filter(isNamed);
      const sorted = (list: string[][]): string[] => list.map((leaf) => JSON.stringify(leaf)).sort();
      assert.deepEqual(sorted(leaves(kept, [])), sorted(expected));
    }),
  );
});

test('a pattern with stars matches what a regular expression of the same meaning matches', () => {
  const letters = fc.constantFrom('a', 'b', '.', '*');
  const word = fc.array(letters, { maxLength: 8 }).map((list) => list.join(''));
  fc.assert(
    fc.property(word, word, (pattern, text) => {
      const source = pattern.replaceAll('.', '\\.').replaceAll(/\*+/g, '[^]*');
      assert.equal(matchesPattern(pattern, text), new RegExp(`^${source}$`).test(text));
    }),
    { numRuns: 2_000 },
  );
  // One that would keep a backtracking matcher busy for ages.
  assert.equal(matchesPattern(`${'*a'.repeat(100)}b`, 'a'.repeat(10_000)), false);
});

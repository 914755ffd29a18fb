import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { findEventId } from '../../server/matrix/events/event-id.ts';
import type { EventId } from '../../server/matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import type { Heard } from '../kit/scripted-server.ts';
import { expectOk } from '../kit/test-client.ts';
import { dora } from '../rooms/remote-kit.ts';
import { HostileRoom, nothing } from './hostile-room.ts';
import { besieged, type Siege } from './siege.ts';

const text = (body: string): JsonObject => ({ msgtype: 'm.text', body });

test(
  'a chain of missing events without end is followed for a little, and what hangs on it is not shown',
  besieged(async (siege) => {
    const { evil } = siege;
    // In room version 1 events are called what one likes: each of these follows one that is made when it is asked for.
    const room = await siege.room('1');
    const link = (at: number): JsonObject =>
      room.forge({
        event_id: `$link${at}:away.test`,
        prev_events: [[`$link${at - 1}:away.test`, { sha256: 'AAAA' }]],
        content: text('link'),
        depth: 1_000_000 + at,
      });
    evil.answer('v1/get_missing_events', ({ body }) => {
      const from = Math.min(...body.latest_events.map((id: string) => Number(/-?\d+/.exec(id)?.[0] ?? 0)));
      return { json: { events: Array.from({ length: body.limit }, (_, at) => link(from - 1 - at)) } };
    });
    evil.answer('v1/state_ids', () => ({ json: { pdu_ids: [], auth_chain_ids: [] } }));
    await siege.undisturbed(async () => {
      await siege.push(link(0));
      await siege.untilSilent();
    });
    assert.ok(evil.count('v1/get_missing_events') <= 12, `${evil.count('v1/get_missing_events')} questions`);
    assert.ok(evil.heard.length < 150, `${evil.heard.length} requests in all`);
    // A hundred such chains do not take a hundred times as much at once.
    await siege.undisturbed(() => siege.push(...Array.from({ length: 50 }, (_, at) => link(-100_000 * (at + 1)))));
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through']);
  }),
);

test(
  'missing events that are not what was asked for are passed over: other rooms’, unsigned, junk, the event itself',
  besieged(async (siege) => {
    const { evil } = siege;
    const room = await siege.room();
    const other = new HostileRoom('11');
    const gap = room.secret({ type: 'm.room.message', sender: dora, content: text('missing') });
    const event = room.secret(
      { type: 'm.room.message', sender: dora, content: text('after the gap') },
      { prev: [gap] },
    );
    const unsigned = { ...gap.pdu, signatures: {} };
    evil.answer('v1/get_missing_events', () => ({
      json: {
        events: [
          other.speak('wrong room').pdu,
          unsigned,
          event.pdu,
          null,
          7,
          [],
          'text',
          {},
          room.forge({ content: text('unasked') }),
        ],
      },
    }));
    await siege.push(event.pdu);
    await siege.untilSilent();
    assert.deepEqual(await siege.said(room.roomId), []);
    // The truth still finds its place.
    evil.answer('v1/get_missing_events', () => ({ json: { events: [gap.pdu] } }));
    await siege.push(
      room.secret({ type: 'm.room.message', sender: dora, content: text('again') }, { prev: [gap] }).pdu,
    );
    await siege.untilSaid(room, 'again');
    const said = await siege.said(room.roomId);
    assert.ok(said.includes('missing') && !said.includes('unasked') && !said.includes('wrong room'));
  }),
);

test(
  'hundreds of thousands of events that nobody has, named by events that are well made, cost few requests and no peace',
  besieged(async (siege) => {
    const { evil, home } = siege;
    const room = await siege.room();
    evil.answer('v1/get_missing_events', () => ({ json: { events: [] } }));
    const rss = process.memoryUsage.rss();
    let named = 0;
    await siege.undisturbed(async () => {
      for (let transaction = 0; transaction < 220; transaction += 1) {
        const pdus = Array.from({ length: 50 }, () => {
          named += 20;
          return room.forge({ prev_events: Array.from({ length: 20 }, (_, at) => nothing(named + at)) });
        });
        expectOk(await evil.transact(home, { pdus }));
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    assert.ok(named >= 200_000);
    const grown = process.memoryUsage.rss() - rss;
    assert.ok(grown < 400_000_000, `${Math.round(grown / 1e6)} MB more memory`);
    // Honest events of the same room are not shut out by it.
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through']);
    assert.ok(evil.count('v1/get_missing_events') < 11_000, 'fewer questions than events');
  }),
);

test(
  'auth events that do not exist, are forged, of another room, or stand in a circle, permit nothing',
  besieged(async (siege) => {
    const { evil } = siege;
    const room = await siege.room('1');
    const pair = (id: string): JsonValue => [id, { sha256: 'AAAA' }];
    const shared = {
      type: 'm.room.power_levels',
      state_key: '',
      content: { users: { [dora]: 100, '@erin:away.test': 100 } },
    };
    const other = new HostileRoom('1');
    const elsewhere = other.find('m.room.power_levels');
    const forged: Record<string, JsonObject> = {
      '$circle1:away.test': room.forge({
        event_id: '$circle1:away.test',
        auth_events: [pair('$circle2:away.test')],
        ...shared,
      }),
      '$circle2:away.test': room.forge({
        event_id: '$circle2:away.test',
        auth_events: [pair('$circle1:away.test')],
        ...shared,
      }),
      '$self:away.test': room.forge({ event_id: '$self:away.test', auth_events: [pair('$self:away.test')], ...shared }),
      '$unsigned:away.test': { ...room.forge({ event_id: '$unsigned:away.test', ...shared }), signatures: {} },
      [elsewhere.eventId]: elsewhere.pdu,
    };
    evil.answer('v1/event', ({ params: [id = ''] }) =>
      forged[id] === undefined ? undefined : { json: { origin: 'away.test', origin_server_ts: 1, pdus: [forged[id]] } },
    );
    evil.answer('v1/event_auth', () => ({ json: { auth_chain: Object.values(forged) } }));
    const base = ['m.room.create', 'm.room.member'].map((type) =>
      room.refer(room.find(type, type === 'm.room.create' ? '' : dora)),
    );
    const events = [...Object.keys(forged), '$none:away.test'].map((id) =>
      room.forge({
        event_id: `$by${id.slice(1)}`,
        sender: dora,
        auth_events: [...base, pair(id)],
        content: text(`by ${id}`),
      }),
    );
    await siege.undisturbed(async () => {
      await siege.push(...events);
      await siege.untilSilent();
    });
    assert.ok(evil.heard.length < 200, `${evil.heard.length} requests`);
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through']);
  }),
);

test(
  'an auth chain without end is not followed to its end',
  besieged(async (siege) => {
    const { evil } = siege;
    const room = await siege.room('1');
    const base = room.refer(room.find('m.room.create'));
    const link = (at: number): JsonObject =>
      room.forge({
        event_id: `$auth${at}:away.test`,
        type: 'm.room.member',
        state_key: dora,
        content: { membership: 'join' },
        auth_events: [
          base,
          [`$auth${at + 1}:away.test`, { sha256: 'AAAA' }],
          [`$auth${at + 1_000_000}:away.test`, { sha256: 'AAAA' }],
        ],
      });
    let served = 0;
    evil.answer('v1/event', ({ params: [id = ''] }) => {
      served += 1;
      return { json: { pdus: [link(Number(/\d+/.exec(id)?.[0]))] } };
    });
    evil.answer('v1/event_auth', () => ({ pieces: endlessList('auth_chain', (at) => link(at)) }));
    await siege.undisturbed(async () => {
      await siege.push(
        room.forge({
          event_id: '$end:away.test',
          auth_events: [base, ['$auth0:away.test', { sha256: 'AAAA' }]],
          content: text('never'),
        }),
      );
      await siege.untilSilent();
    });
    assert.ok(served < 400, `${served} events were fetched one by one`);
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through']);
  }),
);

/** An event after a gap that cannot be closed: the state before it has to be asked for. */
function beyondTheGap(
  siege: Siege,
  room: HostileRoom,
  body: string,
): { readonly lost: RoomEvent; readonly event: RoomEvent } {
  const say = (words: string, prev?: RoomEvent): RoomEvent =>
    room.secret(
      { type: 'm.room.message', sender: dora, content: text(words) },
      prev === undefined ? {} : { prev: [prev] },
    );
  const lost = say(`lost before ${body}`);
  const first = say(`first of ${body}`, lost);
  const event = say(body, first);
  siege.evil.answer('v1/get_missing_events', ({ body: asked }) =>
    asked.latest_events.includes(event.eventId) ? { json: { events: [first.pdu] } } : undefined,
  );
  siege.evil.answer('v1/event', ({ params }) =>
    params[0] === lost.eventId ? { json: { pdus: [lost.pdu] } } : undefined,
  );
  return { lost, event };
}

const FALSE_STATES: Record<
  string,
  (
    room: HostileRoom,
    other: HostileRoom,
  ) => { state: readonly RoomEvent[]; chain?: readonly RoomEvent[]; ids?: readonly unknown[] }
> = {
  'that lacks the create event': (room) => ({
    state: [room.find('m.room.member', dora), room.find('m.room.power_levels'), room.find('m.room.join_rules')],
  }),
  'that is empty': () => ({ state: [] }),
  'of another room': (_room, other) => ({ state: [...other.state.values()] }),
  'with another room’s create event': (room, other) => ({
    state: [other.find('m.room.create'), room.find('m.room.member', dora), room.find('m.room.power_levels')],
  }),
  'that names events nobody has': (room) => ({
    state: [room.find('m.room.create')],
    ids: Array.from({ length: 5_000 }, (_, at) => nothing(at)),
  }),
  'that holds one place twice': (room) => ({
    state: [
      ...room.state.values(),
      room.secret({ type: 'm.room.name', sender: dora, stateKey: '', content: { name: 'other' } }),
    ],
  }),
  'of what is no event ID': (room) => ({ state: [room.find('m.room.create')], ids: ['', 7, null, {}, 'x'] }),
  'of a million events': () => ({ state: [], ids: Array.from({ length: 300_000 }, (_, at) => nothing(at)) }),
};

for (const [what, make] of Object.entries(FALSE_STATES)) {
  test(
    `a state ${what} is not taken for the state at a gap`,
    besieged(async (siege) => {
      const { evil } = siege;
      const room = await siege.room();
      const { event } = beyondTheGap(siege, room, 'beyond');
      const { state, chain = [], ids = [] } = make(room, new HostileRoom('11'));
      evil.answer('v1/state_ids', () => ({
        json: {
          pdu_ids: [...state.map(({ eventId }) => eventId), ...ids],
          auth_chain_ids: chain.map(({ eventId }) => eventId),
        },
      }));
      evil.answer('v1/state', () => ({
        json: { pdus: state.map(({ pdu }) => pdu), auth_chain: chain.map(({ pdu }) => pdu) },
      }));
      const events = new Map(state.map((one) => [one.eventId, one]));
      evil.answer('v1/event', ({ params }) => {
        const found = events.get(params[0] as EventId);
        return found === undefined ? undefined : { json: { pdus: [found.pdu] } };
      });
      await siege.undisturbed(async () => {
        await siege.push(event.pdu);
        await siege.untilSilent();
      });
      assert.ok(evil.heard.length < 400, `${evil.heard.length} requests`);
      await siege.through(room);
      assert.deepEqual(await siege.said(room.roomId), ['through']);
      assert.ok(
        (await siege.alice.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state/m.room.name`)).body
          .name === 'Away',
      );
    }),
  );
}

test(
  'a state that makes somebody master of the room at a gap does not make them master of the room',
  besieged(async (siege) => {
    const { evil } = siege;
    const room = await siege.room();
    const erin = '@erin:away.test';
    const { event } = beyondTheGap(siege, room, 'by a new master');
    // Well signed, and named in the state; but nobody who could has ever sent it.
    const coup = room.forge({
      sender: erin,
      type: 'm.room.power_levels',
      state_key: '',
      content: { users: { [erin]: 100 } },
    });
    const coupId = findEventId(coup, room.version);
    const rest = [...room.state.values()].filter(({ type }) => type !== 'm.room.power_levels');
    evil.answer('v1/state_ids', () => ({
      json: { pdu_ids: [...rest.map(({ eventId }) => eventId), coupId], auth_chain_ids: [] },
    }));
    evil.answer('v1/event', ({ params }) => (params[0] === coupId ? { json: { pdus: [coup] } } : undefined));
    await siege.push(event.pdu);
    await siege.untilSilent();
    const topic = room.forge({
      sender: erin,
      type: 'm.room.topic',
      state_key: '',
      content: { topic: 'Mine' },
      prev_events: [event.eventId],
    });
    await siege.push(topic);
    await siege.through(room);
    const levels = await siege.alice.get(
      `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state/m.room.power_levels`,
    );
    assert.deepEqual(expectOk(levels), room.find('m.room.power_levels').content);
    assert.equal(
      (await siege.alice.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state/m.room.topic`)).status,
      404,
    );
  }),
);

for (const version of ['1', '11']) {
  test(
    `history of a room of version ${version} that is told with repeats, circles, strangers and without end is read once and as it was`,
    besieged(async (siege) => {
      const { evil } = siege;
      const room = new HostileRoom(version);
      evil.script(room.script());
      const old = room.say(40);
      await siege.join(room);
      const other = new HostileRoom(version);
      const circle = ['a', 'b'].map((name) =>
        room.forge({
          ...(version === '1' ? { event_id: `$${name}:away.test` } : {}),
          prev_events:
            version === '1' ? [[`$${name === 'a' ? 'b' : 'a'}:away.test`, { sha256: 'AAAA' }]] : [nothing(1)],
          content: text('circle'),
        }),
      );
      evil.answer('v1/backfill', ({ query }) => {
        const true_ = room.backwards(query.getAll('v'), Number(query.get('limit'))).map(({ pdu }) => pdu);
        const pdus = [
          ...circle,
          ...true_.toReversed(),
          ...true_,
          other.speak('wrong room').pdu,
          { ...room.forge({ content: text('unsigned') }), signatures: {} },
          null,
          ...true_,
          ...Array.from({ length: 500 }, () => circle[0] ?? {}),
        ];
        return { json: { origin: 'away.test', origin_server_ts: 1, pdus } };
      });
      await siege.undisturbed(() => siege.read(room.roomId));
      const said = (await siege.read(room.roomId)).map(({ content }) => content.body);
      assert.deepEqual(
        said.reverse(),
        old.map(({ content }) => content['body']),
      );
      assert.ok(evil.count('v1/backfill') < 30, `${evil.count('v1/backfill')} questions`);
      await siege.through(room);
    }),
  );
}

test(
  'whoever answers every question for history with a new beginning is not asked for ever',
  besieged(async (siege) => {
    const { evil, alice } = siege;
    const room = new HostileRoom('1');
    evil.script(room.script());
    await siege.join(room);
    let at = 0;
    evil.answer('v1/backfill', ({ query }: Heard) => {
      const pdus = query.getAll('v').flatMap((id) =>
        Array.from({ length: 5 }, () => {
          at += 1;
          return room.forge({
            event_id: `$new${at}:away.test`,
            prev_events: [[`$new${at + 1}:away.test`, { sha256: 'AAAA' }]],
            content: text(`for ${id}`),
          });
        }),
      );
      return { json: { pdus } };
    });
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/messages`;
    await siege.undisturbed(async () => {
      let from: string | undefined;
      for (let page = 0; page < 10; page += 1) {
        const before = evil.heard.length;
        const body = expectOk(await alice.get(path, { dir: 'b', limit: 50, from }));
        assert.ok(evil.heard.length - before < 60, 'one page takes few questions');
        from = body.end;
        if (from === undefined) break;
      }
    });
    assert.ok(evil.count('v1/backfill') < 200);
    const last = room.speak('through');
    await siege.push(last.pdu);
    await siege.untilSaid(room, 'through');
  }),
);

async function* endlessList(name: string, make: (at: number) => JsonObject): AsyncGenerator<string> {
  yield `{"${name}":[`;
  for (let at = 0; ; at += 1) {
    yield `${at === 0 ? '' : ','}${JSON.stringify(make(at))}`;
    if (at % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

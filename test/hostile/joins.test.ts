import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import type { ScriptedAnswer } from '../kit/scripted-server.ts';
import type { Answer } from '../kit/test-client.ts';
import { AWAY, dora, erin, user } from '../rooms/remote-kit.ts';
import { HostileRoom, nothing } from './hostile-room.ts';
import { besieged, type Siege } from './siege.ts';

/** Changes what an honest server would answer. */
type Twist = (answer: JsonObject, room: HostileRoom, other: HostileRoom) => ScriptedAnswer;

const tryJoin = ({ alice }: Siege, room: HostileRoom): Promise<Answer> =>
  alice.post(`/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}`, {}, { via: AWAY });

const pdus = (events: Iterable<RoomEvent>): JsonObject[] => [...events].map(({ pdu }) => pdu);
const listOf = (value: JsonValue | undefined): readonly JsonValue[] => (Array.isArray(value) ? value : []);
const isOfType =
  (type: string) =>
  (pdu: JsonValue): boolean =>
    (pdu as JsonObject)['type'] === type;

/** Answers to send_join that must not make Alice’s server believe it is in the room. */
const FALSE_ANSWERS: Record<string, { readonly version?: string; readonly twist: Twist }> = {
  'the state of another room': {
    twist: (answer, _room, other) => ({
      json: { ...answer, state: pdus(other.state.values()), auth_chain: pdus(other.events.values()) },
    }),
  },
  'another room’s create event under a state of its own': {
    twist: (answer, _room, other) => ({
      json: {
        ...answer,
        state: [
          ...listOf(answer['state']).filter((pdu) => !isOfType('m.room.create')(pdu)),
          other.find('m.room.create').pdu,
        ],
      },
    }),
  },
  'a state without its create event': {
    twist: (answer) => ({
      json: {
        ...answer,
        state: listOf(answer['state']).filter((pdu) => !isOfType('m.room.create')(pdu)),
        auth_chain: listOf(answer['auth_chain']).filter((pdu) => !isOfType('m.room.create')(pdu)),
      },
    }),
  },
  'nothing at all': { twist: () => ({ json: {} }) },
  'empty lists': { twist: (answer) => ({ json: { ...answer, state: [], auth_chain: [] } }) },
  'lists that are none': { twist: (answer) => ({ json: { ...answer, state: 7, auth_chain: { a: 1 } } }) },
  'lists of junk': {
    twist: (answer) => ({ json: { ...answer, state: [null, 7, [], 'x', {}], auth_chain: [[], [[]]] } }),
  },
  'a state whose signatures are all wrong': {
    twist: (answer) => {
      const spoil = (pdu: JsonValue): JsonObject => ({
        ...(pdu as JsonObject),
        signatures: { [AWAY]: { 'ed25519:1': 'AAAA' } },
      });
      return {
        json: {
          ...answer,
          state: listOf(answer['state']).map(spoil),
          auth_chain: listOf(answer['auth_chain']).map(spoil),
        },
      };
    },
  },
  'a state in which one place is held twice': {
    twist: (answer, room) => ({
      json: {
        ...answer,
        state: [
          ...listOf(answer['state']),
          room.secret({ type: 'm.room.name', sender: dora, stateKey: '', content: { name: 'other' } }).pdu,
        ],
      },
    }),
  },
  'another event than the one that was handed in': {
    twist: (answer, room) => ({ json: { ...answer, event: room.find('m.room.name').pdu } }),
  },
  'an auth chain in a circle': {
    version: '1',
    twist: (answer, room) => {
      const name = (at: string): JsonValue => [`$${at}:away.test`, { sha256: 'AAAA' }];
      const levels = { type: 'm.room.power_levels', state_key: '', content: { users: { [dora]: 100 } } };
      const circle = [
        room.forge({ event_id: '$a:away.test', auth_events: [name('b')], ...levels }),
        room.forge({ event_id: '$b:away.test', auth_events: [name('a')], ...levels }),
      ];
      const rest = listOf(answer['state']).filter((pdu) => !isOfType('m.room.create')(pdu));
      return { json: { ...answer, state: [...rest, circle[0] ?? {}], auth_chain: circle } };
    },
  },
  'an event of ten megabytes': {
    twist: (answer, room) => ({
      json: {
        ...answer,
        state: [room.forge({ content: { body: 'x'.repeat(10_000_000) } }), ...listOf(answer['state'])].slice(0, 2),
      },
    }),
  },
  'text that breaks off': { twist: (answer) => ({ text: JSON.stringify(answer).slice(0, -200) }) },
  'something that is no JSON': {
    twist: () => ({ text: '<html>Welcome!</html>', headers: { 'content-type': 'text/html' } }),
  },
  'a redirect': {
    twist: () => ({ status: 302, headers: { location: 'https://hearth.test/_matrix/client/versions' }, text: '' }),
  },
  'JSON that is deeper than deep': { twist: () => ({ text: `{"state":${'['.repeat(2_000_000)}` }) },
};

for (const [what, { version = '11', twist }] of Object.entries(FALSE_ANSWERS)) {
  test(
    `a join that is answered with ${what} fails, and leaves nothing that hinders a true one`,
    besieged(async (siege) => {
      const { evil, alice } = siege;
      const room = new HostileRoom(version);
      const other = new HostileRoom(version);
      let isHonest = false;
      evil.script(room.script());
      evil.answer('v2/send_join', ({ body }) => {
        if (isHonest) return undefined;
        const { event, ...answer } = room.acceptJoin(body);
        return twist({ ...answer, event: event.pdu, origin: AWAY, members_omitted: false }, room, other);
      });
      const { status, body } = await siege.undisturbed(() => tryJoin(siege, room));
      assert.ok(status >= 400 && status !== 500, `${status} ${JSON.stringify(body)}`);
      assert.equal((await alice.sync()).rooms?.join?.[room.roomId], undefined);
      isHonest = true;
      await siege.join(room);
      await siege.through(room);
      assert.deepEqual(await siege.said(room.roomId), ['through']);
    }),
  );
}

test(
  'a state told at a join that nobody could have brought about does not rule the room',
  besieged(async (siege) => {
    const { evil, alice } = siege;
    const room = new HostileRoom('11');
    evil.script(room.script());
    // Erin is not in the room, and yet is said to have become its master, and to have banned Dora.
    const coup = room.forge({
      sender: erin,
      type: 'm.room.power_levels',
      state_key: '',
      content: { users: { [erin]: 100 } },
    });
    const ban = room.forge({
      sender: erin,
      type: 'm.room.member',
      state_key: user('@fred:far.test'),
      content: { membership: 'ban' },
    });
    evil.answer('v2/send_join', ({ body }) => {
      const { event, ...answer } = room.acceptJoin(body);
      const state = answer.state.filter((pdu) => !isOfType('m.room.power_levels')(pdu));
      return {
        json: { ...answer, state: [...state, coup, ban], event: event.pdu, origin: AWAY, members_omitted: false },
      };
    });
    const { status } = await tryJoin(siege, room);
    if (status === 200) {
      const state = (await alice.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state`))
        .body as JsonObject[];
      assert.ok(!JSON.stringify(state.filter(({ type }) => type === 'm.room.power_levels')).includes(erin));
      assert.ok(!state.some(({ state_key: key }) => key === '@fred:far.test'));
    } else assert.ok(status >= 400 && status !== 500);
  }),
);

/** Templates that must not be signed. */
const FALSE_TEMPLATES: Record<string, (event: JsonObject, room: HostileRoom) => JsonObject> = {
  'of another user': (event) => ({ ...event, sender: '@bob:hearth.test', state_key: '@bob:hearth.test' }),
  'that makes Dora join in Alice’s name': (event) => ({ ...event, state_key: dora }),
  'of another room': (event) => ({ ...event, room_id: new HostileRoom('11').roomId }),
  'that is no membership': (event) => ({
    ...event,
    type: 'm.room.power_levels',
    state_key: '',
    content: { users: { [dora]: 100 } },
  }),
  'that bans': (event) => ({ ...event, content: { membership: 'ban' } }),
  'that is a redaction': (event) => ({ ...event, type: 'm.room.redaction', redacts: '$x' }),
  'with a thousand auth events': (event) => ({
    ...event,
    auth_events: Array.from({ length: 1_000 }, (_, at) => nothing(at)),
  }),
  'with a thousand predecessors': (event) => ({
    ...event,
    prev_events: Array.from({ length: 1_000 }, (_, at) => nothing(at)),
  }),
  'whose predecessors are no events': (event) => ({ ...event, prev_events: [7, null, {}] }),
  'with a depth below the ground': (event) => ({ ...event, depth: -5 }),
  'with a depth that is half': (event) => ({ ...event, depth: 1.5 }),
  'with a depth beyond all numbers': (event) => ({ ...event, depth: 1e300 }),
  'without predecessors and auth events': ({ prev_events: _prev, auth_events: _auth, ...event }) => event,
};

for (const [what, twist] of Object.entries(FALSE_TEMPLATES)) {
  test(
    `a template for a join ${what} is not signed`,
    besieged(async (siege) => {
      const { evil, alice } = siege;
      const room = new HostileRoom('11');
      evil.script(room.script());
      evil.answer('v1/make_join', () => {
        const template = room.template(user(alice.userId), 'join');
        return { json: { ...template, event: twist(template['event'] as JsonObject, room) } };
      });
      const { status, body } = await tryJoin(siege, room);
      assert.ok(status >= 400 && status !== 500, `${status} ${JSON.stringify(body)}`);
      const signed = evil.heard.filter(({ operation }) => operation === 'v2/send_join' || operation === 'v1/send_join');
      assert.deepEqual(
        signed.map(({ body: sent }) => sent),
        [],
      );
    }),
  );
}

test(
  'whatever else a template holds does not get into what we sign',
  besieged(async (siege) => {
    const { evil, alice } = siege;
    const room = new HostileRoom('11');
    evil.script(room.script());
    evil.answer('v1/make_join', () => {
      const template = room.template(user(alice.userId), 'join', { displayname: 'Fool', planted: true });
      return {
        json: {
          ...template,
          event: {
            ...(template['event'] as JsonObject),
            planted: 'x'.repeat(1_000),
            origin_server_ts: 1,
            unsigned: { a: 1 },
          },
        },
      };
    });
    await siege.join(room);
    const [join] = evil.heard.filter(({ operation }) => operation === 'v2/send_join');
    assert.equal(JSON.stringify(join?.body).includes('planted'), false);
    assert.notEqual(join?.body.content.displayname, 'Fool');
    assert.ok(join?.body.origin_server_ts > 1_600_000_000_000);
  }),
);

test(
  'an answer to a join that goes on for ever is cut off where it can be no room any more, without memory being filled',
  besieged(async (siege) => {
    const { evil } = siege;
    const room = new HostileRoom('11');
    evil.script(room.script());
    const junk = JSON.stringify({ type: 'm.room.member', content: { text: 'x'.repeat(60_000) } });
    async function* endless(): AsyncGenerator<string> {
      yield '{"state":[';
      for (;;) {
        yield `${junk},`;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    evil.answer('v2/send_join', () => ({ pieces: endless() }));
    const rss = process.memoryUsage.rss();
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss() - rss)), 50);
    const { status } = await siege.undisturbed(() => tryJoin(siege, room)).finally(() => clearInterval(watch));
    assert.ok(status >= 400 && status !== 500);
    assert.ok(evil.written < 560_000_000, `${evil.written} bytes`);
    assert.ok(most < 400_000_000, `${Math.round(most / 1e6)} MB`);
  }),
);

test(
  'a user who is sent from server to server by a false alias asks only a few of them',
  besieged(async (siege) => {
    const { evil, far, alice, network } = siege;
    const names = Array.from({ length: 500 }, (_, at) => `s${at}.test`);
    for (const name of names) network.place(name, { federationPort: far.federationPort });
    evil.answer('v1/query', () => ({ json: { room_id: '!nowhere:away.test', servers: names } }));
    const { status } = await alice.post(`/_matrix/client/v3/join/${encodeURIComponent('#trap:away.test')}`);
    assert.ok(status >= 400 && status !== 500);
    assert.ok(far.connections <= 60, `${far.connections} connections`);
  }),
);

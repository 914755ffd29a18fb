import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { refusal, ScriptedServer } from '../kit/scripted-server.ts';
import { expectError, expectOk, type Json } from '../kit/test-client.ts';
import { onNetwork, type TestNetwork } from '../kit/test-network.ts';
import {
  idsOf,
  joinRule,
  link,
  linkTo,
  newRoom,
  newSpace,
  outside,
  outsideSpace,
  roomsOf,
  walk,
} from './spaces-kit.ts';

const play = (network: TestNetwork, name = 'away.test'): Promise<ScriptedServer> =>
  ScriptedServer.start(network, { name, key: generateSigningKey(systemRandom.bytes(32)) });

/** From now on it knows these spaces: by their ID, what it answers. */
function knows(played: ScriptedServer, answers: Readonly<Record<string, Json>>): void {
  played.answer('v1/hierarchy', ({ params: [roomId = ''] }) => {
    const json = answers[roomId];
    return json === undefined ? refusal(404, 'M_NOT_FOUND') : { json };
  });
}

const asked = (played: ScriptedServer): string[] =>
  played.heard.flatMap(({ operation, params }) => (operation === 'v1/hierarchy' ? [params[0] ?? ''] : [])).sort();

test(
  'a space of another server is walked through with what that tells, and it is asked once for a while',
  onNetwork(
    ['home.test'],
    async ([home], network) => {
      await using away = await play(network);
      const ann = await home.register('ann');
      const [house, theirs, shed, attic] = [await newSpace(ann), '!theirs:away.test', '!shed', '!attic:away.test'];
      knows(away, {
        [theirs]: {
          room: outsideSpace(theirs, [linkTo(shed, {}, 1), linkTo(attic, {}, 2)], { name: 'Theirs' }),
          children: [outside(shed, { topic: 'Tools' }), outsideSpace(attic, [])],
          inaccessible_children: [],
        },
        [attic]: {
          room: outsideSpace(attic, [linkTo('!box:away.test')]),
          children: [outside('!box:away.test')],
          inaccessible_children: [],
        },
      });
      await link(ann, house, theirs, { via: ['home.test', 'away.test'] });

      const expected = [house, theirs, shed, attic, '!box:away.test'];
      const page = expectOk(await walk(ann, house));
      assert.deepEqual(idsOf(page), expected);
      assert.deepEqual(page.rooms[2], outside(shed, { topic: 'Tools', children_state: [] }));
      assert.deepEqual(page.rooms[1].children_state, [linkTo(shed, {}, 1), linkTo(attic, {}, 2)]);
      // What was told with the parent is not asked for; the children of a space within are.
      assert.deepEqual(asked(away), [attic, theirs].sort());
      assert.deepEqual(await roomsOf(ann, house), expected);
      assert.equal(asked(away).length, 2);
    },
    {},
  ),
);

test('what a server told holds for some minutes, and what it refused for one', async () => {
  const clock = new ManualClock();
  await onNetwork(
    ['home.test'],
    async ([home], network) => {
      await using away = await play(network);
      const ann = await home.register('ann');
      const house = await newSpace(ann);
      const theirs = '!theirs:away.test';
      await link(ann, house, theirs, { via: ['away.test'] });
      assert.deepEqual(await roomsOf(ann, house), [house]);
      knows(away, { [theirs]: { room: outside(theirs), children: [], inaccessible_children: [] } });
      assert.deepEqual(await roomsOf(ann, house), [house]);
      assert.equal(asked(away).length, 1);
      await clock.advance(61_000);
      assert.deepEqual(await roomsOf(ann, house), [house, theirs]);
      await clock.advance(4 * 60_000);
      assert.deepEqual(await roomsOf(ann, house), [house, theirs]);
      assert.equal(asked(away).length, 2);
      await clock.advance(61_000);
      assert.deepEqual(await roomsOf(ann, house), [house, theirs]);
      assert.equal(asked(away).length, 3);
    },
    { clock },
  )();
});

test(
  'many who ask at once make one question, and several servers are tried until one knows',
  onNetwork(['home.test'], async ([home], network) => {
    await using away = await play(network);
    await using third = await play(network, 'third.test');
    const ann = await home.register('ann');
    const bob = await home.register('bob');
    const house = await newSpace(ann);
    const theirs = '!theirs:away.test';
    await link(ann, house, theirs, { via: ['nowhere.test', 'third.test', 'away.test', 'fourth.test'] });
    knows(third, {});
    const question = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    away.answer('v1/hierarchy', async () => {
      question.resolve();
      await answer.promise;
      return { json: { room: outside(theirs), children: [], inaccessible_children: [] } };
    });
    const answers = [roomsOf(ann, house), roomsOf(bob, house), roomsOf(ann, house)];
    await question.promise;
    answers.push(roomsOf(bob, house));
    expectOk(await ann.get('/_matrix/client/v3/account/whoami'));
    answer.resolve();
    for (const found of await Promise.all(answers)) assert.deepEqual(found, [house, theirs]);
    assert.equal(asked(away).length, 1);
  }),
);

test(
  'an answer is believed of the room that was asked about and its children, as far as it has a form',
  onNetwork(['home.test'], async ([home], network) => {
    await using away = await play(network);
    const ann = await home.register('ann');
    const secret = await newRoom(ann, { preset: 'private_chat', name: 'Secret' });
    const bob = await home.register('bob');
    const house = await newSpace(ann);
    const [theirs, fine, wrong, closed, liar] = [
      '!t:away.test',
      '!f:away.test',
      '!w:away.test',
      '!c:away.test',
      '!l:away.test',
    ];
    await link(ann, house, theirs, { via: ['away.test'], order: '1' });
    await link(ann, house, liar, { via: ['away.test'], order: '2' });
    knows(away, {
      [theirs]: {
        room: outsideSpace(
          theirs,
          [
            linkTo(fine, {}, 1),
            linkTo(wrong, {}, 2),
            linkTo(closed, {}, 3),
            linkTo(secret, {}, 4),
            linkTo('no room'),
            linkTo('!a:away.test', { via: 'away.test' }),
            { ...linkTo('!b:away.test'), origin_server_ts: 'soon' },
            { ...linkTo('!b:away.test'), sender: 'nobody' },
            { ...linkTo('!b:away.test'), type: 'm.room.member' },
            null,
            7,
          ],
          { name: ['no text'], topic: 'T', avatar_url: 'https://away.test/x.png', canonical_alias: 'x', extra: 'x' },
        ),
        children: [
          outside(fine, { num_joined_members: 5 }),
          outside(wrong, { num_joined_members: -1 }),
          outside(closed),
          // What this server knows, and what is no child, are not for them to tell.
          outside(secret, { name: 'Open!' }),
          outside('!unlinked:away.test'),
          'nothing',
        ],
        inaccessible_children: [closed, 7, '!unlinked:away.test'],
      },
      [liar]: { room: outside(fine), children: [], inaccessible_children: [] },
    });
    const page = expectOk(await walk(bob, house));
    assert.deepEqual(idsOf(page), [house, theirs, fine]);
    const [, { children_state: links, ...space }] = page.rooms;
    assert.deepEqual(space, outside(theirs, { room_type: 'm.space', topic: 'T' }));
    assert.deepEqual(
      links.map(({ state_key: id }: Json) => id),
      [fine, wrong, closed, secret],
    );
    assert.ok(!asked(away).includes(closed), 'nobody is asked about what is for nobody');
    const own = expectOk(await walk(ann, house)).rooms.at(-1);
    assert.equal(own.name, 'Secret');
  }),
);

test(
  'rooms elsewhere are shown to whom they are open, by the rooms and invites that a user has here',
  onNetwork(['home.test'], async ([home], network) => {
    await using away = await play(network);
    const ann = await home.register('ann');
    const bob = await home.register('bob');
    const house = await newSpace(ann);
    const family = await newRoom(ann);
    const theirs = '!t:away.test';
    const cases: Json[] = [
      outside('!public:away.test'),
      outside('!unsaid:away.test', { join_rule: undefined }),
      outside('!invite:away.test', { join_rule: 'invite' }),
      outside('!world:away.test', { join_rule: 'invite', world_readable: true }),
      outside('!knock:away.test', { join_rule: 'knock' }),
      outside('!oldknock:away.test', { join_rule: 'knock', room_version: '6' }),
      outside('!newrule:away.test', { join_rule: 'test.new' }),
      outside('!restricted:away.test', { join_rule: 'restricted', allowed_room_ids: [family, 7] }),
      outside('!notallowed:away.test', { join_rule: 'invite', allowed_room_ids: [family] }),
      outside('!either:away.test', { join_rule: 'knock_restricted', room_version: '10' }),
    ];
    knows(away, {
      [theirs]: {
        room: outsideSpace(
          theirs,
          cases.map(({ room_id: id }, n) => linkTo(id, {}, n)),
        ),
        children: cases,
        inaccessible_children: [],
      },
    });
    await link(ann, house, theirs, { via: ['away.test'] });
    const open = ['!public', '!unsaid', '!world', '!knock', '!either'].map((id) => `${id}:away.test`);
    assert.deepEqual(await roomsOf(bob, house), [house, theirs, ...open]);
    await bob.join(family);
    assert.deepEqual(await roomsOf(bob, house), [
      house,
      theirs,
      ...open.slice(0, -1),
      '!restricted:away.test',
      ...open.slice(-1),
    ]);
  }),
);

test(
  'a server that is down or talks nonsense costs its rooms, not the page, and a huge answer is not taken',
  onNetwork(['home.test'], async ([home], network) => {
    await using away = await play(network);
    const ann = await home.register('ann');
    const house = await newSpace(ann);
    const kitchen = await newRoom(ann);
    const ids = ['!down:away.test', '!text:away.test', '!list:away.test', '!huge:away.test'] as const;
    for (const [n, id] of ids.entries()) {
      await link(ann, house, id, { via: [n === 0 ? 'nowhere.test' : 'away.test'], order: `${n}` });
    }
    await link(ann, house, kitchen, { order: '9' });
    away.answer('v1/hierarchy', ({ params: [id = ''] }) => {
      if (id === ids[1]) return { text: 'hello' };
      if (id === ids[2]) return { json: [] };
      return { json: { room: outside(id, { topic: 'x'.repeat(5_000_000) }), children: [], inaccessible_children: [] } };
    });
    assert.deepEqual(await roomsOf(ann, house), [house, kitchen]);
  }),
);

test(
  'a space elsewhere with a thousand children goes page by page without another question',
  onNetwork(['home.test'], async ([home], network) => {
    await using away = await play(network);
    const ann = await home.register('ann');
    const house = await newSpace(ann);
    const theirs = '!t:away.test';
    const ids = Array.from({ length: 1_200 }, (_, n) => `!c${String(n).padStart(4, '0')}:away.test`);
    knows(away, {
      [theirs]: {
        room: outsideSpace(
          theirs,
          ids.map((id) => linkTo(id)),
        ),
        children: ids.map((id) => outside(id)),
        inaccessible_children: [],
      },
    });
    await link(ann, house, theirs, { via: ['away.test'] });
    const found: string[] = [];
    let from: string | undefined;
    do {
      const page = expectOk(await walk(ann, house, { from }));
      found.push(...idsOf(page));
      from = page.next_batch;
    } while (from !== undefined && found.length < 2_000);
    assert.deepEqual(found, [house, theirs, ...ids.slice(0, 1_000)]);
    assert.equal(asked(away).length, 1);
  }),
);

test(
  'spaces elsewhere that never end are left where the walk is deep enough',
  onNetwork(['home.test'], async ([home], network) => {
    await using away = await play(network);
    const ann = await home.register('ann');
    const house = await newSpace(ann);
    await link(ann, house, '!s1:away.test', { via: ['away.test'] });
    away.answer('v1/hierarchy', ({ params: [id = ''] }) => {
      const next = `!s${Number(/\d+/.exec(id)) + 1}:away.test`;
      const room = outsideSpace(id, [linkTo(next), linkTo(house)]);
      return { json: { room, children: [outsideSpace(next, [])], inaccessible_children: [] } };
    });
    assert.equal((await roomsOf(ann, house, { max_depth: 10 })).length, 11);
    let from: string | undefined;
    let count = 0;
    do {
      const page = expectOk(await walk(ann, house, { from }));
      count += page.rooms.length;
      from = page.next_batch;
    } while (from !== undefined && count < 1_000);
    assert.equal(count, 101);
  }),
);

test(
  'members of two servers see one space, each by their own server',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const ann = await home.register('ann');
    const bob = await away.register('bob');
    const house = await newSpace(ann, { name: 'House' });
    const open = await newRoom(ann, { name: 'Open' });
    const members = await ann.createRoom({ name: 'Members', initial_state: [joinRule('restricted', [house])] });
    const secret = await newRoom(ann, { preset: 'private_chat' });
    for (const [n, id] of [open, members, secret].entries()) {
      await link(ann, house, id, { via: ['home.test'], order: `${n}` });
    }
    const garden = await newSpace(bob, { name: 'Garden' });
    await link(bob, garden, house, { via: ['home.test'] });

    const before = expectOk(await walk(bob, garden));
    assert.deepEqual(idsOf(before), [garden, house, open]);
    assert.equal(before.rooms[1].name, 'House');
    expectError(await walk(ann, garden), 403, 'M_FORBIDDEN');

    expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(house)}?via=home.test`));
    const after = expectOk(await walk(bob, house));
    assert.deepEqual(idsOf(after), [house, open, members]);
    assert.deepEqual(after.rooms[2].allowed_room_ids, [house]);
  }),
);

test(
  'who is invited to a space elsewhere may look into it before they come',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const ann = await home.register('ann');
    const bob = await away.register('bob');
    const eve = await away.register('eve');
    const house = await newSpace(ann, { preset: 'private_chat' });
    const open = await newRoom(ann);
    await link(ann, house, open, { via: ['home.test'] });
    expectError(await walk(bob, house), 403, 'M_FORBIDDEN');
    await ann.invite(house, bob.userId);
    assert.deepEqual(await roomsOf(bob, house), [house, open]);
    expectError(await walk(eve, house), 403, 'M_FORBIDDEN');
  }),
);

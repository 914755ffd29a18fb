import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { type AskOptions, ScriptedServer } from '../kit/scripted-server.ts';
import { type Answer, expectError, expectOk, type Json } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';
import { joinRule, link, newRoom, newSpace, walk } from './spaces-kit.ts';

/** Two servers, and what one of them that a test plays may ask of the first. */
const asked = (
  tell: (
    home: TestServer,
    away: TestServer,
    ask: (roomId: string, query?: string, options?: AskOptions) => Promise<Answer>,
  ) => Promise<void>,
): (() => Promise<void>) =>
  onNetwork(['home.test', 'away.test'], async ([home, away], network) => {
    await using peer = await ScriptedServer.start(network, {
      name: 'peer.test',
      key: generateSigningKey(systemRandom.bytes(32)),
    });
    await tell(home, away, (roomId, query = '', options = {}) =>
      peer.ask(
        home,
        'GET',
        `/_matrix/federation/v1/hierarchy/${encodeURIComponent(roomId)}${query}`,
        undefined,
        options,
      ),
    );
  });

const ids = (rooms: Json): string[] => rooms.map(({ room_id: id }: Json) => id);

test(
  'another server is told one level of a space: what it could join or read, and what it need not ask for',
  asked(async (home, _away, ask) => {
    const ann = await home.register('ann');
    const world = {
      type: 'm.room.history_visibility',
      state_key: '',
      content: { history_visibility: 'world_readable' },
    };
    const house = await newSpace(ann, { name: 'House' });
    const inner = await newSpace(ann);
    const rooms = {
      inner,
      open: await newRoom(ann),
      world: await ann.createRoom({ initial_state: [world] }),
      knock: await ann.createRoom({ initial_state: [joinRule('knock')] }),
      secret: await newRoom(ann, { preset: 'private_chat' }),
      ours: await newRoom(ann, { creation_content: { 'm.federate': false } }),
      restricted: await ann.createRoom({ initial_state: [joinRule('restricted', [house])] }),
    };
    for (const [n, id] of Object.values(rooms).entries()) {
      await link(ann, house, id, { order: `${n}`, suggested: id === rooms.knock });
    }
    await link(ann, house, '!unknown:peer.test', { order: '8', via: ['peer.test'] });
    await link(ann, house, house, { order: '9' });
    await link(ann, inner, await newRoom(ann));

    const answer = expectOk(await ask(house));
    assert.deepEqual(Object.keys(answer).sort(), ['children', 'inaccessible_children', 'room']);
    const { children_state: links, ...room } = answer.room;
    assert.deepEqual([room.name, room.room_type, links.length], ['House', 'm.space', 9]);
    assert.deepEqual(ids(answer.children), [inner, rooms.open, rooms.world, rooms.knock]);
    assert.deepEqual(answer.inaccessible_children, [rooms.secret, rooms.ours, rooms.restricted]);
    assert.ok(!('children_state' in answer.children[0]), 'of children their own are not told');

    const suggested = expectOk(await ask(house, '?suggested_only=true'));
    assert.deepEqual(ids(suggested.children), [rooms.knock]);
    assert.deepEqual([suggested.room.children_state.length, suggested.inaccessible_children], [1, []]);
    const plain = expectOk(await ask(rooms.open));
    assert.deepEqual([plain.room.children_state, plain.children], [[], []]);
  }),
);

test(
  'a room that another server could neither read nor join is not there for it',
  asked(async (home, _away, ask) => {
    const ann = await home.register('ann');
    const secret = await newSpace(ann, { preset: 'private_chat' });
    expectError(await ask(secret), 404, 'M_NOT_FOUND');
    expectError(await ask('!nowhere:home.test'), 404, 'M_NOT_FOUND');
    expectError(await ask(await newSpace(ann), '', { headers: {} }), 401, 'M_UNAUTHORIZED');
    const invites = await newSpace(ann, { preset: 'private_chat' });
    const barred = await newSpace(ann, {
      initial_state: [{ type: 'm.room.server_acl', state_key: '', content: { allow: ['*'], deny: ['peer.test'] } }],
    });
    expectError(await ask(invites), 404, 'M_NOT_FOUND');
    expectError(await ask(barred), 404, 'M_NOT_FOUND');
  }),
);

test(
  'a server is told of rooms that its users are in, were invited to, or may come into from where they are',
  asked(async (home, away) => {
    const ann = await home.register('ann');
    const bob = await away.register('bob');
    const entry = await newSpace(ann);
    const garden = await newSpace(bob);
    const members = await ann.createRoom({ initial_state: [joinRule('restricted', [entry])] });
    const invited = await newRoom(ann, { preset: 'private_chat' });
    const inner = await newSpace(ann);
    await link(bob, garden, inner, { via: ['home.test'] });
    await link(ann, inner, members, { via: ['home.test'], order: '1' });
    await link(ann, inner, invited, { via: ['home.test'], order: '2' });
    await ann.invite(invited, bob.userId);
    expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(entry)}?via=home.test`));
    const { rooms } = expectOk(await walk(bob, garden));
    assert.deepEqual(ids(rooms), [garden, inner, members, invited]);
  }),
);

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ScriptedServer } from '../kit/scripted-server.ts';
import { type Answer, expectError, expectOk, type TestClient } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import { outside } from './spaces-kit.ts';

const summarise = (who: TestClient, room: string, ...via: string[]): Promise<Answer> =>
  who.get(
    `/_matrix/client/v1/room_summary/${encodeURIComponent(room)}?${via.map((server) => `via=${encodeURIComponent(server)}`).join('&')}`,
  );

test(
  'a room of another server shows itself through the servers that a link names, or by its alias',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const ann = await home.register('ann');
    const bob = await away.register('bob');
    const garden = await ann.createRoom({ preset: 'public_chat', name: 'Garden', room_alias_name: 'garden' });
    const study = await ann.createRoom({ preset: 'private_chat', name: 'Study' });

    expectError(await summarise(bob, garden), 404, 'M_NOT_FOUND');
    expectError(await summarise(bob, garden, 'nowhere.test', 'no name!'), 404, 'M_NOT_FOUND');
    const summary = expectOk(await summarise(bob, garden, 'nowhere.test', 'home.test'));
    assert.deepEqual([summary.name, summary.membership, summary.num_joined_members], ['Garden', 'leave', 1]);
    assert.equal(summary.children_state, undefined);
    const { membership: _membership, ...rest } = summary;
    assert.deepEqual(expectOk(await summarise(away.anonymous(), '#garden:home.test')), rest);

    expectError(await summarise(bob, study, 'home.test'), 404, 'M_NOT_FOUND');
    const late = await ann.createRoom({ preset: 'private_chat', name: 'Late' });
    await ann.invite(late, bob.userId);
    assert.equal(expectOk(await summarise(bob, late)).membership, 'invite');
    expectError(await summarise(away.anonymous(), late, 'home.test'), 404, 'M_NOT_FOUND');
  }),
);

test(
  'whoever has others asked too often has to wait, those who are not logged in sooner',
  onNetwork(['home.test'], async ([home], network) => {
    await using away = await ScriptedServer.start(network, {
      name: 'away.test',
      key: generateSigningKey(systemRandom.bytes(32)),
    });
    away.answer('v1/hierarchy', ({ params: [id = ''] }) => ({
      json: { room: outside(id), children: [], inaccessible_children: [] },
    }));
    const ann = await home.register('ann');
    const local = await ann.createRoom({ preset: 'public_chat' });
    const anonymous = home.anonymous();
    for (let n = 0; n < 4; n += 1) expectOk(await summarise(anonymous, `!r${n}:away.test`, 'away.test'));
    expectError(await summarise(anonymous, '!r:away.test', 'away.test'), 429, 'M_LIMIT_EXCEEDED');
    expectOk(await summarise(anonymous, local));
    expectOk(await summarise(ann, '!r:away.test', 'away.test'));
  }),
);

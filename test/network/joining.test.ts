import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';

test('two people on two servers meet in a room by its alias and talk', async () => {
  await using set = await TestNetwork.start(['home.test', 'away.test']);
  const [home, away] = set.servers;
  const alice = await home.register('alice');
  const bob = await away.register('bob');
  const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'garden', name: 'Garden' });
  await alice.send(roomId, 'Is anybody there?');

  const bodies = async (who: typeof alice): Promise<string[]> => {
    const answer = expectOk(await who.get(`/_matrix/client/v3/rooms/${roomId}/messages`, { dir: 'b', limit: 50 }));
    return answer.chunk
      .filter((event: { type: string }) => event.type === 'm.room.message')
      .map((event: { content: { body: string } }) => event.content.body)
      .reverse();
  };

  assert.equal(await bob.join('#garden:home.test'), roomId);
  await alice.send(roomId, 'Welcome!');
  await eventually('Bob is welcome', async () => (await bodies(bob)).includes('Welcome!'));
  await bob.send(roomId, 'Nice to be here');

  const said = ['Is anybody there?', 'Welcome!', 'Nice to be here'];
  await eventually('Alice reads all', async () => (await bodies(alice)).length === said.length);
  await eventually('Bob reads all', async () => (await bodies(bob)).length === said.length);
  assert.deepEqual(await bodies(alice), said);
  assert.deepEqual(await bodies(bob), said);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import { cutAll, FORKED_VERSIONS, found, THREE_SERVERS, type Three, untilOneRoom } from './forked-room.ts';
import { membershipOf, roomPath, stateIds, untilAgreed } from './room-view.ts';

for (const version of FORKED_VERSIONS) {
  test(
    `three servers that could not hear each other agree about who has which power and place (room version ${version})`,
    onNetwork(THREE_SERVERS, async ([home, away, third], network) => {
      const people: Three = [await home.register('alice'), await away.register('bob'), await third.register('carol')];
      const [alice, bob, carol] = people;
      const dave = await home.register('dave');
      const erin = await third.register('erin');
      const roomId = await found(version, people, [dave, erin]);
      const levels = expectOk(await alice.get(roomPath(roomId, 'state/m.room.power_levels/')));
      await untilAgreed(people, roomId);

      cutAll(network);
      await alice.setState(roomId, 'm.room.topic', { topic: 'By Alice' });
      await alice.setState(roomId, 'm.room.power_levels', { ...levels, users: { ...levels.users, [carol.userId]: 0 } });
      await bob.setState(roomId, 'm.room.name', { name: 'By Bob' });
      expectOk(await bob.post(roomPath(roomId, 'ban'), { user_id: erin.userId }));
      await carol.setState(roomId, 'm.room.topic', { topic: 'By Carol' });
      expectOk(await carol.post(roomPath(roomId, 'kick'), { user_id: dave.userId }));
      await erin.send(roomId, 'Erin does not know yet');
      network.mendAll();

      const state = await untilOneRoom(roomId, people, 'is back');
      // Whoever had the power all along gets their way.
      assert.equal(await membershipOf(carol, roomId, erin.userId), 'ban');
      const { users } = expectOk(await bob.get(roomPath(roomId, 'state/m.room.power_levels/')));
      assert.equal(users[carol.userId], 0);
      assert.equal(expectOk(await carol.get(roomPath(roomId, 'state/m.room.name/'))).name, 'By Bob');
      if (version !== '1') {
        // What Carol did after she had lost her power, as far as the servers can tell, has no effect.
        assert.equal(expectOk(await carol.get(roomPath(roomId, 'state/m.room.topic/'))).topic, 'By Alice');
        assert.equal(await membershipOf(bob, roomId, dave.userId), 'join');
      }

      await third.restart();
      network.place('third.test', third);
      assert.deepEqual(await stateIds(carol, roomId), state);
    }),
  );
}

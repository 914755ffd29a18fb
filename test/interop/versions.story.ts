import assert from 'node:assert/strict';
import { expectError, expectOk } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { agree, everything, hears, joinVia, makePair, path, seesMembership, stateOf } from './pair.ts';

const story = makePair(import.meta.filename);

for (const roomVersion of ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12']) {
  story(`a room of version ${roomVersion} is the same on both servers`, async ({ home, away, tag }) => {
    const alice = await home.register(`alice-${tag}`);
    const bob = await away.register(`bob-${tag}`);
    const ben = await away.register(`ben-${tag}`);
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: roomVersion, name: 'Den' });
    await joinVia(bob, roomId, home);
    await joinVia(ben, roomId, home);
    for (const who of [bob, ben]) await seesMembership(alice, roomId, who.userId, 'join');
    assert.equal((await stateOf(bob, roomId, 'm.room.create')).room_version ?? '1', roomVersion);

    const slip = await bob.send(roomId, 'a slip');
    await hears(alice, roomId, 'a slip');
    expectOk(await alice.put(path`/rooms/${roomId}/redact/${slip}/r`, {}));
    for (const who of [alice, bob]) {
      await eventually('the slip is gone', async () => {
        const { content } = expectOk(await who.get(path`/rooms/${roomId}/event/${slip}`));
        return content.body === undefined;
      });
    }

    // Both sides change the same state at once: the algorithm of the version decides.
    const powers = await agree([alice, bob], roomId, 'm.room.power_levels');
    await alice.setState(roomId, 'm.room.power_levels', { ...powers, users: { ...powers.users, [bob.userId]: 60 } });
    await eventually('Bob has power', async () => {
      const { users } = await stateOf(bob, roomId, 'm.room.power_levels');
      return users[bob.userId] === 60;
    });
    await Promise.all([
      alice.setState(roomId, 'm.room.name', { name: 'Den of Alice' }),
      bob.setState(roomId, 'm.room.name', { name: 'Den of Bob' }),
      alice.post(path`/rooms/${roomId}/ban`, { user_id: ben.userId }),
      ben.send(roomId, 'my last word'),
    ]);
    await Promise.all([alice.send(roomId, 'alice is done'), bob.send(roomId, 'bob is done')]);
    for (const who of [alice, bob]) for (const name of ['alice', 'bob']) await hears(who, roomId, `${name} is done`);
    await agree([alice, bob], roomId, 'm.room.name');
    await seesMembership(bob, roomId, ben.userId, 'ban');
    expectError(
      await ben.put(path`/rooms/${roomId}/send/m.room.message/late`, { msgtype: 'm.text', body: 'but' }),
      403,
      'M_FORBIDDEN',
    );

    const whole = async (who: typeof alice): Promise<string> => {
      const state: { type: string; state_key: string; event_id: string }[] = expectOk(
        await who.get(path`/rooms/${roomId}/state`),
      );
      return state
        .map((event) => `${event.type} ${event.state_key} ${event.event_id}`)
        .sort()
        .join('\n');
    };
    await eventually('the whole state is the same', async () => (await whole(alice)) === (await whole(bob)));
    // In the shared history, too.
    // Whether a server shows what Ben said last depends on whether it heard of the ban before: only that may differ.
    const ids = async (who: typeof alice): Promise<Set<string>> => {
      const events = await everything(who, roomId);
      return new Set(events.filter((event) => event.sender !== ben.userId).map((event) => String(event.event_id)));
    };
    await eventually('both can page to the start', async () => {
      const [atHome, away] = [await ids(alice), await ids(bob)];
      return atHome.symmetricDifference(away).size === 0;
    });
  });
}

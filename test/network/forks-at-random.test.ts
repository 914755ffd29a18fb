import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import { cutAll, FORKED_VERSIONS, found, THREE_SERVERS, type Three, untilOneRoom } from './forked-room.ts';
import { roomPath } from './room-view.ts';

/** Chance that is the same each time (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What people do to a room without asking each other. What they may not do is refused to them, which is part of it. */
async function doSomething(
  who: TestClient,
  roomId: string,
  others: readonly TestClient[],
  roll: (below: number) => number,
): Promise<void> {
  const victim = others[roll(others.length)];
  assert.ok(victim !== undefined);
  const target = { user_id: victim.userId };
  const state = (type: string): string => roomPath(roomId, `state/${type}/`);
  switch (roll(9)) {
    case 0:
      await who.put(state('m.room.topic'), { topic: `Topic ${roll(1000)}` });
      break;
    case 1:
      await who.put(state('m.room.name'), { name: `Name ${roll(1000)}` });
      break;
    case 2:
      await who.post(roomPath(roomId, 'ban'), target);
      break;
    case 3:
      await who.post(roomPath(roomId, 'kick'), target);
      break;
    case 4:
      await who.post(roomPath(roomId, 'unban'), target);
      break;
    case 5:
      await who.post(roomPath(roomId, 'join'));
      await victim.post(roomPath(roomId, 'join'));
      break;
    case 6:
      await who.put(state('m.room.join_rules'), { join_rule: roll(2) === 0 ? 'public' : 'invite' });
      break;
    case 7: {
      const levels: Json = expectOk(await who.get(state('m.room.power_levels')));
      const users = { ...levels.users, [victim.userId]: [0, 25, 50][roll(3)] };
      await who.put(state('m.room.power_levels'), { ...levels, users, kick: [25, 50][roll(2)] });
      break;
    }
    default:
      await who.put(roomPath(roomId, `send/m.room.message/${roll(1_000_000)}`), { msgtype: 'm.text', body: 'Hm' });
  }
}

for (const [index, version] of FORKED_VERSIONS.entries()) {
  test(
    `whatever three servers do on their own, they agree about it afterwards (room version ${version})`,
    onNetwork(THREE_SERVERS, async ([home, away, third], network) => {
      const people: Three = [await home.register('alice'), await away.register('bob'), await third.register('carol')];
      const others = [await home.register('dave'), await away.register('erin'), await third.register('frank')];
      const roomId = await found(version, people, others);
      const roll = chance(4_711 + index);
      for (const round of ['one', 'two', 'three']) {
        cutAll(network);
        for (let step = 0; step < 12; step += 1) {
          const who = people[roll(3)];
          assert.ok(who !== undefined);
          await doSomething(who, roomId, others, roll);
        }
        network.mendAll();
        await untilOneRoom(roomId, people, `after round ${round}`);
      }
    }),
  );
}

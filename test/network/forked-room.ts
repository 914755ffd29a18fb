import { expectOk, type TestClient } from '../kit/test-client.ts';
import { eventually, type TestNetwork } from '../kit/test-network.ts';
import { listSaid, untilAgreed, untilMember } from './room-view.ts';

export const THREE_SERVERS = ['home.test', 'away.test', 'third.test'] as const;
/** One of each algorithm for resolving states, and those that most rooms have. */
export const FORKED_VERSIONS = ['1', '6', '10', '11', '12'];

/** Somebody on each server. */
export type Three = readonly [TestClient, TestClient, TestClient];

/** Nobody hears anybody. */
export function cutAll(network: TestNetwork): void {
  network.cut(THREE_SERVERS[0], THREE_SERVERS[1]);
  network.cut(THREE_SERVERS[0], THREE_SERVERS[2]);
  network.cut(THREE_SERVERS[1], THREE_SERVERS[2]);
}

/** A public room of Alice's that everybody is in; Bob has as much power as she can give, Carol half of that. */
export async function found(
  version: string,
  [alice, bob, carol]: Three,
  others: readonly TestClient[],
): Promise<string> {
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    room_version: version,
    power_level_content_override: {
      users: { ...(version === '12' ? {} : { [alice.userId]: 100 }), [bob.userId]: 100, [carol.userId]: 50 },
      events: { 'm.room.topic': 50, 'm.room.power_levels': 50 },
    },
  });
  const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`;
  for (const who of [bob, carol, ...others]) expectOk(await who.post(path));
  for (const who of [bob, carol, ...others]) await untilMember([alice, bob, carol], roomId, who.userId, 'join');
  return roomId;
}

/** After all that happened each says something that all the others hear; then they agree about everything. */
export async function untilOneRoom(roomId: string, people: Three, round: string): Promise<Record<string, string>> {
  // Each speaks when they have heard whoever spoke before.
  for (const who of people) {
    const body = `${who.userId} ${round}`;
    await who.send(roomId, body);
    for (const other of people) {
      await eventually(`${other.userId} hears ${body}`, async () => (await listSaid(other, roomId)).includes(body));
    }
  }
  return untilAgreed(people, roomId);
}

import type { Measured } from './house-messages.ts';
import { type HouseOptions, HouseProcess } from './house-process.ts';
import { enterRoom, type Inbound, measureInbound } from './inbound.ts';
import { PlayedRoom } from './played-room.ts';
import type { PlayedServers } from './played-servers.ts';

/** Servers that the members of a large room are on. */
const SERVERS = 100;

export interface Join {
  /** Until the answer to the user's join. */
  readonly answeredMs: number;
  /** Until a message of theirs is in the room as well. */
  readonly usableMs: number;
  readonly measured: Measured;
  /** How events that conflict are taken in the room afterwards. */
  readonly conflicts: Inbound;
}

/** The first room of a new house: one of other servers with that many members. */
export async function measureJoin(
  peers: PlayedServers,
  { members, conflicts }: { readonly members: number; readonly conflicts: number },
  options: HouseOptions,
): Promise<Join> {
  await using house = await HouseProcess.start(peers, options);
  const client = await house.register('alice');
  // What happens only once in the life of a process is no part of what a large room costs.
  const warm = new PlayedRoom({ members: 5, servers: 1 });
  peers.show(warm);
  await enterRoom(client, warm);

  const room = new PlayedRoom({ members, servers: SERVERS });
  peers.show(room);
  await house.reset();
  const start = performance.now();
  await enterRoom(client, room);
  const answeredMs = performance.now() - start;
  await client.json('PUT', `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/send/m.room.message/1`, {
    msgtype: 'm.text',
    body: 'Hello',
  });
  const usableMs = performance.now() - start;
  const measured = await house.read();
  // The house is still busy with the newcomers, and sees the conflicts of the room for the first time.
  await measureInbound(house, client, [room], { count: conflicts, shape: 'state forks' });
  const inbound = await measureInbound(house, client, [room], { count: conflicts, shape: 'state forks' });
  client.close();
  return { answeredMs, usableMs, measured, conflicts: inbound };
}

import type { LeanClient } from '../server-process.ts';
import type { Measured } from './house-messages.ts';
import type { HouseProcess } from './house-process.ts';
import { enterRoom, writeEvents } from './inbound.ts';
import { PlayedRoom } from './played-room.ts';
import type { PlayedServers } from './played-servers.ts';

export const HISTORY = 500;
const PAGE = 100;

/** Pages back through messages from before the house came into the room, ms. */
export async function measureBackfill(
  house: HouseProcess,
  peers: PlayedServers,
  client: LeanClient,
): Promise<{ ms: number; measured: Measured }> {
  const room = new PlayedRoom({ members: 100, servers: 1 });
  writeEvents(room, HISTORY + PAGE, 'chain');
  peers.show(room);
  await enterRoom(client, room);
  await house.reset();
  const start = performance.now();
  const seen = new Set<string>();
  let from = '';
  while (seen.size < HISTORY) {
    const query = `dir=b&limit=${PAGE}&filter=${encodeURIComponent('{"types":["m.room.message"]}')}${from}`;
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/messages?${query}`;
    const { chunk, end } = await client.json('GET', path);
    for (const { event_id: id } of chunk) seen.add(id);
    if (end === undefined) break;
    from = `&from=${encodeURIComponent(end)}`;
  }
  const ms = performance.now() - start;
  if (seen.size < HISTORY) throw new Error(`only ${seen.size} of ${HISTORY} messages came`);
  return { ms, measured: await house.read() };
}

import { median } from '../figures.ts';
import type { LeanClient } from '../server-process.ts';
import type { Measured } from './house-messages.ts';
import type { HouseProcess } from './house-process.ts';
import { enterRoom } from './inbound.ts';
import { peerName, PlayedRoom } from './played-room.ts';
import type { PlayedServers } from './played-servers.ts';

export const DESTINATIONS = 100;
export const DEAD = 30;
export const EVENTS = 200;

interface Sends {
  /** One after the other, ms each (median). */
  readonly sendMs: number;
  readonly measured: Measured;
}

export interface Outbound {
  /** The same sends in a room without anybody else. */
  readonly alone: Sends;
  readonly sends: Sends;
  /** From the first send until every server that lives has every event, ms. */
  readonly deliveredMs: number;
  /** Until the end of that. */
  readonly measured: Measured;
}

/** Messages in a room of a hundred servers, of which thirty are dead: in three ways, ten each. */
export async function measureOutbound(
  house: HouseProcess,
  peers: PlayedServers,
  client: LeanClient,
): Promise<Outbound> {
  const { room_id: ownRoom } = await client.json('POST', '/_matrix/client/v3/createRoom', { preset: 'private_chat' });
  const room = new PlayedRoom({ members: 2 * DESTINATIONS, servers: DESTINATIONS });
  peers.show(room);
  await enterRoom(client, room);
  // The way to each is known, as it is between servers that have a room in common.
  await send(client, room.roomId, 1);
  const names = Array.from({ length: DESTINATIONS }, (_, n) => peerName(n));
  await delivered(peers, names, 1);
  const dead = names.slice(1, 1 + DEAD);
  await house.lose(dead);
  peers.lose(dead);

  const alone = await timeSends(house, client, ownRoom);
  const living = names.filter((name) => !dead.includes(name));
  peers.received.clear();
  const start = performance.now();
  const sends = await timeSends(house, client, room.roomId);
  await delivered(peers, living, EVENTS);
  const deliveredMs = performance.now() - start;
  return { alone, sends, deliveredMs, measured: await house.read() };
}

async function timeSends(house: HouseProcess, client: LeanClient, roomId: string): Promise<Sends> {
  await house.reset();
  const spent = await send(client, roomId, EVENTS);
  return { sendMs: median(spent), measured: await house.read() };
}

let sent = 0;

async function send(client: LeanClient, roomId: string, count: number): Promise<number[]> {
  const spent: number[] = [];
  for (let n = 0; n < count; n += 1) {
    sent += 1;
    const start = performance.now();
    await client.json('PUT', `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${sent}`, {
      msgtype: 'm.text',
      body: `Message number ${n}`,
    });
    spent.push(performance.now() - start);
  }
  return spent;
}

/** Waits until each of these servers has got so many events. */
function delivered(peers: PlayedServers, names: readonly string[], count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      const lacking = names.filter((name) => (peers.received.get(name) ?? 0) < count);
      reject(new Error(`${lacking.length} servers did not get all events`));
    }, 120_000);
    const look = (): void => {
      if (!names.every((name) => (peers.received.get(name) ?? 0) >= count)) return;
      clearTimeout(late);
      peers.onReceived = undefined;
      resolve();
    };
    peers.onReceived = look;
    look();
  });
}

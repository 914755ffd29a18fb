import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import type { LeanClient } from '../server-process.ts';
import type { Measured } from './house-messages.ts';
import { type HouseProcess, makeTransaction, PeerConnection } from './house-process.ts';
import { message, peerName, type PlayedRoom } from './played-room.ts';
import type { PlayedServers } from './played-servers.ts';

/** As many as a transaction may have. */
const PDUS = 50;
const ORIGIN = peerName(0);
const POLL_MS = 3;

/** How the events of a room follow one another. */
export type Shape =
  | 'chain'
  /** Every tenth and the one after it are side by side, and what follows follows both. */
  | 'forks'
  /** The same, and those side by side set the same state. */
  | 'state forks';

export async function enterRoom(client: LeanClient, { roomId }: PlayedRoom): Promise<void> {
  const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=${ORIGIN}`;
  await client.json('POST', path, {});
}

/** `count` more events of a room. */
export function writeEvents(room: PlayedRoom, count: number, shape: Shape): RoomEvent[] {
  const written: RoomEvent[] = [];
  const sender = room.creator;
  while (written.length < count) {
    const n = written.length;
    if (shape === 'chain' || n % 10 !== 0 || n === count - 1) {
      written.push(room.send(message(sender, n)));
      continue;
    }
    const prev = room.latest;
    const side = ['left', 'right'].map((way) =>
      room.build(
        shape === 'forks'
          ? message(sender, n)
          : { type: 'm.room.topic', sender, stateKey: '', content: { topic: `${way} ${n}` } },
        prev,
      ),
    );
    room.take(...side);
    written.push(...side);
  }
  return written;
}

export interface Inbound {
  /** From the first transaction until the last event can be read by a user. */
  readonly perSecond: number;
  readonly measured: Measured;
}

/** Sends events of rooms that the house is in, in turns of the rooms, and waits until the last of each can be read. */
export async function measureInbound(
  house: HouseProcess,
  reader: LeanClient,
  rooms: readonly PlayedRoom[],
  { count, shape }: { readonly count: number; readonly shape: Shape },
): Promise<Inbound> {
  const perRoom = rooms.map((room) => writeEvents(room, Math.ceil(count / rooms.length), shape));
  const pdus: JsonObject[] = [];
  for (let n = 0; pdus.length < count; n += 1) {
    const turn = perRoom.flatMap((events) => events[n] ?? []);
    if (turn.length === 0) break;
    pdus.push(...turn.map(({ pdu }) => pdu));
  }
  const ready = [];
  for (let at = 0; at < pdus.length; at += PDUS) ready.push(makeTransaction(ORIGIN, pdus.slice(at, at + PDUS)));
  const connection = new PeerConnection(house.port);
  await house.reset();
  const start = performance.now();
  for (const transaction of ready) await connection.send(transaction);
  for (const [index, room] of rooms.entries()) {
    const last = perRoom[index]?.at(-1);
    if (last !== undefined) await waitFor(reader, room, last);
  }
  const seconds = (performance.now() - start) / 1000;
  const measured = await house.read();
  connection.close();
  return { perSecond: pdus.length / seconds, measured };
}

async function waitFor(reader: LeanClient, { roomId }: PlayedRoom, { eventId }: RoomEvent): Promise<void> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`;
  const deadline = performance.now() + 120_000;
  for (;;) {
    const { status, text } = await reader.send('GET', path);
    if (status === 200) return;
    if (performance.now() > deadline) throw new Error(`an event did not arrive: ${status} ${text}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Shows rooms to the world and has somebody of the house join them. */
export async function enterRooms(
  peers: PlayedServers,
  client: LeanClient,
  rooms: readonly PlayedRoom[],
): Promise<void> {
  for (const room of rooms) {
    peers.show(room);
    await enterRoom(client, room);
  }
}

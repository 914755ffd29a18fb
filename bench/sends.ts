import { statSync } from 'node:fs';
import { median } from './figures.ts';
import { LeanClient, registerUser } from './server-process.ts';

const CONNECTIONS = 16;

function message(n: number): object {
  return {
    msgtype: 'm.text',
    body: `Message number ${n}: shall we have dinner at eight, or is that too late for you?`,
  };
}

async function makeRoom(port: number, token: string): Promise<string> {
  const client = new LeanClient(port, token);
  const { room_id: roomId } = await client.json('POST', '/_matrix/client/v3/createRoom', { preset: 'private_chat' });
  client.close();
  return roomId;
}

const sendPath = (roomId: string, txn: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${txn}`;

/** One message after the other: ms each (median). Then as many as go over 16 connections: per second. */
export async function measureSends(port: number): Promise<{ oneMs: number; perSecond: number }> {
  const { token } = await registerUser(port, 'sender');
  const roomId = await makeRoom(port, token);
  const client = new LeanClient(port, token);
  for (let n = 0; n < 500; n += 1) await client.json('PUT', sendPath(roomId, `warm${n}`), message(n));
  const spent: number[] = [];
  for (let n = 0; n < 1_000; n += 1) {
    const start = performance.now();
    await client.json('PUT', sendPath(roomId, `one${n}`), message(n));
    spent.push(performance.now() - start);
  }
  const clients = Array.from({ length: CONNECTIONS }, () => new LeanClient(port, token));
  const total = 12_000;
  const started = performance.now();
  await Promise.all(
    clients.map(async (each, c) => {
      for (let n = 0; n < total / CONNECTIONS; n += 1)
        await each.json('PUT', sendPath(roomId, `c${c}n${n}`), message(n));
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  for (const each of [client, ...clients]) each.close();
  return { oneMs: median(spent), perSecond: total / seconds };
}

/** From sending a message to its arrival in somebody else's waiting /sync, ms (median). */
export async function measureWakeUp(port: number): Promise<number> {
  const alice = await registerUser(port, 'wakealice');
  const bob = await registerUser(port, 'wakebob');
  const sender = new LeanClient(port, alice.token);
  const waiter = new LeanClient(port, bob.token);
  const { room_id: roomId } = await sender.json('POST', '/_matrix/client/v3/createRoom', { preset: 'public_chat' });
  await waiter.json('POST', `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, {});
  let since: string = (await waiter.json('GET', '/_matrix/client/v3/sync')).next_batch;
  const spent: number[] = [];
  for (let n = 0; n < 300; n += 1) {
    const waiting = waiter.json('GET', `/_matrix/client/v3/sync?timeout=30000&since=${since}`);
    // The request has to be waiting before the message comes, or what is measured is no wake-up.
    await new Promise((resolve) => setTimeout(resolve, 3));
    const start = performance.now();
    await sender.json('PUT', sendPath(roomId, `wake${n}`), message(n));
    const answer = await waiting;
    spent.push(performance.now() - start);
    since = answer.next_batch;
  }
  sender.close();
  waiter.close();
  return median(spent);
}

/** Bytes the database grows by for each ordinary message, all indexes in, over 10,000 of them. */
export async function measureBytes(port: number, database: string, checkpoint: () => Promise<void>): Promise<number> {
  const { token } = await registerUser(port, 'writer');
  const roomId = await makeRoom(port, token);
  await checkpoint();
  const before = statSync(database).size;
  const total = 10_000;
  const clients = Array.from({ length: CONNECTIONS }, () => new LeanClient(port, token));
  await Promise.all(
    clients.map(async (client, c) => {
      for (let n = 0; n < total / CONNECTIONS; n += 1)
        await client.json('PUT', sendPath(roomId, `b${c}n${n}`), message(n));
    }),
  );
  for (const client of clients) client.close();
  await checkpoint();
  return (statSync(database).size - before) / total;
}

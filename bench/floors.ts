/** What this machine needs for the bare things under everything: a commit, a signature, a reply. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import Koa from 'koa';
import { generateSigningKey, signText } from '../server/matrix/signing.ts';
import { systemRandom } from '../server/util/random.ts';
import { median } from './figures.ts';
import { LeanClient } from './server-process.ts';

const EVENT_BYTES = 700;

/** One insert of an event's size with its commit to disk, ms (median); and the bytes such a row takes in the file. */
export function measureCommit(): { ms: number; bytes: number } {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-floor-'));
  const db = new Sqlite(join(dir, 'floor.db'));
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec('CREATE TABLE floor (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT');
  const insert = db.prepare('INSERT INTO floor (body) VALUES (?)');
  const body = 'x'.repeat(EVENT_BYTES);
  const spent: number[] = [];
  for (let n = 0; n < 2_000; n += 1) {
    const start = performance.now();
    insert.run(body);
    spent.push(performance.now() - start);
  }
  db.close();
  const { size } = statSync(join(dir, 'floor.db'));
  rmSync(dir, { recursive: true, force: true });
  return { ms: median(spent), bytes: size / spent.length };
}

/** One Ed25519 signature, ms (median). */
export function measureSignature(): number {
  const key = generateSigningKey(systemRandom.bytes(32));
  const text = 'x'.repeat(EVENT_BYTES);
  const spent: number[] = [];
  for (let n = 0; n < 5_000; n += 1) {
    const start = performance.now();
    signText(text, key);
    spent.push(performance.now() - start);
  }
  return median(spent);
}

/** A small JSON reply of bare Koa in this process: one connection, ms (median); and per second over 16. */
export async function measureReply(): Promise<{ oneMs: number; perSecond: number }> {
  const app = new Koa();
  app.use((ctx) => {
    ctx.body = { event_id: '$0123456789abcdef' };
  });
  const server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const one = new LeanClient(port);
  const spent: number[] = [];
  for (let n = 0; n < 3_000; n += 1) {
    const start = performance.now();
    await one.send('PUT', '/', { body: 'x' });
    spent.push(performance.now() - start);
  }
  const started = performance.now();
  const total = 16_000;
  const clients = Array.from({ length: 16 }, () => new LeanClient(port));
  await Promise.all(
    clients.map(async (client) => {
      for (let n = 0; n < total / 16; n += 1) await client.send('PUT', '/', { body: 'x' });
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  for (const client of [one, ...clients]) client.close();
  await new Promise((resolve) => server.close(resolve));
  return { oneMs: median(spent), perSecond: total / seconds };
}

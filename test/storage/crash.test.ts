import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openDatabase } from '../../server/storage/database.ts';
import { FollowerRunner } from '../../server/storage/followers.ts';
import { silentLogger } from '../../server/util/log.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { CopyFollower, copies } from './copy-follower.ts';
import { notes, temporaryFolder } from './temporary.ts';

const ROUNDS = 20;

test('a killed server loses nothing it acknowledged, gives no position twice and follows everything once', async (t) => {
  const path = join(temporaryFolder(t), 'homeserver.db');
  const acknowledged = new Map<string, number>();
  const handedOut = new Set<number>();
  let newest = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    // Each round ends at another moment of the work; some long enough to cross a reservation of positions.
    for (const line of await runUntilKilled(path, round, 30 + round * 97)) {
      const [what, first = '', second = ''] = line.split(' ');
      if (what === 'follow') continue;
      const position = Number(what === 'write' ? second : first);
      if (what === 'write') acknowledged.set(first, position);
      assert.ok(!handedOut.has(position), `position ${position} was handed out twice, in round ${round}`);
      handedOut.add(position);
      newest = Math.max(newest, position);
    }

    const db = openDatabase({ path, migrations: [notes, copies], log: silentLogger });
    assert.ok(db.position() >= newest);
    const sources = db.prepareRead<{ position: number; body: string }>('SELECT position, body FROM sources').list();
    const found = new Map(sources.map((row) => [row.body, row.position]));
    for (const [body, position] of acknowledged) assert.equal(found.get(body), position, body);
    // Every other time the next server finds the database as the crash left it.
    if (round % 2 === 0) await followToTheEnd(db);
    await db.close();
  }

  const db = openDatabase({ path, migrations: [notes, copies], log: silentLogger });
  await followToTheEnd(db);
  const bodies = (table: string): string[] =>
    db
      .prepareRead<{ body: string }>(`SELECT body FROM ${table} ORDER BY body`)
      .list()
      .map((row) => row.body);
  assert.deepEqual(bodies('copies'), bodies('sources'));
  assert.ok(acknowledged.size > ROUNDS);
  assert.deepEqual(db.integrityCheck(), []);
  await db.close();
});

async function followToTheEnd(db: ReturnType<typeof openDatabase>): Promise<void> {
  const followers = [new CopyFollower(db, () => {})];
  const runner = new FollowerRunner({ db, followers, log: silentLogger, clock: new ManualClock() });
  runner.start();
  await runner.idle();
  await runner.stop();
}

/** Runs the child until it has said `lines` lines, kills it at once, and returns all that it had said by then. */
async function runUntilKilled(path: string, round: number, lines: number): Promise<string[]> {
  const script = fileURLToPath(new URL('crash-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, path, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (said.length === lines) child.kill('SIGKILL');
  }
  const [, signal] = await closed;
  assert.equal(signal, 'SIGKILL', 'the child ended on its own');
  return said;
}

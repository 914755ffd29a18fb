import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import { hearth } from '../cli/processes.ts';
import { type Answer, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { ServerProcess } from './server-process.ts';

const BLOCK_BYTES = 512;
/** What the write-ahead log may grow to beyond the size of the database: less than what makes SQLite empty it. */
const ROOM_TO_WRITE = 400_000;

/** Starts the server on the data of one that was stopped, with files that cannot grow beyond some size. */
async function beginConfined(
  t: TestContext,
  { dir, baseUrl, databasePath }: ServerProcess,
): Promise<() => Promise<void>> {
  const cli = fileURLToPath(new URL('../../server/cli.ts', import.meta.url));
  const blocks = Math.ceil((statSync(databasePath).size + ROOM_TO_WRITE) / BLOCK_BYTES);
  const child = spawn(
    '/bin/sh',
    [
      '-c',
      `ulimit -f ${blocks} && exec "$0" "$@"`,
      process.execPath,
      cli,
      'serve',
      '--config',
      join(dir, 'homeserver.yaml'),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const closed = once(child, 'close');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await closed;
  };
  t.after(kill);
  let output = '';
  const ready = Promise.withResolvers<void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.includes(baseUrl)) ready.resolve();
    });
  }
  child.once('close', () => ready.reject(new Error(`the server ended:\n${output}`)));
  await ready.promise;
  return kill;
}

function sendNumber(client: TestClient, roomId: string, number: number): Promise<Answer> {
  const body = `${number} ${'x'.repeat(20_000)}`;
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/n${number}`;
  return client.put(path, { msgtype: 'm.text', body, number });
}

/**
 * What is read: also when the disk is full. A reply waits for what is being written in its moment, which it may have read, and
 * is refused with that; whoever asks again is answered.
 */
async function read(ask: () => Promise<Answer>): Promise<Json> {
  for (let tries = 1; ; tries += 1) {
    const answer = await ask();
    if (answer.status !== 500 || tries === 5) return expectOk(answer);
  }
}

/** The numbers of all messages of the room, newest first, with their event IDs. */
async function listNumbers(client: TestClient, roomId: string): Promise<[number, string][]> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages`;
  const { chunk } = await read(() => client.get(path, { dir: 'b', limit: 500 }));
  return chunk
    .filter(({ type }: Json) => type === 'm.room.message')
    .map(({ content, event_id }: Json) => [content.number, event_id]);
}

test('a server without space refuses to write, shows nothing half-written, and goes on when there is space', async (t) => {
  if (process.platform === 'win32') {
    t.diagnostic('the size of files cannot be limited on Windows; test/storage has a full database in one process');
    return;
  }
  await using server = await ServerProcess.start();
  const anna = await server.register('anna');
  const ben = await server.register('ben');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await ben.join(roomId);
  const { next_batch: since } = await ben.sync();
  await server.stop();

  const kill = await beginConfined(t, server);
  const answered: [number, string][] = [];
  // What is written along with a message differs: one that was refused may fit when it comes again by itself.
  let refusals = 0;
  for (let number = 1; number < 200 && refusals < 5; ) {
    const answer = await sendNumber(anna, roomId, number);
    if (answer.status === 200) {
      answered.unshift([number, answer.body.event_id]);
      number += 1;
      refusals = 0;
      continue;
    }
    refusals += 1;
    assert.ok(answer.status >= 500 && answer.status < 600, `status ${answer.status}`);
    assert.equal(answer.body.errcode, 'M_UNKNOWN');
    assert.doesNotMatch(
      JSON.stringify(answer.body),
      /SQLITE|homeserver\.db/,
      'what is wrong inside is not for clients',
    );
  }
  assert.ok(answered.length > 3, 'there was some space');
  assert.equal(refusals, 5, 'it came to an end');

  // It is refused for as long as that lasts, and what was there can be read: what was answered, and not a bit more.
  const next = answered.length + 1;
  assert.deepEqual(await listNumbers(ben, roomId), answered);
  const news = await read(() => ben.get('/_matrix/client/v3/sync', { since }));
  assert.equal(news.rooms.join[roomId].timeline.events.at(-1).event_id, answered[0]?.[1]);

  // Copying the log back into the database and emptying it makes space.
  const other = new Sqlite(server.databasePath);
  other.pragma('wal_checkpoint(TRUNCATE)');
  other.close();
  const eventId: string = (await read(() => sendNumber(anna, roomId, next))).event_id;
  assert.equal(expectOk(await sendNumber(anna, roomId, next)).event_id, eventId, 'one transaction, one event');
  answered.unshift([next, eventId]);
  assert.deepEqual(await listNumbers(ben, roomId), answered);
  const later = await read(() => ben.get('/_matrix/client/v3/sync', { since: news.next_batch }));
  assert.deepEqual(
    later.rooms.join[roomId].timeline.events.map(({ event_id }: Json) => event_id),
    [eventId],
  );

  await kill();
  await server.begin();
  assert.deepEqual(await listNumbers(ben, roomId), answered, 'and all of that is on the disk');
  assert.equal(expectOk(await sendNumber(anna, roomId, next)).event_id, eventId);
  // What is small may still fit: then it begins anew.
  const trouble = readTrouble(server.dir);
  assert.ok(
    trouble.length > 0 && trouble.length % 2 === 0,
    `the log has an end to each trouble: ${trouble.join(', ')}`,
  );
  for (const [at, sentence] of trouble.entries()) {
    assert.equal(sentence, at % 2 === 0 ? 'storage failed' : 'storage works again', 'and not each refusal');
  }
  await server.stop();
});

function readTrouble(dir: string): string[] {
  const lines = readFileSync(join(dir, 'hearth.log'), 'utf8').trimEnd().split('\n');
  return lines.map((line): string => JSON.parse(line).msg).filter((sentence) => sentence.startsWith('storage '));
}

/** Runs `serve` on the data of a server that does not run, or must not come to run, to its end. */
async function failedStart(t: TestContext, { dir }: ServerProcess): Promise<string> {
  const { code, out, err } = await hearth(t, ['serve', '--config', join(dir, 'homeserver.yaml')]);
  assert.equal(code, 1, out + err);
  assert.doesNotMatch(out, /Clients connect to/);
  assert.match(err, /^The server could not be started: [^\n]+\n$/, 'one line, and no trace of calls');
  assert.ok(err.includes(join(dir, 'homeserver.db')), err);
  return err;
}

test('a second server on the same data does not start, and the first one does not notice', async (t) => {
  await using server = await ServerProcess.start();
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  assert.match(await failedStart(t, server), /another Hearth server is already using this database/);
  await anna.send(roomId, 'Still here');
  await server.stop();
});

test('a server whose database another program holds does not start, and does when it is let go', async (t) => {
  await using server = await ServerProcess.start();
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  await server.stop();

  const other = new Sqlite(server.databasePath);
  t.after(() => other.close());
  other.pragma('locking_mode = EXCLUSIVE');
  other.exec('BEGIN EXCLUSIVE');
  assert.match(await failedStart(t, server), /another process holds the database/);
  other.exec('ROLLBACK');
  other.close();
  await server.begin();
  await anna.send(roomId, 'Back again');
  await server.stop();
});

test('a server whose database is damaged does not start, says so, and leaves the file as it is', async (t) => {
  await using server = await ServerProcess.start();
  await server.register('anna');
  await server.stop();
  const { databasePath } = server;
  // Whoever closes the file last puts everything into it, which a server that is ended by force (Windows) does not.
  const closing = new Sqlite(databasePath);
  closing.pragma('wal_checkpoint(TRUNCATE)');
  closing.close();
  const whole = readFileSync(databasePath);

  const nonsense = Buffer.from('This is my shopping list. '.repeat(1_000));
  const damages: [string, () => void][] = [
    ['something else', () => writeFileSync(databasePath, nonsense)],
    ['its beginning alone', () => truncateSync(databasePath, 6_000)],
    [
      'another beginning',
      () => writeFileSync(databasePath, Buffer.concat([nonsense.subarray(0, 4096), whole.subarray(4096)])),
    ],
  ];
  for (const [what, damage] of damages) {
    writeFileSync(databasePath, whole);
    damage();
    const damaged = readFileSync(databasePath);
    assert.match(await failedStart(t, server), /damaged.*restore it from a backup/, what);
    assert.deepEqual(readFileSync(databasePath), damaged, what);
    assert.equal(existsSync(`${databasePath}-wal`), false, what);
  }

  // A backup put in its place is all it takes.
  writeFileSync(databasePath, whole);
  await server.begin();
  await server.register('ben');
  await server.stop();
});

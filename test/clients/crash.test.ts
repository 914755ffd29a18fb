import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { allMigrations } from '../../server/compose.ts';
import { isServerName } from '../../server/matrix/identifiers.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { createRooms } from '../../server/rooms/rooms.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { ServerProcess } from './server-process.ts';

const ROUNDS = 20;
const SENDERS = 16;
const ROOMS = 3;
const PAGE = 500;

/** One connection's worth of sending: one message after the other, each with a number of its own. */
class Sender {
  readonly name: string;
  readonly roomId: string;
  readonly #client: TestClient;
  /** Number → event ID of what was answered. */
  readonly answered = new Map<number, string>();
  #next = 1;

  constructor(name: string, client: TestClient, roomId: string) {
    this.name = name;
    this.#client = client;
    this.roomId = roomId;
  }

  /** Sends until the server is gone. What was not answered is what it begins with the next time. */
  async sendOn(onAnswer: () => void): Promise<void> {
    for (;;) {
      const eventId = await this.#send(this.#next);
      if (eventId === undefined) return;
      this.answered.set(this.#next, eventId);
      this.#next += 1;
      onAnswer();
    }
  }

  /** Repeats the last request that was answered, and sends the one that was not. */
  async catchUp(): Promise<void> {
    const last = this.#next - 1;
    if (last > 0) assert.equal(await this.#send(last), this.answered.get(last), 'a repeated request gives one event');
    const eventId = await this.#send(this.#next);
    assert.ok(eventId !== undefined, 'the server is there');
    this.answered.set(this.#next, eventId);
    this.#next += 1;
  }

  async #send(number: number): Promise<string | undefined> {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(this.roomId)}/send/m.room.message/${this.name}-${number}`;
    const content = { msgtype: 'm.text', body: `${this.name} says ${number}`, sender: this.name, number };
    let answer: Awaited<ReturnType<TestClient['put']>>;
    try {
      answer = await this.#client.put(path, content);
    } catch (error) {
      // That is how fetch says that the connection failed.
      if (error instanceof TypeError) return undefined;
      throw error;
    }
    return expectOk(answer).event_id;
  }
}

/** Every event of a room, oldest first. */
async function readAll(client: TestClient, roomId: string): Promise<Json[]> {
  const events: Json[] = [];
  let from: string | undefined;
  for (;;) {
    const query = { dir: 'f', limit: PAGE, ...(from === undefined ? {} : { from }) };
    const page = expectOk(await client.get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages`, query));
    events.push(...page.chunk);
    from = page.end;
    if (from === undefined) return events;
  }
}

/** The stored rooms as the server itself checks them, and the file as SQLite does. */
async function findDamage(path: string): Promise<unknown[]> {
  const file = new Sqlite(path, { readonly: true });
  const integrity = file.pragma('integrity_check', { simple: true });
  const foreignKeys = file.pragma('foreign_key_check');
  file.close();
  const serverName = 'hearth.test';
  assert.ok(isServerName(serverName));
  const db = openDatabase({ path, migrations: allMigrations, log: silentLogger });
  const rooms = createRooms({
    db,
    clock: systemClock,
    log: silentLogger,
    serverName,
    signingKey: generateSigningKey(randomBytes(32)),
    projections: [],
  });
  const found = rooms.checkConsistency();
  await db.close();
  return [...(integrity === 'ok' ? [] : [integrity]), ...(Array.isArray(foreignKeys) ? foreignKeys : []), ...found];
}

test('whenever the server is killed, what it has acknowledged is there, once and in order', async () => {
  await using server = await ServerProcess.start();
  const people: TestClient[] = [];
  for (const name of ['ann', 'bob', 'carol', 'dave']) people.push(await server.register(name));
  const [ann] = people;
  assert.ok(ann !== undefined);
  const roomIds: string[] = [];
  for (let room = 0; room < ROOMS; room += 1) {
    const roomId = await ann.createRoom({ preset: 'public_chat' });
    for (const person of people.slice(1)) await person.join(roomId);
    roomIds.push(roomId);
  }
  const senders = Array.from({ length: SENDERS }, (_, n) => {
    const client = people[n % people.length] ?? ann;
    return new Sender(`s${n}`, client, roomIds[n % ROOMS] ?? '');
  });

  for (let round = 0; round < ROUNDS; round += 1) {
    const { promise: busy, resolve } = Promise.withResolvers<void>();
    let left = randomInt(1, 300);
    const sending = senders.map((sender) =>
      sender.sendOn(() => {
        left -= 1;
        if (left === 0) resolve();
      }),
    );
    // A refusal ends the test, not its patience.
    await Promise.race([busy, Promise.all(sending)]);
    // The moment must not always be that of an answer.
    await pause(randomInt(0, 10));
    await server.kill();
    await Promise.all(sending);
    await server.begin();
    await Promise.all(senders.map((sender) => sender.catchUp()));
  }

  let total = 0;
  for (const roomId of roomIds) {
    const events = await readAll(ann, roomId);
    assert.equal(new Set(events.map((event) => event.event_id)).size, events.length, 'no event comes twice');
    for (const sender of senders.filter((candidate) => candidate.roomId === roomId)) {
      const stored = events.filter(({ content }) => content.sender === sender.name);
      assert.deepEqual(
        stored.map(({ content, event_id: id }) => [content.number, id]),
        [...sender.answered],
        `what ${sender.name} sent`,
      );
      total += stored.length;
    }
  }
  assert.ok(total >= ROUNDS * SENDERS);
  await server.stop();
  assert.deepEqual(await findDamage(server.databasePath), []);
});

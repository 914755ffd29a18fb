import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { allMigrations, compose } from '../../server/compose.ts';
import { createHttpServer } from '../../server/http/server.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { FollowerRunner } from '../../server/storage/followers.ts';
import { systemClock } from '../../server/util/clock.ts';
import { systemRandom } from '../../server/util/random.ts';
import { load } from '../config/files.ts';
import { type Answer, expectError, expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { Notes, notes, recordingLogger, temporaryFolder } from './temporary.ts';

/** Pages of 4 KiB: the tables and a few hundred events. */
const MAX_PAGES = 800;

/** A server whose database takes no more than `MAX_PAGES`, shared with somebody's notes. */
async function confinedServer(
  t: TestContext,
): Promise<{ baseUrl: string; shelf: Notes; sentences: readonly string[] }> {
  const unlimited = '{per_second: 100000, burst_count: 100000}';
  const { config } = load(
    t,
    `enable_registration: true\nenable_registration_without_verification: true\nrc_message: ${unlimited}\n`,
  );
  const path = join(temporaryFolder(t), 'homeserver.db');
  const log = recordingLogger();
  const db = openDatabase({ path, migrations: [...allMigrations, notes], log, maxPages: MAX_PAGES });
  const clock = systemClock;
  const signingKey = generateSigningKey(systemRandom.bytes(32));
  const parts = compose({
    config,
    db,
    clock,
    random: systemRandom,
    log,
    signingKeys: [signingKey],
    notaryKeys: undefined,
    version: '0',
  });
  const followers = new FollowerRunner({ db, followers: parts.followers, log, clock });
  followers.start();
  const http = createHttpServer({
    routes: parts.routes,
    listeners: [
      {
        port: 0,
        bindAddresses: ['127.0.0.1'],
        tls: undefined,
        xForwarded: false,
        resources: ['client'],
        compressed: [],
      },
    ],
    db,
    log,
    clock,
    authenticator: parts.accounts.authenticator,
  });
  const { addresses } = await http.start();
  t.after(async () => {
    parts.sync.stop();
    await http.stop();
    await followers.stop();
    await db.close();
  });
  return {
    baseUrl: `http://127.0.0.1:${addresses[0]?.port}`,
    shelf: new Notes(db, path),
    sentences: log.sentences,
  };
}

/** Writes notes until not even a small one fits. */
async function fill({ db, insert }: Notes): Promise<void> {
  let size = 400_000;
  for (let i = 0; size > 100; i += 1) {
    try {
      db.write((tx) => void insert.run(tx, `${i} `.padEnd(size, 'x')));
      await db.committed();
    } catch (error) {
      assert.match(String(error), /no space left/);
      size /= 4;
      // The turn that failed is over in the next one.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

test('with a full database every request that writes fails cleanly, reads go on, and space makes all well', async (t) => {
  const { baseUrl, shelf, sentences } = await confinedServer(t);
  const account = { username: 'anna', password: 'password of anna', auth: { type: 'm.login.dummy' } };
  const { access_token: token, user_id: userId } = expectOk(
    await new TestClient({ baseUrl }).post('/_matrix/client/v3/register', account),
  );
  const anna = new TestClient({ baseUrl }, { token });
  const roomId = await anna.createRoom();
  const room = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`;
  const recipes = `/_matrix/client/v3/user/${encodeURIComponent(userId)}/account_data/org.example.recipes`;
  const send = (number: number): Promise<Answer> =>
    anna.put(`${room}/send/m.room.message/n${number}`, { msgtype: 'm.text', body: 'x'.repeat(5_000), number });
  const listNumbers = async (): Promise<[number, string][]> => {
    const { chunk } = expectOk(await anna.get(`${room}/messages`, { dir: 'b', limit: 500 }));
    const messages = chunk.filter(({ type }: Json) => type === 'm.room.message');
    return messages.map(({ content, event_id }: Json) => [content.number, event_id]);
  };
  const before = [1, expectOk(await send(1)).event_id] as const;
  const { next_batch: since } = await anna.sync();

  await fill(shelf);
  const answered: (readonly [number, string])[] = [before];
  let refused: Answer | undefined;
  for (let number = 2; number < 50 && refused === undefined; number += 1) {
    const answer = await send(number);
    if (answer.status === 200) answered.unshift([number, answer.body.event_id]);
    else refused = answer;
  }
  assert.ok(refused !== undefined, 'there is no space');
  expectError(refused, 500, 'M_UNKNOWN');
  const next = answered.length + 1;
  expectError(await anna.post('/_matrix/client/v3/createRoom', { name: 'Another' }), 500, 'M_UNKNOWN');
  expectError(await anna.put(recipes, { cake: 'x'.repeat(20_000) }), 500, 'M_UNKNOWN');
  expectError(await anna.get(recipes), 404, 'M_NOT_FOUND');

  assert.deepEqual(await listNumbers(), answered);
  assert.deepEqual(expectOk(await anna.get('/_matrix/client/v3/joined_rooms')).joined_rooms, [roomId]);
  await anna.sync({ since });

  shelf.db.write((tx) => void shelf.remove.run(tx, 1));
  await shelf.db.committed();
  const { event_id: eventId } = expectOk(await send(next));
  assert.equal(expectOk(await send(next)).event_id, eventId, 'one transaction, one event');
  assert.deepEqual(await listNumbers(), [[next, eventId], ...answered]);
  // What was turned away left nothing behind that would be in the way now.
  expectOk(await anna.put(recipes, { cake: 'x'.repeat(20_000) }));
  await anna.createRoom({ name: 'Another' });
  assert.equal(expectOk(await anna.get('/_matrix/client/v3/joined_rooms')).joined_rooms.length, 2);
  assert.deepEqual(shelf.db.integrityCheck(), []);
  assert.ok(sentences.includes('storage failed'));
  assert.equal(
    sentences.findLast((sentence) => sentence.startsWith('storage ')),
    'storage works again',
  );
});

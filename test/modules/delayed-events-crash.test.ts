import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerProcess } from '../clients/server-process.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';

/** In each round; all of them fit on one page. */
const MESSAGES = 25;
/** Between the first and the last that fall due, ms. */
const SPREAD_MS = 400;
/** Until the first falls due, ms: by then all have been scheduled. */
const LEAD_MS = 3_000;

/** What was said in a room, oldest first. */
async function saidIn(who: TestClient, roomId: string): Promise<string[]> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages`;
  const { chunk } = expectOk(await who.get(path, { dir: 'f', limit: 100 }));
  return chunk.flatMap((event: Json) => (event.type === 'm.room.message' ? [event.content.body] : []));
}

/** Waits until so much was said. */
async function hear(who: TestClient, roomId: string, count: number): Promise<void> {
  let { next_batch: since } = await who.sync();
  while ((await saidIn(who, roomId)).length < count) {
    const { next_batch: next } = await who.sync({ since, timeout: 5_000 });
    since = next;
  }
}

test('a process that is killed just when messages fall due sends each of them once', { timeout: 120_000 }, async () => {
  await using server = await ServerProcess.start({ max_event_delay_duration: '1h' });
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  let expected: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    const bodies = Array.from({ length: MESSAGES }, (_, number) => `${round}/${number}`);
    const startedAt = performance.now();
    await Promise.all(
      bodies.map(async (body, number) => {
        const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${body.replace('/', '-')}`;
        const elapsed = performance.now() - startedAt;
        const delay = Math.round(LEAD_MS - elapsed + (SPREAD_MS * number) / MESSAGES);
        expectOk(await anna.put(path, { msgtype: 'm.text', body }, { 'org.matrix.msc4140.delay': delay }));
      }),
    );
    // In the middle of them, at another place each time.
    await hear(anna, roomId, expected.length + 1 + round * 7);
    await server.kill();
    await server.begin();
    expected = [...expected, ...bodies];
    await hear(anna, roomId, expected.length);
    assert.deepEqual((await saidIn(anna, roomId)).sort(), [...expected].sort());
  }
});

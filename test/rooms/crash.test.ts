import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { alice, draft, household, phone } from './room-kit.ts';

const CHILD = fileURLToPath(new URL('crash-child.ts', import.meta.url));

/** Lets a process send until it has acknowledged `count` events, then kills it. Gives what was acknowledged. */
async function sendUntilKilled(args: readonly string[], count: number): Promise<Map<number, string>> {
  const child = spawn(process.execPath, [CHILD, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const acknowledged = new Map<number, string>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [turn, eventId = ''] = line.split(' ');
    acknowledged.set(Number(turn), eventId);
    if (acknowledged.size === count) child.kill('SIGKILL');
  }
  const [, signal] = await closed;
  assert.equal(signal, 'SIGKILL');
  return acknowledged;
}

test('what was acknowledged survives a kill, and what is sent again is there once', async (t) => {
  let home = household(t);
  const roomId = await home.createRoom();
  const seed = 'ab'.repeat(32);
  const all = new Map<number, string>();
  for (let round = 0; round < 3; round++) {
    await home.db.close();
    const first = Math.max(-1, ...all.keys()) + 1;
    for (const [turn, id] of await sendUntilKilled([home.path, roomId, seed, `${first}`], 40)) all.set(turn, id);

    home = await home.reopen();
    const { rooms } = home;
    assert.deepEqual(rooms.checkConsistency(), []);
    const { events } = rooms.timeline.page({ roomId, from: undefined, direction: 'f', limit: 1_000 });
    const stored = new Set<string>(events.map(({ eventId }) => eventId));
    for (const [turn, eventId] of all) assert.ok(stored.has(eventId), `event ${turn} is lost`);

    // The client never heard of the last ones, and sends them again.
    const last = Math.max(...all.keys());
    for (const turn of [last, last + 1]) {
      const isState = turn % 5 === 0;
      const event = await home.send(
        roomId,
        isState
          ? draft.state(alice, 'org.example.state', { body: `${turn}`, msgtype: 'm.text' }, `${turn % 7}`)
          : draft.message(alice, `${turn}`),
        { transaction: { deviceId: phone, transactionId: `t${turn}` } },
      );
      all.set(turn, event.eventId);
    }
    const after = rooms.timeline.page({ roomId, from: undefined, direction: 'f', limit: 1_000 }).events;
    const said = after.flatMap(({ content }) => (typeof content['body'] === 'string' ? [content['body']] : []));
    assert.equal(new Set(said).size, said.length, 'nothing is there twice');
  }
});

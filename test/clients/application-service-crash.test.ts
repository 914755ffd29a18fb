import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTransaction, ScriptedAppService } from '../kit/scripted-app-service.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { ServerProcess } from './server-process.ts';

const ROUNDS = 5;

/** Sends numbered messages until the server is gone; gives how many were answered, counted on from `first`. */
async function sendOn(client: TestClient, roomId: string, first: number, onAnswer: () => void): Promise<number> {
  for (let number = first; ; number += 1) {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${number}`;
    try {
      expectOk(await client.put(path, { msgtype: 'm.text', body: `message ${number}`, number }));
    } catch (error) {
      // That is how fetch says that the connection failed.
      if (error instanceof TypeError) return number;
      throw error;
    }
    onAnswer();
  }
}

test('a bridge gets every message once and in order though the server is killed again and again', async () => {
  await using bridge = await ScriptedAppService.start();
  await using server = await ServerProcess.start({ app_service_config_files: [bridge.file] });
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await bridge.as(server).join(roomId);
  // Every third transaction is taken without the server being told.
  let count = 0;
  bridge.on((heard) => {
    if (!isTransaction(heard)) return undefined;
    count += 1;
    return count % 3 === 0 ? { status: 500 } : undefined;
  });
  let next = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    let answers = 0;
    const { promise: enough, resolve } = Promise.withResolvers<void>();
    const sending = sendOn(alice, roomId, next, () => {
      answers += 1;
      if (answers === 30) resolve();
    });
    await Promise.race([enough, sending]);
    await server.kill();
    next = await sending;
    await server.begin();
  }
  const last = await alice.send(roomId, 'the end');
  await bridge.untilEvent(({ event_id: id }) => id === last);

  const bodies = new Map<string, string>();
  for (const { path, body } of bridge.transactions) {
    const known = bodies.get(path);
    assert.ok(known === undefined || known === JSON.stringify(body), 'a transaction stays what it was');
    bodies.set(path, JSON.stringify(body));
  }
  const numbers = bridge.events.map(({ content }: Json) => content.number).filter((number) => number !== undefined);
  assert.deepEqual(
    numbers,
    Array.from({ length: next }, (_, number) => number),
  );
});

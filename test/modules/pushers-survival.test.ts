import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ServerProcess } from '../clients/server-process.ts';
import { PushGateway, REACHES_GATEWAYS } from '../kit/push-gateway.ts';
import { expectOk, type TestClient } from '../kit/test-client.ts';
import { setPusher } from './pushers-kit.ts';

const ROUNDS = 4;
const PER_ROUND = 12;

async function say(who: TestClient, room: string, body: string): Promise<void> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/${encodeURIComponent(body)}`;
  expectOk(await who.put(path, { msgtype: 'm.text', body }));
}

test('a server that is killed over and over pushes every message in the end, in order, and hardly one twice', async () => {
  await using gateway = await PushGateway.start();
  const dir = mkdtempSync(join(tmpdir(), 'hearth-push-ca-'));
  const caPath = join(dir, 'ca.pem');
  writeFileSync(caPath, gateway.caCertificate);
  process.env['NODE_EXTRA_CA_CERTS'] = caPath;
  try {
    await using server = await ServerProcess.start({
      ...REACHES_GATEWAYS,
      rc_message: { per_second: 1_000, burst_count: 1_000 },
    });
    const ann = await server.register('ann');
    const bob = await server.register('bob');
    const room = await ann.createRoom({ preset: 'private_chat', invite: [bob.userId] });
    await bob.join(room);
    await setPusher(ann, gateway.pusher('phone'));
    const said: string[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let n = 0; n < PER_ROUND; n += 1) {
        const body = `${round}.${n}`;
        await say(bob, room, body);
        said.push(body);
      }
      // In the midst of it: some of them have been pushed, others have not.
      await gateway.until(({ content }) => content?.body === `${round}.${PER_ROUND / 3}`);
      await server.kill();
      await server.begin();
    }
    await gateway.until(({ content }) => content?.body === said.at(-1));
    const heard = [...gateway.bodies];
    const firsts = heard.filter((body, at) => heard.indexOf(body) === at);
    assert.deepEqual(firsts, said);
    // Only what was on its way in the moment of the kill can come again.
    assert.ok(heard.length - firsts.length <= ROUNDS, `${heard.length - firsts.length} came twice`);
  } finally {
    delete process.env['NODE_EXTRA_CA_CERTS'];
    rmSync(dir, { recursive: true, force: true });
  }
});

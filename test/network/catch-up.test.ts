import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findPort, ServerProcess } from '../clients/server-process.ts';
import { type Answer, expectOk, type TestClient } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import { listEvents, listSaid, roomPath, untilAgreed, untilMember } from './room-view.ts';

/** Says something that may not arrive because the server dies: gives what was answered, if anything was. */
async function trySaying(who: TestClient, roomId: string, body: string): Promise<Answer | undefined> {
  try {
    const path = roomPath(roomId, `send/m.room.message/${encodeURIComponent(body)}`);
    return await who.put(path, { msgtype: 'm.text', body });
  } catch {
    return undefined;
  }
}

/**
 * Two servers in processes of their own. Such a process has the machine's own names, so that each is called by its address.
 */
async function startTwo(): Promise<{ home: ServerProcess; away: ServerProcess; homeName: string } & AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  try {
    const { network } = stack.use(await TestNetwork.start([]));
    const start = async (): Promise<{ server: ServerProcess; serverName: string }> => {
      const port = await findPort();
      const serverName = `127.0.0.1:${port}`;
      const listener = {
        type: 'http',
        port,
        bind_addresses: ['127.0.0.1'],
        tls: true,
        resources: [{ names: ['federation'] }],
      };
      const config = { ...(await network.configOf(serverName)), server_name: serverName, listeners: [listener] };
      return { server: stack.use(await ServerProcess.start(config)), serverName };
    };
    const [home, away] = [await start(), await start()];
    return {
      home: home.server,
      away: away.server,
      homeName: home.serverName,
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

test('whatever a server has answered for reaches the others, though it is killed in the middle of it, twice', async () => {
  await using two = await startTwo();
  const { home, away, homeName } = two;
  const alice = await home.register('alice');
  const bob = await away.register('bob');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(homeName)}`));
  await untilMember([alice], roomId, bob.userId, 'join');

  const answered: string[] = [];
  for (const round of ['first', 'second']) {
    const before = answered.length;
    // Enough that some are sent, some wait to be sent, and some are not even stored when it dies.
    const saying = Array.from({ length: 120 }, async (_, index) => {
      const body = `${round} ${index}`;
      if ((await trySaying(alice, roomId, body))?.status !== 200) return;
      answered.push(body);
      if (answered.length === before + 40) await home.kill();
    });
    await Promise.all(saying);
    assert.equal(home.isUp, false);
    await home.begin();
  }

  await eventually('Bob reads all that was answered for', async () => {
    const said = new Set(await listSaid(bob, roomId));
    return answered.every((body) => said.has(body));
  });
  await alice.send(roomId, 'Alive');
  await eventually('Bob hears that', async () => (await listSaid(bob, roomId)).includes('Alive'));
  const [hers, his] = [await listEvents(alice, roomId), await listEvents(bob, roomId)];
  assert.deepEqual(
    his.map(({ event_id }) => event_id),
    hers.map(({ event_id }) => event_id),
    'what was stored without an answer is there too, and nothing twice',
  );
  await untilAgreed([alice, bob], roomId);
});

test('a server that is killed while it takes in what it missed misses nothing', async () => {
  await using two = await startTwo();
  const { home, away, homeName } = two;
  const alice = await home.register('alice');
  const bob = await away.register('bob');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(homeName)}`));
  await untilMember([alice], roomId, bob.userId, 'join');
  await away.kill();
  const said = Array.from({ length: 200 }, (_, index) => `number ${index}`);
  for (const body of said) await alice.send(roomId, body);

  await away.begin();
  await eventually('some of it is there', async () => (await listSaid(bob, roomId)).length > 0);
  await away.kill();
  await away.begin();
  await alice.send(roomId, 'All there?');
  await eventually('all of it is there', async () => (await listSaid(bob, roomId)).length === said.length + 1);
  assert.deepEqual(await listSaid(bob, roomId), [...said, 'All there?']);
  await untilAgreed([alice, bob], roomId);
});

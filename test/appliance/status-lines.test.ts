import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import { TestAppliance } from './appliance-kit.ts';
import { messagesIn, moveIn, placeOf, roomyDataDir, startRoomy } from './household-kit.ts';

/** Something that is done only once it may be. */
class Gate {
  #open = Promise.withResolvers<void>();

  constructor() {
    this.#open.resolve();
  }

  close(): void {
    this.#open = Promise.withResolvers<void>();
  }

  open(): void {
    this.#open.resolve();
  }

  get passed(): Promise<void> {
    return this.#open.promise;
  }
}

test('as long as it is starting it is said to be starting, and nothing is asked of what is not there yet', async () => {
  const gate = new Gate();
  await using house = await TestAppliance.start({ whileStarting: () => gate.passed });
  gate.close();
  const restarted = house.call('POST /server/restart');
  try {
    await eventually('the old one has ended', () => house.appliance.keeper.state.kind === 'starting');
    const { line, reasons, clientUrl, startedAt } = await house.call('GET /status');
    assert.deepEqual([line, reasons.map(({ kind }) => kind)], ['starting', ['starting']]);
    assert.deepEqual([clientUrl, startedAt], [undefined, undefined]);
    const refused = await house.ask('GET /people');
    assert.equal(refused.status, 503);
    assert.match((refused.body as { error: string }).error, /is starting; try again/);
  } finally {
    gate.open();
  }
  assert.equal((await restarted).line, 'setup');
});

test('while what others said before is still being fetched, it is catching up, and not a moment longer', async () => {
  await using world = await TestNetwork.start(['away.test', 'third.test']);
  const { network, servers } = world;
  const [away, third] = servers;
  using dataDir = roomyDataDir({ serverName: 'home.test', config: await network.configOf('home.test') });
  const way = network.wayFrom('home.test');
  const { dial } = way;
  assert.ok(dial !== undefined);
  const gate = new Gate();
  await using house = await startRoomy(dataDir, {
    network: {
      ...way,
      dial: async (...to) => {
        await gate.passed;
        return dial(...to);
      },
    },
  });
  network.place('home.test', placeOf(house));
  const anna = await moveIn(house, 'anna');
  const [dora, tom] = [await away.register('dora'), await third.register('tom')];
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  for (const guest of [dora, tom]) {
    expectOk(await guest.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, {}, { via: 'home.test' }));
  }
  await dora.send(roomId, 'hello');
  await tom.send(roomId, 'good evening');
  await eventually('all have been heard', async () => {
    const heard = await messagesIn(anna, roomId);
    return heard.includes('hello') && heard.includes('good evening');
  });
  const seen = async (): Promise<string> => {
    const { line, reasons, federation } = await house.call('GET /status');
    return `${line}, ${reasons[0]?.kind}, ${federation.catchingUpRooms}`;
  };
  assert.equal(await seen(), 'network-only, home, 0');

  // What Dora says reaches this house by Tom's answer only, and for now nothing can be asked for.
  network.cut('home.test', away);
  await dora.send(roomId, 'where is everybody?');
  await eventually('Tom has read it', async () => (await messagesIn(tom, roomId)).includes('where is everybody?'));
  network.cut('home.test', third);
  gate.close();
  network.mend('home.test', third);
  try {
    await tom.send(roomId, 'I am here');
    await eventually('it is catching up', async () => (await seen()) === 'catching-up, catching-up, 1');
    const { reasons } = await house.call('GET /status');
    assert.deepEqual([reasons[0]?.text, reasons[0]?.page], ['One room is catching up on messages.', 'rooms']);
    assert.equal((await messagesIn(anna, roomId)).includes('I am here'), false);
  } finally {
    gate.open();
  }
  await eventually('it has caught up', async () => (await seen()).startsWith('network-only, home'));
  const heard = await messagesIn(anna, roomId);
  assert.deepEqual(heard.slice(0, 2), ['I am here', 'where is everybody?']);
});

import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import type { ServerState } from '../../main/contract.ts';
import { Power } from '../../main/power.ts';
import { ServerProcess } from '../../main/server-process.ts';
import { ManualClock } from '../kit/manual-clock.ts';

const LISTENING = { type: 'listening', url: 'http://127.0.0.1:1', dataDir: '/data', database: '/data/homeserver.db' };

/** A process that does what the test says. */
class Child extends EventEmitter {
  readonly pid = 4711;
  readonly stdout = new EventEmitter() as EventEmitter & NodeJS.ReadableStream;
  readonly stderr = null;
  readonly heard: { type: string }[] = [];
  kills = 0;
  postMessage(message: { type: string }): void {
    this.heard.push(message);
  }
  kill(): boolean {
    this.kills++;
    return true;
  }
}

function start(listSecrets: () => Promise<Record<string, string>> = async () => ({})): {
  clock: ManualClock;
  server: ServerProcess;
  children: Child[];
  killed: number[];
  last: () => Child;
  state: () => ServerState;
} {
  const clock = new ManualClock();
  const children: Child[] = [];
  const killed: number[] = [];
  const server = new ServerProcess({
    clock,
    program: 'server.js',
    env: { PATH: '/bin', NOTHING: undefined },
    dataDir: '/data',
    token: 'token',
    secrets: { list: listSecrets, put: async () => undefined },
    fork: (_program, args, options) => {
      assert.deepEqual([args, options.env], [[], { PATH: '/bin' }], 'no secret where others can read it');
      const child = new Child();
      children.push(child);
      return child;
    },
    onChange: () => undefined,
    onError: (error) => assert.match(String(error), /key store/),
    killHard: (pid) => killed.push(pid),
  });
  server.start();
  return { clock, server, children, killed, last: () => children.at(-1) ?? assert.fail(), state: () => server.state };
}

test('a server that is not ready in time is ended, explained and started again', async () => {
  const { clock, children, last, state, killed } = start();
  await clock.advance(19_999);
  assert.equal(last().kills, 0);
  await clock.advance(1);
  assert.equal(last().kills, 1);
  await clock.advance(5_000);
  assert.deepEqual(killed, [4711], 'it does not end when it is asked to');
  last().emit('exit', 137);
  const now = state();
  assert.ok(now.kind === 'restarting' && /not ready within 20 seconds/.test(now.message));
  await clock.advance(1_000);
  assert.equal(children.length, 2);
});

test('a key store that asks for a password first costs no start, and one that nobody opens does not keep it off', async () => {
  const { promise, resolve } = Promise.withResolvers<Record<string, string>>();
  const patient = start(() => promise);
  await patient.clock.advance(50_000);
  assert.deepEqual([patient.last().heard, patient.last().kills], [[], 0], 'it waits for the person');
  resolve({ passphrase: 'a long way home' });
  await patient.clock.advance(19_000);
  assert.deepEqual(patient.last().heard, [
    { type: 'start', token: 'token', dataDir: '/data', secrets: { passphrase: 'a long way home' } },
  ]);
  assert.equal(patient.last().kills, 0, 'the time to get ready begins with the start');
  await patient.clock.advance(1_000);
  assert.equal(patient.last().kills, 1);

  const alone = start(() => new Promise(() => undefined));
  await alone.clock.advance(60_000);
  assert.deepEqual(alone.last().heard, [{ type: 'start', token: 'token', dataDir: '/data', secrets: {} }]);
  const broken = start(() => Promise.reject(new Error('the key store is broken')));
  await broken.clock.advance(1);
  assert.equal(broken.last().heard.length, 1);
});

test('a server that is refused says why, and starts when the person wants it all the same', async () => {
  const { server, children, last, state } = start();
  server.refuse('not now');
  assert.equal(state().kind, 'starting', 'one that runs is not');
  last().emit('exit', 1);
  assert.equal(state().kind, 'restarting');
  server.refuse('not now');
  const now = state();
  assert.ok(now.kind === 'failed' && now.message === 'not now');
  server.start();
  assert.equal(children.length, 2);
});

test('after a crash it waits longer each time, and gives up with the last lines of its log', async () => {
  const { clock, server, children, last, state } = start();
  for (const wait of [1_000, 2_000, 4_000, 8_000]) {
    last().stdout.emit('data', Buffer.from(`line of run ${children.length}\n`));
    last().emit('exit', 1);
    const now = state();
    assert.ok(now.kind === 'restarting' && now.retryAt === clock.now() + wait, JSON.stringify(now));
    await clock.advance(wait - 1);
    const before = children.length;
    await clock.advance(1);
    assert.equal(children.length, before + 1);
  }
  last().stdout.emit('data', Buffer.from('the last line\n'));
  last().emit('exit', 1);
  const given = state();
  assert.ok(given.kind === 'failed' && /5 times/.test(given.message));
  assert.deepEqual(given.log, ['the last line']);
  await clock.advance(3_600_000);
  assert.equal(children.length, 5);
  server.start();
  assert.equal(children.length, 6, 'the person may try again');
  last().emit('message', LISTENING);
  await clock.advance(5 * 60_000);
  last().emit('exit', 1);
  const now = state();
  assert.ok(
    now.kind === 'restarting' && now.retryAt === clock.now() + 1_000,
    'a good run makes up for what was before',
  );
});

test('what a person has to change first is not tried again', async () => {
  const { clock, children, last, state } = start();
  last().emit('message', { type: 'failed', message: 'The folder cannot be written.', isFinal: true });
  last().emit('exit', 1);
  const now = state();
  assert.ok(now.kind === 'failed' && now.message === 'The folder cannot be written.');
  await clock.advance(3_600_000);
  assert.equal(children.length, 1);
});

test('a stop asks first and ends it by force in the end; a crash on the way counts as stopped', async () => {
  const { clock, server, last, killed, state } = start();
  last().emit('message', LISTENING);
  assert.equal(server.listening?.url, 'http://127.0.0.1:1');
  const stopped = server.stop();
  assert.equal(last().heard.at(-1)?.type, 'stop');
  await clock.advance(35_000);
  assert.equal(last().kills, 1);
  await clock.advance(5_000);
  assert.deepEqual(killed, [4711]);
  last().emit('exit', 137);
  await stopped;
  assert.equal(state().kind, 'stopped');
  assert.deepEqual(
    server.data,
    { dataDir: '/data', database: '/data/homeserver.db' },
    'where its data are stays known',
  );
  await server.stop();
});

test('a network that has changed and a sleep that nobody announced are noticed', async () => {
  const clock = new ManualClock();
  const system = new EventEmitter();
  let addresses = 'home';
  let wakes = 0;
  const power = new Power({
    clock,
    powerMonitor: system as never,
    powerSaveBlocker: { start: () => 1, stop: () => true },
    addresses: () => addresses,
    keepAwake: () => false,
    isOnBattery: () => false,
    onSleep: () => undefined,
    onWake: () => void wakes++,
    onShutdown: () => undefined,
  });
  power.start();
  await clock.advance(60_000);
  assert.equal(wakes, 0, 'nothing has happened');
  addresses = 'train';
  await clock.advance(10_000);
  assert.equal(wakes, 1);
  await clock.advance(60_000);
  assert.equal(wakes, 1);
  clock.setWallClock(clock.now() + 8 * 3_600_000);
  await clock.advance(10_000);
  assert.equal(wakes, 2, 'the clock went on while nothing ran');
  clock.setWallClock(clock.now() + 8 * 3_600_000);
  system.emit('resume');
  await clock.advance(10_000);
  assert.equal(wakes, 3, 'one that was announced counts once');
  power.stop();
  addresses = 'hotel';
  await clock.advance(60_000);
  assert.equal(wakes, 3);
});

test('a machine that is plugged in is kept awake, also where the system does not tell of its supply', async () => {
  const clock = new ManualClock();
  const system = new EventEmitter();
  const blocked = new Set<number>();
  let isOnBattery = false;
  let ids = 0;
  const power = new Power({
    clock,
    powerMonitor: system as never,
    powerSaveBlocker: {
      start: (type) => {
        assert.equal(type, 'prevent-app-suspension');
        blocked.add(++ids);
        return ids;
      },
      stop: (id) => blocked.delete(id),
    },
    addresses: () => 'home',
    keepAwake: () => true,
    isOnBattery: () => isOnBattery,
    onSleep: () => undefined,
    onWake: () => undefined,
    onShutdown: () => undefined,
  });
  power.start();
  assert.equal(blocked.size, 1);
  isOnBattery = true;
  await clock.advance(10_000);
  assert.equal(blocked.size, 0, 'not at the cost of the battery');
  isOnBattery = false;
  system.emit('on-ac');
  assert.equal(blocked.size, 1, 'where it is told, at once');
  power.stop();
  assert.equal(blocked.size, 0);
});

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { isNoRoom, restoreSnapshot, takeSnapshot } from '../../main/snapshot.ts';
import { type Beginning, Updates } from '../../main/updates.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { Home, launch, type RunningShell, soon } from './driver.ts';
import { appImage, UpdateFeed } from './update-feed.ts';

// A runtime that was downloaded is not a packaged program, and renews nothing.
console.log('These stories of updates ran with electron-updater itself, on the stand-in for Electron.');

interface Installed {
  readonly home: Home;
  readonly program: string;
  readonly start: (version: string) => Promise<RunningShell>;
}

function install(feed: UpdateFeed, home: Home): Installed {
  const { resources, program } = feed.install(home, '0.1.0');
  const start = (version: string): Promise<RunningShell> =>
    launch({ home, onStandIn: true, env: { APPIMAGE: program }, standIn: { version, resources, isPackaged: true } });
  return { home, program, start };
}

const isRunning = ({ server }: { server: { kind: string } }): boolean => server.kind === 'running';

async function isUp(shell: RunningShell): Promise<void> {
  await shell.until('the server runs', isRunning);
  await soon('the homeserver runs', async () => {
    const { body } = await shell.control<{ line: string }>('GET /status');
    return body.line === 'setup' || body.line === 'online' || body.line === 'network-only';
  });
}

test('a new version is fetched, put in place when the program ends, and the data copied before', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { program, start } = install(feed, home);
  {
    await using shell = await start('0.1.0');
    await shell.until('the server runs', isRunning);
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'failed', 'there is nothing on the feed');
    feed.offer('0.1.0');
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'idle', 'nothing newer');
    feed.offer('0.2.0');
    const { update } = await shell.bridge('checkForUpdates');
    assert.deepEqual(update, { kind: 'ready', version: '0.2.0' }, shell.output);
    assert.equal(readFileSync(program, 'utf8'), appImage('0.1.0'), 'not while the program runs');
    assert.equal(await shell.quit(), 0, shell.output);
  }
  assert.equal(readFileSync(program, 'utf8'), appImage('0.2.0'));
  assert.ok(home.has('data', 'before-update', 'homeserver.db'));
  assert.ok(home.has('data', 'before-update', 'homeserver.yaml'));
  {
    await using shell = await start('0.2.0');
    await soon('the new version has shown that it works', () =>
      home.read('shell', 'update.json').includes('"phase":"done"'),
    );
    assert.equal(await shell.quit(), 0);
  }
  {
    await using shell = await start('0.2.0');
    await shell.until('the server runs', isRunning);
    assert.ok(!home.has('data', 'before-update'), 'the copy is not needed any more');
  }
});

test('a file that was altered, and a release that was not signed, are refused', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { program, start } = install(feed, home);
  await using shell = await start('0.1.0');
  await shell.until('the server runs', isRunning);
  feed.offer('0.2.0', { file: appImage('0.2.0').replace('exit 0', 'exit 1') });
  const altered = (await shell.bridge('checkForUpdates')).update;
  assert.ok(altered.kind === 'failed' && /sha512/.test(altered.message), JSON.stringify(altered));
  feed.asked.length = 0;
  feed.offer('0.3.0', { signature: Buffer.alloc(64).toString('base64') });
  const unsigned = (await shell.bridge('checkForUpdates')).update;
  assert.ok(unsigned.kind === 'failed' && /not signed/.test(unsigned.message), JSON.stringify(unsigned));
  assert.ok(!feed.asked.some((path) => path.endsWith('.AppImage')), 'it was not even fetched');
  assert.equal(await shell.quit(), 0);
  assert.equal(readFileSync(program, 'utf8'), appImage('0.1.0'));
});

test('a new version that does not start twice makes way for the one before, with its data', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { program, start } = install(feed, home);
  const before = home.read('data', 'homeserver.yaml');
  {
    await using shell = await start('0.1.0');
    await shell.until('the server runs', isRunning);
    feed.offer('0.2.0');
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'ready');
    assert.equal(await shell.quit(), 0);
  }
  // What a new version that does wrong might leave behind.
  writeFileSync(join(home.data, 'homeserver.yaml'), 'server_name: [broken\n');
  {
    await using shell = await start('0.2.0');
    assert.equal(await shell.ended, 0, 'it ends itself');
  }
  assert.equal(readFileSync(program, 'utf8'), appImage('0.1.0'), 'the old program is back');
  const relaunched = JSON.parse(home.read('app-data', 'relaunched.json'));
  assert.equal(relaunched.execPath, program, 'and is started');
  {
    await using shell = await start('0.1.0');
    await isUp(shell);
    assert.equal(home.read('data', 'homeserver.yaml'), before, 'the data are as they were');
    const notices = await shell.standIn(({ Notification }) => Notification.shown.map(({ title }) => title), undefined);
    assert.ok(notices.includes('The previous version is back'), JSON.stringify(notices));
    const { update } = await shell.bridge('getShell');
    assert.ok(update.kind === 'failed' && /0\.2\.0 did not start/.test(update.message), 'also to who wants no notices');
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'idle', 'the bad version is not fetched again');
    feed.offer('0.2.1');
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'ready', 'a later one is');
  }
});

test('a copy without a feed or a key says that it cannot renew itself', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { start } = install(feed, home);
  rmSync(join(home.path, 'resources', 'update-key.pem'));
  {
    await using shell = await start('0.1.0');
    const { update } = await shell.until('it knows', (info) => info.update.kind === 'unavailable');
    assert.ok(update.kind === 'unavailable' && /without a key/.test(update.reason));
    assert.deepEqual(feed.asked, []);
  }
  rmSync(join(home.path, 'resources', 'app-update.yml'));
  await using shell = await start('0.1.0');
  const { update } = await shell.until('it knows', (info) => info.update.kind === 'unavailable');
  assert.ok(update.kind === 'unavailable' && /without an address/.test(update.reason));
});
test('without a copy of the program, the version before comes from its own folder of the feed, if it is signed', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { resources } = feed.install(home, '0.2.0');
  const passage = {
    from: '0.1.0',
    to: '0.2.0',
    phase: 'installing',
    attempts: 2,
    isTouched: true,
    dataDir: home.data,
    database: join(home.data, 'homeserver.db'),
    snapshot: join(home.data, 'before-update'),
  };
  const begin = async (): Promise<{ begun: Beginning; updates: Updates; done: string[] }> => {
    mkdirSync(home.shell, { recursive: true });
    writeFileSync(join(home.shell, 'update.json'), JSON.stringify({ passage }));
    const done: string[] = [];
    let url = '';
    const updater = {
      on: () => undefined,
      setFeedURL: (feedOf: { url: string }) => {
        ({ url } = feedOf);
      },
      checkForUpdates: async () => {
        const channel = `${url}/latest-linux${process.arch === 'x64' ? '' : `-${process.arch}`}.yml`;
        return { isUpdateAvailable: true, updateInfo: parse(await (await fetch(channel)).text()) };
      },
      downloadUpdate: async () => void done.push(`downloaded from ${new URL(url).pathname}`),
      quitAndInstall: () => void done.push('installed'),
    };
    const updates = new Updates({
      clock: new ManualClock(),
      fetch,
      loadUpdater: async () => updater as never,
      version: '0.2.0',
      isPackaged: true,
      platform: 'linux',
      arch: process.arch,
      resources,
      directory: home.shell,
      appImage: undefined,
      isAutomatic: () => true,
      onChange: () => undefined,
      onMoved: () => undefined,
      startInstead: () => assert.fail('there is no copy to start'),
      quit: () => undefined,
    });
    assert.equal(await updates.arrive(), false, 'there is nothing to go back to at once');
    return { begun: await updates.begin(), updates, done };
  };
  feed.offer('0.1.0', { at: '/0.1.0', signature: Buffer.alloc(64).toString('base64') });
  const refused = await begin();
  assert.equal(refused.begun.kind, 'going-back', 'the server is not started on data that wait for the old version');
  assert.deepEqual(refused.done, []);
  const { state } = refused.updates;
  assert.ok(
    state.kind === 'failed' && /not signed.*Install that version again/.test(state.message),
    JSON.stringify(state),
  );
  feed.offer('0.1.0', { at: '/0.1.0' });
  const gone = await begin();
  assert.equal(gone.begun.kind, 'going-back');
  assert.deepEqual(gone.done, ['downloaded from /0.1.0', 'installed']);
});

test('an update that cannot be prepared is left for another time, and told at the next start', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { start, program } = install(feed, home);
  {
    await using shell = await start('0.1.0');
    await shell.until('the server runs', isRunning);
    feed.offer('0.2.0');
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'ready');
    // Of the program nothing is left to keep for the way back.
    rmSync(program);
    assert.equal(await shell.quit(), 0);
  }
  assert.ok(!home.has('Hearth.AppImage'), 'nothing was installed');
  assert.ok(!home.has('data', 'before-update'), 'a copy that nobody needs takes no room');
  await using shell = await start('0.1.0');
  const { update } = await shell.until('it is told', (info) => info.update.kind === 'failed');
  assert.ok(update.kind === 'failed' && /could not be copied before the update/.test(update.message));
});

test('a machine that goes down is not kept from it by an update', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { program, start } = install(feed, home);
  {
    await using shell = await start('0.1.0');
    await shell.until('the server runs', isRunning);
    feed.offer('0.2.0');
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'ready');
    const isHeld = await shell.standIn(({ powerMonitor }) => {
      let isPrevented = false;
      powerMonitor.emit('shutdown', { preventDefault: () => (isPrevented = true) });
      return isPrevented;
    }, undefined);
    assert.ok(isHeld, 'the system waits for the server to stop');
    assert.equal(await shell.ended, 0, shell.output);
  }
  assert.equal(readFileSync(program, 'utf8'), appImage('0.1.0'), 'it could be cut off in the middle');
  assert.ok(!home.has('data', 'before-update'));
  await using shell = await start('0.1.0');
  await shell.until('the server runs', isRunning);
  assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'ready', 'it is there for another time');
});

test('a new version that ends in its first moments is counted all the same, and makes way at its third start', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { resources, program } = feed.install(home, '0.1.0');
  const before = home.read('data', 'homeserver.yaml');
  // As it was fetched: with its version in its name, which changes with every update.
  const nameOf = (version: string): string => join(home.path, `Hearth-${version}.AppImage`);
  renameSync(program, nameOf('0.1.0'));
  const start = (version: string): Promise<RunningShell> =>
    launch({
      home,
      onStandIn: true,
      env: { APPIMAGE: nameOf(version) },
      standIn: { version, resources, isPackaged: true },
    });
  const atLogin = (): string => /^Exec="([^"]*)"/m.exec(home.read('config', 'autostart', 'hearth.desktop'))?.[1] ?? '';
  {
    await using shell = await start('0.1.0');
    await shell.until('the server runs', isRunning);
    await shell.bridge('changeSettings', { startAtLogin: true });
    assert.equal(atLogin(), nameOf('0.1.0'));
    feed.offer('0.2.0');
    assert.equal((await shell.bridge('checkForUpdates')).update.kind, 'ready');
    assert.equal(await shell.quit(), 0);
  }
  assert.equal(readFileSync(nameOf('0.2.0'), 'utf8'), appImage('0.2.0'));
  assert.equal(atLogin(), nameOf('0.2.0'), 'the next login finds it');
  for (const attempts of [1, 2]) {
    const shell = await start('0.2.0');
    await soon('the start is counted', () => home.read('shell', 'update.json').includes(`"attempts":${attempts}`));
    shell.kill();
    await shell.ended;
  }
  {
    await using shell = await start('0.2.0');
    assert.equal(await shell.ended, 0);
    assert.doesNotMatch(shell.output, /rror/);
  }
  assert.equal(readFileSync(nameOf('0.1.0'), 'utf8'), appImage('0.1.0'), 'the old program is back');
  assert.ok(!existsSync(nameOf('0.2.0')), 'and the only one');
  assert.equal(atLogin(), nameOf('0.1.0'));
  await using shell = await start('0.1.0');
  await isUp(shell);
  assert.equal(home.read('data', 'homeserver.yaml'), before);
});

test('a feed that cannot be reached is told of in a sentence, where somebody looks', async () => {
  await using feed = await UpdateFeed.start();
  using home = Home.create();
  const { start } = install(feed, home);
  await using shell = await start('0.1.0');
  await shell.until('the server runs', isRunning);
  const { update } = await shell.bridge('checkForUpdates');
  assert.ok(update.kind === 'failed');
  assert.match(update.message, /^Looking for a new version did not work and is tried again later: .{10,300}$/);
  const notices = await shell.standIn(({ Notification }) => Notification.shown.map(({ title }) => title), undefined);
  assert.ok(!notices.some((title) => title.includes('update')), 'nobody is called for it');
});

test('a copy of the data is whole or not there, and puts everything back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-snapshot-'));
  try {
    const dataDir = join(folder, 'data');
    const database = join(folder, 'elsewhere', 'hearth.db');
    mkdirSync(join(dataDir, 'media'), { recursive: true });
    mkdirSync(join(folder, 'elsewhere'));
    writeFileSync(join(dataDir, 'homeserver.yaml'), 'old');
    writeFileSync(join(dataDir, 'control.json'), 'passing');
    writeFileSync(database, 'old pages');
    const copy = join(dataDir, 'before-update');
    await assert.rejects(
      takeSnapshot({ dataDir, database }, copy, async () => 1_000_000),
      isNoRoom,
    );
    await takeSnapshot({ dataDir, database }, copy);
    writeFileSync(join(dataDir, 'homeserver.yaml'), 'new');
    writeFileSync(database, 'new pages');
    writeFileSync(`${database}-wal`, 'of the new pages');
    await restoreSnapshot({ dataDir, database }, copy);
    assert.equal(readFileSync(join(dataDir, 'homeserver.yaml'), 'utf8'), 'old');
    assert.equal(readFileSync(database, 'utf8'), 'old pages');
    assert.throws(() => readFileSync(`${database}-wal`), 'a journal of other pages would damage them');
    assert.throws(() => readFileSync(join(copy, 'control.json')), 'what goes with a running program is not kept');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

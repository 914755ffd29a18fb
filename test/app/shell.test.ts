import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isLinuxOnBattery } from '../../main/power-supply.ts';
import type { Backups, Status } from '../../server/appliance/contract.ts';
import { Home, launch, ranWith, type RunningShell, runtime, soon } from './driver.ts';

console.log(`These stories of the shell ran with ${ranWith}.`);

const isRunning = ({ server }: { server: { kind: string } }): boolean => server.kind === 'running';

function pidOf({ server }: { server: { kind: string; pid?: number | undefined } }): number {
  assert.ok(server.pid !== undefined);
  return server.pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const logOf = ({ home }: RunningShell): string => home.read('data', 'logs', 'hearth.log');

test('the program opens its window on the interface, which reaches the server without ever holding its token', async () => {
  await using shell = await launch();
  await shell.until('the server runs', isRunning);
  const { status, body } = await shell.control<Status>('GET /status');
  assert.equal(status, 200, JSON.stringify(body));
  const { token, url } = JSON.parse(shell.home.read('data', 'control.json')) as { token: string; url: string };
  assert.equal((await fetch(`${url}/_hearth/control/status`)).status, 401, 'others need the token');
  assert.equal(
    (await fetch(`${url}/_hearth/control/status`, { headers: { authorization: `Bearer ${token}` } })).status,
    200,
  );
  const seen = await shell.page<string>('JSON.stringify([location.href, Object.keys(window.hearth)])');
  assert.ok(seen.includes('hearth://app/') && !seen.includes(token));
  const first = await shell.page<string>(`
    fetch('/_hearth/control/events').then(async ({ body, headers }) => {
      const reader = body.getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return headers.get('content-type') + ' ' + value.length;
    })`);
  assert.equal(first, 'text/event-stream; charset=utf-8 3', 'what the server tells comes as it comes');
  await shell.page(
    'window.seen = []; window.unsubscribe = window.hearth.onChange((info) => window.seen.push(info)); 0',
  );
  await shell.bridge('changeSettings', { notifications: false });
  await soon('the page is told of the change', () =>
    shell.page<boolean>('window.seen.some(({ settings }) => settings.notifications === false)'),
  );
  await shell.page('window.unsubscribe(); 0');
  assert.equal(
    await shell.page('typeof require + typeof process'),
    'undefinedundefined',
    'nothing of Node in the page',
  );
  assert.equal(statSync(join(shell.home.data, 'control.json')).mode & 0o777, 0o600);
});

test('a server that crashes is started again, and everybody sees it', async () => {
  await using shell = await launch();
  const before = pidOf(await shell.until('the server runs', isRunning));
  process.kill(before, 'SIGKILL');
  const fallen = await shell.until('it is missed', ({ server }) => server.kind === 'restarting');
  assert.equal(fallen.tray.icon, 'busy');
  assert.equal((await shell.control('GET /status')).status, 502, 'the page is told that it is away');
  const after = await shell.until('it runs again', isRunning);
  assert.notEqual(pidOf(after), before);
  await soon('the page reaches it', async () => (await shell.control('GET /status')).status === 200);
});

test('to quit stops the server in order, and then the program ends', async () => {
  await using shell = await launch();
  const pid = pidOf(await shell.until('the server runs', isRunning));
  assert.equal(await shell.quit(), 0);
  assert.ok(!isAlive(pid), 'the server has ended');
  assert.match(logOf(shell), /"stopped"/, 'and in order');
  assert.ok(!shell.home.has('data', 'control.json'));
});

test('a second start shows the window of the first and ends', async () => {
  await using shell = await launch({ args: ['--hidden'] });
  assert.equal(
    await shell.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows().length, undefined),
    0,
    'started hidden, there is no window',
  );
  await soon('the server runs without a window', () => shell.home.has('data', 'control.json'));
  {
    await using atLogin = await launch({ home: shell.home, args: ['--hidden'] });
    assert.equal(await atLogin.ended, 0);
  }
  await using second = await launch({ home: shell.home, args: ['--said-last'] });
  assert.equal(await second.ended, 0);
  await soon('the window is shown', () =>
    shell.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows()[0]?.isVisible() === true, undefined),
  );
});

test('closing the window leaves everything running, and is explained once', async () => {
  await using shell = await launch();
  const pid = pidOf(await shell.until('the server runs', isRunning));
  const close = (): Promise<boolean> =>
    shell.evaluate(({ BrowserWindow }) => {
      const [window] = BrowserWindow.getAllWindows();
      window?.close();
      return window?.isVisible() === true;
    }, undefined);
  assert.equal(await close(), false, 'it is hidden');
  assert.equal(pidOf(await shell.bridge('getShell')), pid);
  await shell.evaluate(({ app }) => app.emit('activate'), undefined);
  assert.equal(
    await shell.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows()[0]?.isVisible(), undefined),
    true,
  );
  await shell.evaluate(({ BrowserWindow }) => {
    const [window] = BrowserWindow.getAllWindows();
    const filled = new Promise((resolve) => void window?.once('enter-full-screen', () => resolve(undefined)));
    window?.setFullScreen(true);
    return filled.then(() => undefined);
  }, undefined);
  await close();
  await soon('a window that fills the screen lets go of it first', () =>
    shell.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows()[0]?.isVisible() === false, undefined),
  );
  const { told, bounds } = JSON.parse(shell.home.read('shell', 'shell.json'));
  assert.deepEqual(told, ['still-here']);
  assert.ok(bounds.width > 300, 'where the window was is remembered');
  if (runtime === undefined) {
    const notices = await shell.standIn(({ Notification }) => Notification.shown.map(({ title }) => title), undefined);
    assert.equal(notices.filter((title) => title === 'Hearth keeps running').length, 1);
  }
});

test('the menu pauses and resumes, copies the address, and the tray shows how it is', async () => {
  await using shell = await launch();
  await shell.until('the server runs and has told how it is', (info) => info.tray.text !== 'Hearth' && isRunning(info));
  await soon('the homeserver runs', async () => (await shell.control<Status>('GET /status')).body.line !== 'starting');
  await shell.menu('pause');
  await shell.until('it is paused', ({ tray }) => tray.icon === 'paused');
  await shell.menu('resume');
  await shell.until('it goes on', ({ tray }) => tray.icon !== 'paused' && tray.icon !== 'busy');
  const { body } = await shell.control<Status>('GET /status');
  await shell.menu('copy-address');
  assert.equal(await shell.evaluate(({ clipboard }) => clipboard.readText(), undefined), body.clientUrl);
  if (runtime !== undefined) return;
  const tray = await shell.standIn(
    ({ Tray }) => Tray.all.map(({ image, toolTip, menu }) => [image.path, toolTip, menu?.items.map(({ id }) => id)]),
    undefined,
  );
  assert.equal(tray.length, 1);
  const { tray: said } = await shell.bridge('getShell');
  assert.match(String(tray[0]?.[0]), new RegExp(`tray-${said.icon}-light\\.png$`));
  assert.equal(tray[0]?.[1], said.text);
  const items = [
    'state',
    '',
    'open',
    'pause',
    'copy-address',
    'backups',
    'logs',
    '',
    'start-at-login',
    'keep-awake',
    '',
    'quit',
  ];
  assert.deepEqual(tray[0]?.[2], items);
});

test('sleep, wake and a plugged-in machine that is to stay awake', async () => {
  await using shell = await launch();
  await shell.until('the server runs', isRunning);
  await shell.evaluate(({ powerMonitor }) => powerMonitor.emit('suspend'), undefined);
  await soon('the server hears of the sleep', () => logOf(shell).includes('the machine goes to sleep'));
  await shell.evaluate(({ powerMonitor }) => powerMonitor.emit('resume'), undefined);
  await soon('the server is woken', () => logOf(shell).includes('/server/wake'));
  await shell.bridge('changeSettings', { keepAwake: true });
  if (runtime !== undefined) return;
  const isKeptAwake = (): Promise<boolean> =>
    shell.standIn(({ powerSaveBlocker }) => [1, 2, 3].some((id) => powerSaveBlocker.isStarted(id)), undefined);
  assert.equal(await isKeptAwake(), !isLinuxOnBattery());
  await shell.menu('keep-awake');
  assert.equal(await isKeptAwake(), false);
});

test('start at login is a hidden start, and can be taken back', async () => {
  await using shell = await launch();
  await shell.until('the page is there', () => true);
  const file = join(shell.home.path, 'config', 'autostart', 'hearth.desktop');
  await shell.bridge('changeSettings', { startAtLogin: true });
  if (process.platform === 'linux') {
    const [exec = ''] = /^Exec=.*$/m.exec(shell.home.read('config', 'autostart', 'hearth.desktop')) ?? [];
    assert.match(exec, /^Exec="\/.*" "--hidden"$/);
  }
  assert.equal(JSON.parse(shell.home.read('shell', 'shell.json')).settings.startAtLogin, true);
  await shell.menu('start-at-login');
  assert.ok(!existsSync(file));
});

test('the bridge believes no other window, no other page and no strange argument', async () => {
  await using shell = await launch();
  await shell.until('the page is there', () => true);
  const refused = (script: string, why: RegExp): Promise<void> => assert.rejects(shell.page(script), why);
  await refused('window.hearth.changeSettings({ startAtLogin: "yes" })', /no settings of the shell/);
  await refused('window.hearth.changeSettings({ nodeIntegration: true })', /no settings of the shell/);
  await refused('window.hearth.changeSettings(null)', /no settings of the shell/);
  await refused('window.hearth.openFolder("/etc")', /has to be one of/);
  await refused('window.hearth.choosePath()', /has to be one of/);
  if (runtime === undefined) {
    assert.equal(await shell.bridge('choosePath', 'backup-file'), '/media/stick/home.hearthbackup');
    assert.equal(await shell.bridge('choosePath', 'folder'), undefined, 'the person has changed their mind');
  }
  await refused('window.hearth.installUpdate()', /no update to install/);
  const preload = await shell.evaluate(
    ({ app }) => ({ path: app.getAppPath(), isPackaged: app.isPackaged }),
    undefined,
  );
  const strange = await shell.evaluate(
    async ({ BrowserWindow }, script) => {
      const window = new BrowserWindow({ show: false, webPreferences: { preload: script, sandbox: true } });
      await window.loadURL('hearth://app/');
      const answer: unknown = await window.webContents
        .executeJavaScript('window.hearth.getShell()')
        .then(() => 'answered', String);
      window.destroy();
      return answer;
    },
    join(preload.path, 'main', runtime === undefined ? 'preload.ts' : 'preload.cjs'),
  );
  assert.match(String(strange), /only the page of Hearth/);
  await shell.evaluate(
    ({ BrowserWindow }) => BrowserWindow.getAllWindows()[0]?.loadURL('data:text/html,<p>elsewhere</p>'),
    undefined,
  );
  await refused('window.hearth.getShell()', /only the page of Hearth/);
});

test('the page stays where it is, links go to the browser, and nothing is permitted', async () => {
  await using shell = await launch();
  await shell.until('the server runs', isRunning);
  const answer = await shell.page<{ csp: string; type: string; lost: number; above: number; posted: number }>(`
    Promise.all(['/', '/assets/none.js', '/..%2f..%2fpackage.json'].map((path) => fetch(path))).then(async ([page, lost, above]) => ({
      csp: page.headers.get('content-security-policy'), type: page.headers.get('content-type'),
      lost: lost.status, above: above.status, posted: (await fetch('/', { method: 'POST' })).status,
    }))`);
  assert.match(answer.csp, /^default-src 'none'; script-src 'self';/);
  assert.deepEqual([answer.lost, answer.above, answer.posted], [404, 404, 405]);
  if (runtime !== undefined) return;
  const result = await shell.standIn(({ BrowserWindow, opened, session }) => {
    const [window] = BrowserWindow.getAllWindows();
    const contents = window?.webContents;
    const went = [
      'https://matrix.to/#/#hearth:example.org',
      'file:///etc/passwd',
      'hearth://other/',
      'hearth://app/#/people',
    ].map((url) => contents?.navigate(url) === true);
    const openHandler = contents?.listenerCount('will-attach-webview');
    const permissions = ['media', 'notifications', 'openExternal', 'clipboard-sanitized-write'].map((name) =>
      session.defaultSession.checkHandler?.(null, name as never, '', {} as never),
    );
    return { went, openHandler, permissions, external: opened.external, preferences: window?.options.webPreferences };
  }, undefined);
  assert.deepEqual(result.went, [false, false, false, true]);
  assert.deepEqual(result.external, ['https://matrix.to/#/#hearth:example.org']);
  assert.equal(result.openHandler, 1);
  assert.deepEqual(result.permissions, [false, false, false, true]);
  const { contextIsolation, sandbox, nodeIntegration, webviewTag } = result.preferences ?? {};
  assert.deepEqual([contextIsolation, sandbox, nodeIntegration, webviewTag], [true, true, false, false]);
  await shell.page(
    `window.open('https://example.org/help'); window.open('javascript:1'); window.open('https://me:word@example.org/')`,
  );
  assert.deepEqual(await shell.standIn(({ opened }) => opened.external, undefined), [
    'https://matrix.to/#/#hearth:example.org',
    'https://example.org/help',
  ]);
});

test('a server that cannot start is explained, and starts once its reason is gone', async () => {
  using home = new Home();
  // A file where the data directory should be.
  writeFileSync(home.data, 'not a folder');
  await using shell = await launch({ home });
  const given = await shell.until('it was given up', ({ server }) => server.kind === 'failed');
  assert.ok(given.server.kind === 'failed');
  assert.match(given.server.message, /data/, given.server.message);
  assert.equal(given.tray.icon, 'attention');
  const page = await shell.page<string>(`fetch(location.href).then((r) => r.text())`);
  assert.match(page, /Hearth does not run/);
  assert.match(page, /Start it again/);
  if (runtime === undefined) {
    const notices = await shell.standIn(({ Notification }) => Notification.shown.map(({ title }) => title), undefined);
    assert.equal(notices.filter((title) => title === 'Hearth does not run').length, 1);
  }
  renameSync(home.data, join(home.path, 'aside'));
  const ready = Home.create();
  renameSync(ready.data, home.data);
  ready[Symbol.dispose]();
  await shell.bridge('restartServer');
  await shell.until('it runs', isRunning);
  assert.match(await shell.page<string>('location.href'), /hearth:\/\/app\/#/);
});

test('a mistake in the configuration leaves the interface running and says so', async () => {
  using home = Home.create();
  writeFileSync(join(home.data, 'homeserver.yaml'), 'server_name: [nobody\n');
  await using shell = await launch({ home });
  await shell.until(
    'it needs the person',
    ({ server, tray }) => server.kind === 'running' && tray.icon === 'attention',
  );
  if (runtime === undefined) {
    await soon('the person is told', () =>
      shell.standIn(
        ({ Notification }) => Notification.shown.some(({ title }) => title.includes('could not be started')),
        undefined,
      ),
    );
  }
  assert.equal(await shell.quit(), 0);
});

test('the folder of the backups is opened where they are', {
  skip: runtime !== undefined && 'it would open a window',
}, async () => {
  using home = Home.create();
  const directory = join(home.path, 'a second disk');
  mkdirSync(directory);
  await using shell = await launch({ home });
  await shell.until('the server runs', isRunning);
  const plan = { every: 'never', atHour: 3, keep: 2, media: false, directory };
  assert.equal((await shell.control('PUT /backups/schedule', plan)).status, 200);
  assert.ok(!existsSync(join(home.data, 'backups')), 'what is not there cannot be opened instead');
  await shell.bridge('openFolder', 'backups');
  assert.equal(await shell.quit(), 0);
});

test('what the server is to keep secret is sealed by the key store, or lies in a file of this user alone', async () => {
  for (const [keyStore, place] of [
    ['gnome_libsecret', 'system'],
    ['basic_text', 'file'],
  ] as const) {
    using home = Home.create();
    const schedule = { every: 'day', atHour: 3, keep: 2, media: false, passphrase: 'a long way home' };
    {
      await using shell = await launch({ home, standIn: { keyStore } });
      const { secrets } = await shell.until('the server runs', isRunning);
      if (runtime === undefined) assert.equal(secrets, place);
      const { status, body } = await shell.control('PUT /backups/schedule', schedule);
      assert.equal(status, 200, JSON.stringify(body));
      await soon('the shell has it', () => shell.home.has('shell', 'secrets.json'));
      const kept = home.read('shell', 'secrets.json');
      assert.equal(kept.includes('a long way home'), secrets === 'file');
      assert.equal(statSync(join(home.shell, 'secrets.json')).mode & 0o777, 0o600);
      assert.equal(await shell.quit(), 0);
    }
    // The server gets it back, and has no file of its own with it.
    assert.ok(!readdirSync(home.data).some((name) => name.includes('passphrase')));
    await using shell = await launch({ home, standIn: { keyStore } });
    await shell.until('the server runs', isRunning);
    const { body } = await shell.control<Backups>('GET /backups');
    assert.equal(body.schedule.hasPassphrase, true);
    if (place === 'file' && runtime === undefined) {
      assert.deepEqual(JSON.parse(home.read('shell', 'shell.json')).told, ['no-key-store']);
    }
  }
});

test('what the shell keeps survives a file that was damaged', async () => {
  using home = Home.create();
  mkdirSync(home.shell, { recursive: true });
  writeFileSync(join(home.shell, 'shell.json'), '{"settings":{"keepAwake":"yes","notifications":false},"bounds":{"wid');
  chmodSync(home.shell, 0o700);
  await using shell = await launch({ home });
  const { settings } = await shell.until('the page is there', () => true);
  assert.deepEqual(settings, { startAtLogin: false, keepAwake: false, automaticUpdates: true, notifications: true });
  await shell.bridge('changeSettings', { notifications: false });
  assert.equal(JSON.parse(home.read('shell', 'shell.json')).settings.notifications, false);
});

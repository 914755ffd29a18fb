import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import type { Menu, NativeImage, SafeStorage } from 'electron';
import { setLoginItem } from '../../main/login-item.ts';
import { Notifier } from '../../main/notifications.ts';
import { isLinuxOnBattery } from '../../main/power-supply.ts';
import { channelFile } from '../../main/release-check.ts';
import { Secrets } from '../../main/secrets.ts';
import { SettingsFile } from '../../main/settings.ts';
import { TrayFace } from '../../main/tray.ts';
import { onScreen } from '../../main/windows.ts';
import type { Status } from '../../server/appliance/contract.ts';

test('every system is told in its own way to start the program at login, hidden', () => {
  const home = mkdtempSync(join(tmpdir(), 'hearth-login-'));
  try {
    const told: object[] = [];
    const app = { setLoginItemSettings: (settings: object) => void told.push(settings) };
    const parts = { app, home, env: {}, command: [String.raw`C:\Program Files\Hearth\Hearth.exe`] };
    setLoginItem({ ...parts, platform: 'win32' }, true);
    setLoginItem({ ...parts, platform: 'darwin' }, true);
    setLoginItem({ ...parts, platform: 'darwin' }, false);
    assert.deepEqual(told, [
      { openAtLogin: true, path: String.raw`C:\Program Files\Hearth\Hearth.exe`, args: ['--hidden'] },
      { openAtLogin: true },
      { openAtLogin: false },
    ]);
    const file = join(home, '.config', 'autostart', 'hearth.desktop');
    setLoginItem({ ...parts, platform: 'linux', env: { APPIMAGE: '/home/nora/50% "new"/$Hearth' } }, true);
    // Escaped once for the command and once more as a string; a percent sign is doubled.
    const wanted = String.raw`Exec="/home/nora/50%% \\"new\\"/\\$Hearth" "--hidden"`;
    assert.ok(readFileSync(file, 'utf8').split('\n').includes(wanted), readFileSync(file, 'utf8'));
    setLoginItem({ ...parts, platform: 'linux' }, false);
    setLoginItem({ ...parts, platform: 'linux' }, false);
    assert.throws(() => readFileSync(file));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});

test('the tray shows the picture that suits its bar', () => {
  const shown: string[] = [];
  let isDark = false;
  const tray = (platform: NodeJS.Platform): TrayFace =>
    new TrayFace(
      {
        platform,
        icons: '/icons',
        isDark: () => isDark,
        onClick: () => undefined,
        loadImage: (path) => path as unknown as NativeImage,
        create: () => ({
          setImage: (image: unknown) => void shown.push(basename(String(image))),
          setToolTip: () => undefined,
          setContextMenu: () => undefined,
          on: () => assert.equal(platform, 'win32', 'a click opens the menu on macOS') as never,
          destroy: () => undefined,
        }),
      },
      'paused',
    );
  tray('darwin').repaint();
  const face = tray('win32');
  face.repaint();
  isDark = true;
  face.repaint();
  assert.deepEqual(shown, ['tray-pausedTemplate.png', 'tray-paused-dark.ico', 'tray-paused-light.ico']);
});

test('the person is told of each thing once, until it was over, and of nothing if they do not want it', () => {
  const said: string[] = [];
  let isWanted = true;
  const opened: (string | undefined)[] = [];
  const notifier = new Notifier({
    isWanted: () => isWanted,
    open: (page) => void opened.push(page),
    show: ({ title, body }, onClick) => {
      said.push(`${title}: ${body}`);
      onClick();
    },
  });
  const tell = (line: Status['line'], kind = 'disk'): void =>
    notifier.status({
      line,
      reasons: [{ kind, text: 'The disk is nearly full.', nextStep: 'Free some space.', page: '/media' }],
    } as unknown as Status);
  tell('online');
  tell('needs-you');
  tell('needs-you');
  assert.deepEqual(said, ['Hearth needs you: The disk is nearly full. Free some space.']);
  assert.deepEqual(opened, ['/media']);
  tell('needs-you', 'certificate');
  assert.equal(said.length, 2, 'another reason is news');
  tell('online');
  tell('needs-you', 'certificate');
  assert.equal(said.length, 3, 'so is one that is back');
  notifier.server({ kind: 'failed', message: 'why', log: [] });
  notifier.server({ kind: 'starting' });
  notifier.server({ kind: 'failed', message: 'why', log: [] });
  assert.equal(said.length, 4, 'a new try that fails the same way is none');
  isWanted = false;
  tell('unreachable');
  assert.equal(said.length, 4);
});

test('releases are looked for under the names that the packager gives them', () => {
  assert.equal(channelFile('linux', 'x64'), 'latest-linux.yml');
  assert.equal(channelFile('linux', 'arm64'), 'latest-linux-arm64.yml');
  assert.equal(channelFile('darwin', 'arm64'), 'latest-mac.yml');
  assert.equal(channelFile('win32', 'x64'), 'latest.yml');
});

test('the tray is touched only where something of it is different', () => {
  const calls: string[] = [];
  const tray = new TrayFace(
    {
      platform: 'linux',
      icons: '/icons',
      isDark: () => true,
      onClick: () => undefined,
      loadImage: (path) => path as unknown as NativeImage,
      create: () => ({
        setImage: () => void calls.push('image'),
        setToolTip: () => void calls.push('tip'),
        setContextMenu: () => void calls.push('menu'),
        on: () => undefined as never,
        destroy: () => undefined,
      }),
    },
    'busy',
  );
  const menu = {} as Menu;
  tray.show('busy', 'Hearth is starting', menu);
  tray.show('busy', 'Hearth is starting', undefined);
  tray.show('online', 'Hearth is online', undefined);
  assert.deepEqual(calls, ['tip', 'menu', 'image', 'tip']);
});

test('Linux is asked itself whether it lives on its battery', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-power-'));
  const supply = (name: string, properties: Record<string, string>): void => {
    mkdirSync(join(directory, name), { recursive: true });
    for (const [property, value] of Object.entries(properties))
      writeFileSync(join(directory, name, property), `${value}\n`);
  };
  try {
    assert.equal(isLinuxOnBattery(join(directory, 'none')), false, 'there is nothing to ask');
    supply('mouse', { type: 'Battery', scope: 'Device', status: 'Discharging' });
    assert.equal(isLinuxOnBattery(directory), false, 'a mouse has a battery of its own');
    supply('BAT0', { type: 'Battery', status: 'Discharging' });
    supply('AC', { type: 'Mains', online: '0' });
    assert.equal(isLinuxOnBattery(directory), true);
    supply('ucsi-1', { type: 'USB', online: '1' });
    assert.equal(isLinuxOnBattery(directory), false, 'it is fed by USB');
    supply('ucsi-1', { online: '0' });
    supply('BAT0', { status: 'Full' });
    assert.equal(isLinuxOnBattery(directory), false);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a window whose screen is gone comes back on one that is there', () => {
  const screens = [
    { x: 0, y: 25, width: 1440, height: 875 },
    { x: 1440, y: 0, width: 1920, height: 1040 },
  ];
  const onSecond = { x: 1800, y: 100, width: 900, height: 700 };
  assert.deepEqual(onScreen(onSecond, screens), onSecond);
  assert.deepEqual(onScreen(onSecond, screens.slice(0, 1)), { width: 900, height: 700 });
  const leaning = { x: -780, y: 100, width: 900, height: 700 };
  assert.deepEqual(onScreen(leaning, screens), leaning, 'what can be reached stays');
  for (const [x, y] of [
    [-850, 100],
    [100, -300],
    [100, 890],
  ] as const) {
    assert.deepEqual(onScreen({ x, y, width: 900, height: 700 }, screens), { width: 900, height: 700 }, `${x}, ${y}`);
  }
  assert.deepEqual(onScreen({ width: 900, height: 700 }, []), { width: 900, height: 700 });
  assert.equal(onScreen(undefined, screens), undefined);
});

test('where nothing can be written, what is convenient is left and what was asked for is refused', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-settings-'));
  try {
    const complaints: unknown[] = [];
    const place = join(directory, 'shell');
    const settings = new SettingsFile({ directory: place, onError: (error) => void complaints.push(error) });
    // A file where the folder should be: nothing can be written below it.
    writeFileSync(place, '');
    assert.equal(settings.tellOnce('still-here'), true);
    assert.equal(settings.tellOnce('still-here'), false, 'not twice in a run');
    settings.keepBounds({ width: 900, height: 700 });
    assert.equal(complaints.length, 2);
    assert.throws(() => settings.change({ keepAwake: true }));
    assert.equal(settings.settings.keepAwake, false, 'what is shown is what is kept');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a key store that fails or refuses does not cost the secret', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-secrets-'));
  try {
    const refusing: Partial<SafeStorage> = {
      getSelectedStorageBackend: () => 'kwallet6',
      isAsyncEncryptionAvailable: async () => true,
      encryptStringAsync: () => Promise.reject(new Error('the person has said no')),
    };
    const secrets = new Secrets({ directory, platform: 'linux', safeStorage: refusing as SafeStorage });
    await secrets.put('passphrase', 'a long way home');
    assert.deepEqual(await secrets.list(), { passphrase: 'a long way home' });
    assert.equal(statSync(join(directory, 'secrets.json')).mode & 0o777, 0o600);
    const failing: Partial<SafeStorage> = {
      getSelectedStorageBackend: () => 'gnome_libsecret',
      isAsyncEncryptionAvailable: () => Promise.reject(new Error('no bus')),
    };
    const others = new Secrets({ directory, platform: 'linux', safeStorage: failing as SafeStorage });
    assert.equal(await others.place(), 'file');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

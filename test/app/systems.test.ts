import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import type { NativeImage } from 'electron';
import { setLoginItem } from '../../main/login-item.ts';
import { Notifier } from '../../main/notifications.ts';
import { channelFile } from '../../main/release-check.ts';
import { TrayFace } from '../../main/tray.ts';
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
  assert.deepEqual(shown, ['tray-pausedTemplate.png', 'tray-paused-dark.png', 'tray-paused-light.png']);
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

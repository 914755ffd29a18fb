/** The life of the program, from its start to its end. The only file that takes Electron's parts into its hands. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { homedir, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import {
  app,
  BaseWindow,
  BrowserWindow,
  clipboard,
  dialog,
  Menu,
  nativeImage,
  nativeTheme,
  Notification,
  powerMonitor,
  powerSaveBlocker,
  protocol,
  safeStorage,
  screen,
  session,
  shell,
  Tray,
  utilityProcess,
} from 'electron';
import { systemClock } from './clock.ts';
import { keepInside } from './external-links.ts';
import { HIDDEN_FLAG } from './login-item.ts';
import { findPaths } from './paths.ts';
import { isLinuxOnBattery } from './power-supply.ts';
import { createPageHandler, SCHEME } from './protocol.ts';
import { Shell } from './shell.ts';
import { strings } from './strings.ts';
import { refusePermissions } from './windows.ts';

const KEPT_NOTICES = 20;

const paths = findPaths({ here: import.meta.filename, env: process.env, appData: app.getPath('appData') });
try {
  mkdirSync(paths.shell, { recursive: true, mode: 0o700 });
} catch (error) {
  // It is on a disk that is not there, say.
  explain(error);
  process.exit(1);
}
app.setPath('userData', paths.shell);
app.setAppUserModelId('org.hearth.desktop');
protocol.registerSchemesAsPrivileged([SCHEME]);
app.enableSandbox();

if (app.requestSingleInstanceLock()) live();
else app.quit();

function explain(error: unknown): void {
  console.error(error);
  dialog.showErrorBox(strings.appName, strings.startFailed(error instanceof Error ? error.message : String(error)));
}

function live(): void {
  const token = randomBytes(32).toString('base64url');
  // Electron itself holds them so loosely that a click on one would come to nothing after a while.
  const notices: Notification[] = [];
  const hearth = new Shell({
    app,
    paths,
    token,
    clock: systemClock,
    fetch,
    env: process.env,
    platform: process.platform,
    arch: process.arch,
    home: homedir(),
    command: app.isPackaged ? [process.execPath] : [process.execPath, app.getAppPath()],
    resources: process.resourcesPath,
    safeStorage,
    powerMonitor,
    powerSaveBlocker,
    nativeTheme,
    fork: (program, args, options) => utilityProcess.fork(program, args, options),
    killHard: (pid) => process.kill(pid, 'SIGKILL'),
    isOnBattery: () => (process.platform === 'linux' ? isLinuxOnBattery() : powerMonitor.isOnBatteryPower()),
    addresses: () => JSON.stringify(networkInterfaces()),
    screens: () => screen.getAllDisplays().map(({ workArea }) => workArea),
    createWindow: (options) => new BrowserWindow(options),
    createTray: (image) => new Tray(image),
    loadImage: (path) => nativeImage.createFromPath(path),
    buildMenu: (template) => Menu.buildFromTemplate(template),
    setApplicationMenu: (menu) => Menu.setApplicationMenu(menu),
    notify: ({ title, body }, onClick) => {
      if (!app.isReady() || !Notification.isSupported()) return;
      const notification = new Notification({ title, body, icon: join(paths.icons, 'hearth-256.png') });
      notification.on('click', onClick);
      notification.show();
      notices.push(notification);
      if (notices.length > KEPT_NOTICES) notices.shift();
    },
    copy: (text) => void clipboard.writeText(text).catch(console.error),
    openPath: (path) => shell.openPath(path),
    chooseOpen: (options) => {
      // With a window it belongs to, it cannot end up behind that.
      const owner = BrowserWindow.getFocusedWindow();
      return owner === null ? dialog.showOpenDialog(options) : dialog.showOpenDialog(owner, options);
    },
    // Loaded late: it looks at once for a configuration that only a packaged program has.
    loadUpdater: async () => (await import('electron-updater')).default.autoUpdater,
    onError: (error) => console.error(error),
  });

  app.on('second-instance', (_event, argv) => {
    // Started at login while it runs already: nobody has asked for a window.
    if (!argv.includes(HIDDEN_FLAG)) hearth.show();
  });
  app.on('activate', () => hearth.show());
  // Closed windows are hidden ones; the program ends when it is told to.
  app.on('window-all-closed', () => undefined);
  app.on('before-quit', (event) => hearth.quitting(event));
  app.on('web-contents-created', (_event, contents) =>
    keepInside(contents, {
      openExternal: (url) => shell.openExternal(url),
      onError: (error) => console.error(error),
    }),
  );
  // Nothing is served to a page whose certificate cannot be checked, and no page of others is ever loaded.
  app.on('certificate-error', (_event, _contents, _url, _error, _certificate, answer) => answer(false));

  const begin = async (): Promise<void> => {
    if (await hearth.arrive()) return;
    await app.whenReady();
    refusePermissions(session.defaultSession);
    protocol.handle(
      'hearth',
      createPageHandler({
        pages: paths.pages,
        token,
        fetch,
        controlUrl: () => hearth.controlUrl,
        serverState: () => hearth.serverState,
      }),
    );
    // Windows tells windows alone that the session ends, and there may be no other.
    if (process.platform === 'win32') new BaseWindow({ show: false }).on('session-end', () => hearth.sessionEnds());
    const wasOpenedAtLogin = process.platform === 'darwin' && app.getLoginItemSettings().wasOpenedAtLogin;
    await hearth.start({ isHidden: process.argv.includes(HIDDEN_FLAG) || wasOpenedAtLogin });
  };
  begin().catch(async (error: unknown) => {
    if (await hearth.abandon().catch(() => false)) return;
    explain(error);
    app.exit(1);
  });
}

/** The life of the program, from its start to its end. The only file that takes Electron's parts into its hands. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { homedir, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import {
  app,
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
  session,
  shell,
  Tray,
  utilityProcess,
} from 'electron';
import { systemClock } from './clock.ts';
import { keepInside } from './external-links.ts';
import { HIDDEN_FLAG } from './login-item.ts';
import { findPaths } from './paths.ts';
import { createPageHandler, SCHEME } from './protocol.ts';
import { Shell } from './shell.ts';
import { refusePermissions } from './windows.ts';

const paths = findPaths({ here: import.meta.filename, env: process.env, appData: app.getPath('appData') });
mkdirSync(paths.shell, { recursive: true, mode: 0o700 });
app.setPath('userData', paths.shell);
app.setAppUserModelId('org.hearth.desktop');
protocol.registerSchemesAsPrivileged([SCHEME]);
app.enableSandbox();

if (app.requestSingleInstanceLock()) live();
else app.quit();

function live(): void {
  const token = randomBytes(32).toString('base64url');
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
    addresses: () => JSON.stringify(networkInterfaces()),
    createWindow: (options) => new BrowserWindow(options),
    createTray: (image) => new Tray(image),
    loadImage: (path) => nativeImage.createFromPath(path),
    buildMenu: (template) => Menu.buildFromTemplate(template),
    setApplicationMenu: (menu) => Menu.setApplicationMenu(menu),
    notify: ({ title, body }, onClick) => {
      if (!Notification.isSupported()) return;
      const notification = new Notification({ title, body, icon: join(paths.icons, 'hearth-256.png') });
      notification.on('click', onClick);
      notification.show();
    },
    copy: (text) => void clipboard.writeText(text).catch(console.error),
    openPath: (path) => shell.openPath(path),
    chooseOpen: (options) => dialog.showOpenDialog(options),
    // Loaded late: it looks at once for a configuration that only a packaged program has.
    loadUpdater: async () => (await import('electron-updater')).default.autoUpdater,
    onError: (error) => console.error(error),
  });

  app.on('second-instance', () => hearth.show());
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
    const wasOpenedAtLogin = process.platform === 'darwin' && app.getLoginItemSettings().wasOpenedAtLogin;
    await hearth.start({ isHidden: process.argv.includes(HIDDEN_FLAG) || wasOpenedAtLogin });
  };
  begin().catch((error: unknown) => {
    console.error(error);
    dialog.showErrorBox('Hearth', error instanceof Error ? error.message : String(error));
    app.exit(1);
  });
}

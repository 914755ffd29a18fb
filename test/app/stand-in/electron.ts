/**
 * Stands in for Electron where its runtime is not there: the part of its API that the shell uses, with its order of events
 * and its refusals, on plain Node. The types are Electron's, so that a part that changes there does not pass here.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type * as Electron from 'electron';
import { StandInBaseWindow } from './window.ts';
import { appState, type Event, preventable, ready, requireReady, settings } from './world.ts';

export { contextBridge, ipcMain, ipcRenderer } from './ipc.ts';
export { Menu } from './menu.ts';
export { protocol, session } from './session.ts';
export { StandInBaseWindow as BaseWindow, StandInWindow as BrowserWindow } from './window.ts';

class App extends EventEmitter {
  readonly isPackaged = settings.isPackaged;
  readonly commandLine = { hasSwitch: () => false };
  #paths = new Map<string, string>([
    ['appData', settings.appData],
    ['userData', join(settings.appData, 'Hearth')],
  ]);
  #lock: string | undefined;
  loginItem: Electron.Settings | undefined;

  getVersion(): string {
    return settings.version;
  }
  getName(): string {
    return 'Hearth';
  }
  getAppPath(): string {
    return settings.root;
  }
  getPath(name: string): string {
    const path = this.#paths.get(name);
    if (path === undefined) throw new Error(`Failed to get '${name}' path`);
    return path;
  }
  setPath(name: string, path: string): void {
    if (!existsSync(path)) throw new Error(`${path} does not exist`);
    this.#paths.set(name, path);
  }
  setAppUserModelId(id: string): void {
    if (id === '') throw new TypeError('an ID is needed');
  }
  enableSandbox(): void {
    if (appState.isReady) throw new Error('app.enableSandbox() can only be called before app is ready');
    appState.isSandboxed = true;
  }
  isReady(): boolean {
    return appState.isReady;
  }
  whenReady(): Promise<void> {
    return ready;
  }
  requestSingleInstanceLock(): boolean {
    const directory = this.getPath('userData');
    const lock = join(directory, 'SingletonLock');
    const owner = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
    if (owner !== 0 && isAlive(owner)) {
      writeFileSync(join(directory, `Singleton-${process.pid}`), JSON.stringify(process.argv));
      return false;
    }
    writeFileSync(lock, String(process.pid));
    this.#lock = lock;
    const watcher = watch(directory, () => this.#lookForOthers(directory));
    watcher.unref();
    return true;
  }
  #lookForOthers(directory: string): void {
    for (const name of readdirSync(directory).filter((each) => /^Singleton-\d+$/.test(each))) {
      const argv = readFileSync(join(directory, name), 'utf8');
      if (argv === '') continue;
      rmSync(join(directory, name), { force: true });
      this.emit('second-instance', preventable(), JSON.parse(argv), process.cwd(), undefined);
    }
  }
  releaseSingleInstanceLock(): void {
    if (this.#lock !== undefined) rmSync(this.#lock, { force: true });
    this.#lock = undefined;
  }
  /** before-quit, the windows' close, will-quit, quit: any of the first three may keep the program alive. */
  quit(): void {
    setImmediate(() => {
      const before = preventable();
      this.emit('before-quit', before);
      if (before.defaultPrevented) return;
      for (const window of StandInBaseWindow.getAllWindows()) if (!window.close()) return;
      const will = preventable();
      this.emit('will-quit', will);
      if (!will.defaultPrevented) this.exit(0);
    });
  }
  exit(code = 0): void {
    for (const window of StandInBaseWindow.getAllWindows()) window.destroy();
    this.emit('quit', preventable(), code);
    if (this.#lock !== undefined) rmSync(this.#lock, { force: true });
    process.exit(code);
  }
  relaunch(options: Electron.RelaunchOptions = {}): void {
    writeFileSync(join(settings.appData, 'relaunched.json'), JSON.stringify(options));
  }
  setLoginItemSettings(loginItem: Electron.Settings): void {
    this.loginItem = loginItem;
  }
  getLoginItemSettings(): Pick<Electron.LoginItemSettings, 'openAtLogin' | 'wasOpenedAtLogin'> {
    return { openAtLogin: this.loginItem?.openAtLogin === true, wasOpenedAtLogin: false };
  }
}
export const app = new App();
appState.emitApp = (name, ...args) => app.emit(name, ...args);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A child process in place of a utility process; it has `process.parentPort` as those have. */
class Utility extends EventEmitter {
  readonly stdout: NodeJS.ReadableStream | null;
  readonly stderr: NodeJS.ReadableStream | null;
  readonly #child: ChildProcess;
  #isOver = false;
  pid: number | undefined;

  constructor(program: string, args: string[], { env, stdio }: Electron.ForkOptions) {
    super();
    requireReady('utilityProcess');
    this.#child = fork(program, args, {
      env: env as NodeJS.ProcessEnv,
      execArgv: ['--import', new URL('parent-port.ts', import.meta.url).href],
      stdio: ['ignore', stdio === 'pipe' ? 'pipe' : 'inherit', stdio === 'pipe' ? 'pipe' : 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    this.stdout = this.#child.stdout;
    this.stderr = this.#child.stderr;
    this.#child.once('spawn', () => {
      this.pid = this.#child.pid;
      this.emit('spawn');
    });
    this.#child.on('message', (message) => this.emit('message', message));
    this.#child.once('exit', (code, signal) => {
      this.#isOver = true;
      this.pid = undefined;
      this.emit('exit', code ?? (signal === null ? 1 : 143));
    });
  }
  postMessage(message: unknown): void {
    if (!this.#isOver && this.#child.connected) this.#child.send(message as object);
  }
  kill(): boolean {
    return this.#child.kill('SIGTERM');
  }
}
export const utilityProcess = {
  fork: (program: string, args: string[] = [], options: Electron.ForkOptions = {}) =>
    new Utility(program, args, options),
};

interface Image {
  readonly path: string;
  isEmpty(): boolean;
}
export const nativeImage = {
  createFromPath: (path: string): Image => ({ path, isEmpty: () => !existsSync(path) }),
};

export class Tray extends EventEmitter {
  static readonly all: Tray[] = [];
  image: Image;
  toolTip = '';
  /** How often it was given a menu: an open one is closed by that. */
  menus = 0;
  #isDestroyed = false;
  menu: Pick<Electron.Menu, 'getMenuItemById' | 'items'> | undefined;

  constructor(image: Image) {
    super();
    requireReady('Tray');
    if (image.isEmpty()) throw new Error(`Failed to load image from path '${image.path}'`);
    this.image = image;
    Tray.all.push(this);
  }
  isDestroyed(): boolean {
    return this.#isDestroyed;
  }
  #mustBeThere(): void {
    if (this.#isDestroyed) throw new Error('Tray is destroyed');
  }
  setImage(image: Image): void {
    this.#mustBeThere();
    if (image.isEmpty()) throw new Error(`Failed to load image from path '${image.path}'`);
    this.image = image;
  }
  setToolTip(text: string): void {
    this.#mustBeThere();
    this.toolTip = text;
  }
  setContextMenu(menu: Pick<Electron.Menu, 'getMenuItemById' | 'items'>): void {
    this.#mustBeThere();
    this.menu = menu;
    this.menus++;
  }
  destroy(): void {
    this.#isDestroyed = true;
    Tray.all.splice(Tray.all.indexOf(this), 1);
  }
}

export class Notification extends EventEmitter {
  static readonly shown: Notification[] = [];
  static isSupported(): boolean {
    return true;
  }
  readonly title: string;
  readonly body: string;
  constructor({ title = '', body = '' }: Electron.NotificationConstructorOptions = {}) {
    super();
    requireReady('Notification');
    this.title = title;
    this.body = body;
  }
  show(): void {
    Notification.shown.push(this);
  }
}

/** On Linux, Electron says of the supply of power what is not so: whoever asks it there has made a mistake. */
export const powerMonitor = Object.assign(new EventEmitter(), {
  isOnBatteryPower: (): boolean => {
    if (process.platform === 'linux') throw new Error('Electron does not know the supply of power on Linux');
    return false;
  },
});
const blockers = new Map<number, string>();
let blockerIds = 0;
export const powerSaveBlocker = {
  start: (type: string): number => {
    blockers.set(++blockerIds, type);
    return blockerIds;
  },
  stop: (id: number): boolean => blockers.delete(id),
  isStarted: (id: number): boolean => blockers.has(id),
};
export const nativeTheme = Object.assign(new EventEmitter(), { shouldUseDarkColorsForSystemIntegratedUI: false });

export const screen = {
  getAllDisplays: (): Pick<Electron.Display, 'workArea'>[] => {
    requireReady('screen');
    return [{ workArea: { x: 0, y: 0, width: 1920, height: 1040 } }];
  },
};

let copied = '';
export const clipboard = {
  writeText: async (text: string): Promise<void> => {
    copied = text;
  },
  readText: async (): Promise<string> => copied,
};

export const opened: { external: string[]; paths: string[] } = { external: [], paths: [] };
export const shell = {
  openExternal: async (url: string): Promise<void> => void opened.external.push(url),
  openPath: async (path: string): Promise<string> => {
    if (!existsSync(path)) return 'No application is registered';
    opened.paths.push(path);
    return '';
  },
};

export const dialog = {
  showErrorBox: (title: string, content: string): void => console.error(`${title}: ${content}`),
  showOpenDialog: async (
    ...args: [Electron.OpenDialogOptions] | [unknown, Electron.OpenDialogOptions]
  ): Promise<Electron.OpenDialogReturnValue> => {
    requireReady('dialog');
    const options = args.length === 1 ? args[0] : args[1];
    return options.properties?.includes('openFile') === true
      ? { canceled: false, filePaths: ['/media/stick/home.hearthbackup'] }
      : { canceled: true, filePaths: [] };
  },
};

const SEAL = 0x5a;
/** A key store that is `locked` asks for a password, and nobody is there to give it. */
async function unlocked(): Promise<void> {
  requireReady('safeStorage');
  if (settings.keyStore === 'locked') await new Promise(() => undefined);
}
export const safeStorage = {
  isAsyncEncryptionAvailable: async (): Promise<boolean> => {
    await unlocked();
    return settings.keyStore !== 'none';
  },
  getSelectedStorageBackend: (): string => (appState.isReady ? settings.keyStore : 'unknown'),
  encryptStringAsync: async (text: string): Promise<Buffer> => {
    await unlocked();
    return Buffer.from(text).map((byte) => byte ^ SEAL) as Buffer;
  },
  decryptStringAsync: async (sealed: Buffer): Promise<Electron.DecryptStringAsyncReturnValue> => {
    await unlocked();
    return { result: Buffer.from(sealed.map((byte) => byte ^ SEAL)).toString(), shouldReEncrypt: false };
  },
};

/** What electron-updater reaches the feed by. */
export const net = {
  request: ({ session: _session, redirect: _redirect, ...options }: Parameters<typeof request>[1] & Event) =>
    request({ ...options, agent: false }),
};
export const autoUpdater = new EventEmitter();

mkdirSync(settings.appData, { recursive: true });

// What is used of Electron must be there as Electron has it; what their emitters say is beyond these types.
app satisfies Pick<
  Electron.App,
  | 'exit'
  | 'getAppPath'
  | 'getName'
  | 'getVersion'
  | 'isPackaged'
  | 'quit'
  | 'relaunch'
  | 'releaseSingleInstanceLock'
  | 'requestSingleInstanceLock'
  | 'setAppUserModelId'
  | 'setLoginItemSettings'
  | 'setPath'
  | 'whenReady'
>;
utilityProcess satisfies {
  fork: (
    ...args: Parameters<typeof Electron.utilityProcess.fork>
  ) => Pick<Electron.UtilityProcess, 'kill' | 'pid' | 'postMessage' | 'stderr' | 'stdout'>;
};
powerMonitor satisfies Pick<Electron.PowerMonitor, 'isOnBatteryPower'>;
powerSaveBlocker satisfies Pick<Electron.PowerSaveBlocker, 'isStarted' | 'start' | 'stop'>;
nativeTheme satisfies Pick<Electron.NativeTheme, 'shouldUseDarkColorsForSystemIntegratedUI'>;
clipboard satisfies Pick<Electron.Clipboard, 'readText' | 'writeText'>;
shell satisfies Pick<Electron.Shell, 'openExternal' | 'openPath'>;
dialog satisfies Pick<Electron.Dialog, 'showErrorBox'> & {
  showOpenDialog(options: Electron.OpenDialogOptions): Promise<Electron.OpenDialogReturnValue>;
};
safeStorage satisfies Pick<
  Electron.SafeStorage,
  'decryptStringAsync' | 'encryptStringAsync' | 'isAsyncEncryptionAvailable'
>;
Notification satisfies new (
  options: Electron.NotificationConstructorOptions,
) => Pick<Electron.Notification, 'show' | 'title' | 'body'>;

import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';
import type * as Electron from 'electron';
import { createRenderer, type Sender } from './ipc.ts';
import { answerPage, session } from './session.ts';
import { appState, preventable, requireReady } from './world.ts';

type OpenHandler = (details: { url: string }) => { action: 'allow' | 'deny' };

/** A page without a browser: its preload script runs, its scripts are what the test has it run. */
class Contents extends EventEmitter {
  readonly id: number;
  readonly session = session.defaultSession;
  readonly #preload: string | undefined;
  #url = '';
  #openHandler: OpenHandler = () => ({ action: 'allow' });
  #context = createContext({});
  #receive: (channel: string, ...args: unknown[]) => void = () => undefined;
  lastResponse: Response | undefined;
  isGone = false;

  constructor(id: number, preload: string | undefined) {
    super();
    this.id = id;
    this.#preload = preload;
  }

  getURL(): string {
    return this.#url;
  }

  setWindowOpenHandler(handler: OpenHandler): void {
    this.#openHandler = handler;
  }

  send(channel: string, ...args: unknown[]): void {
    if (this.isGone) throw new TypeError('Object has been destroyed');
    this.#receive(channel, ...args);
  }

  async load(url: string): Promise<void> {
    if (url.startsWith('hearth:')) {
      this.lastResponse = await answerPage(new Request(url.replace(/#.*$/, '')));
      if (!this.lastResponse.ok && this.lastResponse.status >= 500) throw new Error(`ERR_FAILED loading '${url}'`);
    } else if (!url.startsWith('data:')) {
      throw new Error(`ERR_FAILED loading '${url}'`);
    }
    this.#url = url;
    const sender = (): Sender => ({ contents: this, frame: { url: this.#url, parent: null } });
    const { electron, world, receive } = createRenderer(sender);
    this.#receive = receive;
    if (this.#preload !== undefined) await runPreload(this.#preload, electron);
    const at = new URL(url);
    const page: Record<string, unknown> = {
      ...world,
      location: at,
      fetch: async (address: string, init?: RequestInit) => {
        const target = new URL(address, at);
        if (target.protocol !== at.protocol || target.host !== at.host) throw new TypeError('Failed to fetch');
        return answerPage(new Request(target, init));
      },
      open: (address: string) => {
        if (this.#openHandler({ url: address }).action === 'allow') throw new Error('a window was opened');
        return null;
      },
      console,
      setTimeout,
    };
    page['window'] = page;
    this.#context = createContext(page);
    this.emit('did-finish-load');
  }

  /** What the page's own link would do. */
  navigate(url: string): boolean {
    const event = preventable({ url, isMainFrame: true });
    this.emit('will-frame-navigate', event);
    if (!event.defaultPrevented) this.emit('will-navigate', event);
    return !event.defaultPrevented;
  }

  async executeJavaScript(code: string): Promise<unknown> {
    return runInContext(code, this.#context);
  }
}

let preloadBundle: Promise<string> | undefined;

/** As in the sandbox: one script, and nothing to require but `electron`. */
async function runPreload(path: string, electron: unknown): Promise<void> {
  // Loaded late: what waits at its top cannot be required, which is how a CommonJS package comes to this stand-in.
  if (path.endsWith('.ts'))
    preloadBundle ??= import('../../../build/bundle.ts').then(({ bundlePreload }) => bundlePreload());
  const code = preloadBundle === undefined ? readFileSync(path, 'utf8') : await preloadBundle;
  const require = (name: string): unknown => {
    if (name !== 'electron') throw new Error(`module not found: ${name}`);
    return electron;
  };
  const module = { exports: {} };
  runInContext(`(function (require, module, exports) {${code}\n})`, createContext({}))(require, module, module.exports);
}

let windows: StandInBaseWindow[] = [];
let ids = 0;

/** A window that nobody sees, with nothing in it. */
export class StandInBaseWindow extends EventEmitter {
  static getAllWindows(): StandInBaseWindow[] {
    return [...windows];
  }
  readonly options: Electron.BaseWindowConstructorOptions;
  #isVisible: boolean;
  #isDestroyed = false;
  #isMinimized = false;
  #isFullScreen = false;

  constructor(options: Electron.BaseWindowConstructorOptions = {}) {
    super();
    requireReady('BaseWindow');
    this.options = options;
    this.#isVisible = options.show !== false;
    windows.push(this);
  }
  /** As every method of a window that is gone does. */
  #mustBeThere(): void {
    if (this.#isDestroyed) throw new TypeError('Object has been destroyed');
  }
  show(): void {
    this.#mustBeThere();
    this.#isVisible = true;
  }
  hide(): void {
    this.#mustBeThere();
    // A screen that a window has filled would stay black.
    if (this.#isFullScreen) throw new Error('a window was hidden that fills the screen');
    this.#isVisible = false;
  }
  focus(): void {
    this.#mustBeThere();
  }
  minimize(): void {
    this.#mustBeThere();
    this.#isMinimized = true;
  }
  isMinimized(): boolean {
    this.#mustBeThere();
    return this.#isMinimized;
  }
  restore(): void {
    this.#mustBeThere();
    this.#isMinimized = false;
  }
  isMaximized(): boolean {
    this.#mustBeThere();
    return false;
  }
  isFullScreen(): boolean {
    this.#mustBeThere();
    return this.#isFullScreen;
  }
  setFullScreen(isFull: boolean): void {
    this.#mustBeThere();
    // It takes the system a moment.
    setImmediate(() => {
      this.#isFullScreen = isFull;
      this.emit(isFull ? 'enter-full-screen' : 'leave-full-screen');
    });
  }
  getNormalBounds(): { x: number; y: number; width: number; height: number } {
    this.#mustBeThere();
    const { x = 10, y = 10, width = 800, height = 600 } = this.options;
    return { x, y, width, height };
  }
  isVisible(): boolean {
    this.#mustBeThere();
    return this.#isVisible;
  }
  isDestroyed(): boolean {
    return this.#isDestroyed;
  }
  /** Whether it was not kept open. */
  close(): boolean {
    this.#mustBeThere();
    const event = preventable();
    this.emit('close', event);
    if (event.defaultPrevented) return false;
    this.destroy();
    return true;
  }
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    windows = windows.filter((each) => each !== this);
    this.emit('closed');
    if (windows.length === 0) appState.emitApp('window-all-closed');
  }
}

/** A window that nobody sees, with a page. */
export class StandInWindow extends StandInBaseWindow {
  static override getAllWindows(): StandInWindow[] {
    return windows.filter((each) => each instanceof StandInWindow);
  }
  static getFocusedWindow(): StandInWindow | null {
    return this.getAllWindows().find((each) => each.isVisible()) ?? null;
  }
  declare readonly options: Electron.BrowserWindowConstructorOptions;
  readonly webContents: Contents;

  constructor(options: Electron.BrowserWindowConstructorOptions = {}) {
    super(options);
    this.webContents = new Contents(++ids, options.webPreferences?.preload);
    appState.emitApp('web-contents-created', preventable(), this.webContents);
  }
  async loadURL(url: string): Promise<void> {
    const isFirst = this.webContents.getURL() === '';
    await this.webContents.load(url);
    if (isFirst) this.emit('ready-to-show');
  }
  override destroy(): void {
    this.webContents.isGone = true;
    super.destroy();
  }
}

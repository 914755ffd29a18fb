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

let windows: StandInWindow[] = [];
let ids = 0;

/** A window that nobody sees. */
export class StandInWindow extends EventEmitter {
  static getAllWindows(): StandInWindow[] {
    return [...windows];
  }
  readonly webContents: Contents;
  readonly options: Electron.BrowserWindowConstructorOptions;
  #isVisible = false;
  #isDestroyed = false;
  #isMinimized = false;

  constructor(options: Electron.BrowserWindowConstructorOptions = {}) {
    super();
    requireReady('BrowserWindow');
    this.options = options;
    this.#isVisible = options.show !== false;
    this.webContents = new Contents(++ids, options.webPreferences?.preload);
    windows.push(this);
    appState.emitApp('web-contents-created', preventable(), this.webContents);
  }
  async loadURL(url: string): Promise<void> {
    const isFirst = this.webContents.getURL() === '';
    await this.webContents.load(url);
    if (isFirst) this.emit('ready-to-show');
  }
  show(): void {
    this.#isVisible = true;
  }
  hide(): void {
    this.#isVisible = false;
  }
  focus(): void {
    if (this.#isDestroyed) throw new TypeError('Object has been destroyed');
  }
  minimize(): void {
    this.#isMinimized = true;
  }
  isMinimized(): boolean {
    return this.#isMinimized;
  }
  restore(): void {
    this.#isMinimized = false;
  }
  isMaximized(): boolean {
    return false;
  }
  getNormalBounds(): { x: number; y: number; width: number; height: number } {
    const { x = 10, y = 10, width = 800, height = 600 } = this.options;
    return { x, y, width, height };
  }
  isVisible(): boolean {
    return this.#isVisible;
  }
  isDestroyed(): boolean {
    return this.#isDestroyed;
  }
  /** Whether it was not kept open. */
  close(): boolean {
    const event = preventable();
    this.emit('close', event);
    if (event.defaultPrevented) return false;
    this.destroy();
    return true;
  }
  destroy(): void {
    this.#isDestroyed = true;
    this.#isVisible = false;
    windows = windows.filter((each) => each !== this);
    this.emit('closed');
    if (windows.length === 0) appState.emitApp('window-all-closed');
  }
}

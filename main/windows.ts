import type { BrowserWindow, BrowserWindowConstructorOptions, Session } from 'electron';
import { FAILURE_PATH } from './failure-page.ts';
import { PAGE_ORIGIN } from './protocol.ts';
import type { Bounds } from './settings.ts';

type Window = Pick<
  BrowserWindow,
  | 'on'
  | 'once'
  | 'show'
  | 'hide'
  | 'destroy'
  | 'isVisible'
  | 'focus'
  | 'isDestroyed'
  | 'isMinimized'
  | 'restore'
  | 'isMaximized'
  | 'getNormalBounds'
  | 'isFullScreen'
  | 'setFullScreen'
  | 'loadURL'
  | 'webContents'
>;

interface WindowParts {
  readonly create: (options: BrowserWindowConstructorOptions) => Window;
  readonly preload: string;
  readonly icon: string | undefined;
  readonly bounds: () => Bounds | undefined;
  /** What can be seen of each screen there is. */
  readonly screens: () => readonly Required<Bounds>[];
  readonly keepBounds: (bounds: Bounds) => void;
  /** The window was closed to the tray. */
  readonly onHidden: () => void;
  readonly onError: (error: unknown) => void;
}

const MAX_PAGE_CRASHES = 3;
const START_SIZE = { width: 1120, height: 780 };
/** So much (pixels) of the upper edge has to be on a screen, or a window cannot be seen and moved. */
const GRIP = { width: 100, height: 40 };

/** The one window. Closing it hides it; it is made when it is first shown. */
export class MainWindow {
  readonly #parts: WindowParts;
  #window: Window | undefined;
  #isQuitting = false;
  #showsFailure = false;
  #crashes = 0;

  constructor(parts: WindowParts) {
    this.#parts = parts;
  }

  /** Shows the window, at a page of the interface where one is named (`backups`). */
  show(page?: string): void {
    const window = this.#window;
    if (window === undefined || window.isDestroyed()) {
      this.#create(page);
      return;
    }
    if (page !== undefined && !this.#showsFailure) this.#load(window, page);
    if (window.isMinimized()) window.restore();
    window.show();
    window.focus();
  }

  /** Whether the page of this window sent it. */
  owns(contents: unknown): boolean {
    return this.#window !== undefined && !this.#window.isDestroyed() && this.#window.webContents === contents;
  }

  send(channel: string, content: unknown): void {
    if (this.#window !== undefined && !this.#window.isDestroyed()) this.#window.webContents.send(channel, content);
  }

  /** Shows what keeps the server from running in place of the interface, or the interface again. */
  showFailure(isFailed: boolean): void {
    if (this.#showsFailure === isFailed) return;
    this.#showsFailure = isFailed;
    if (this.#window !== undefined && !this.#window.isDestroyed()) this.#load(this.#window);
  }

  /** From now on closing is closing. */
  letClose(): void {
    this.#isQuitting = true;
  }

  #create(page: string | undefined): void {
    const { create, preload, icon, bounds, screens, keepBounds, onHidden, onError } = this.#parts;
    const window = create({
      ...START_SIZE,
      ...onScreen(bounds(), screens()),
      minWidth: 360,
      minHeight: 480,
      show: false,
      title: 'Hearth',
      autoHideMenuBar: true,
      ...(icon === undefined ? {} : { icon }),
      webPreferences: {
        preload,
        contextIsolation: true,
        sandbox: true,
        nodeIntegration: false,
        nodeIntegrationInWorker: false,
        nodeIntegrationInSubFrames: false,
        webSecurity: true,
        webviewTag: false,
        navigateOnDragDrop: false,
        spellcheck: false,
      },
    });
    window.once('ready-to-show', () => window.show());
    window.on('close', (event) => {
      if (!window.isMaximized()) keepBounds(window.getNormalBounds());
      if (this.#isQuitting) return;
      event.preventDefault();
      hide(window);
      onHidden();
    });
    window.webContents.on('render-process-gone', (_event, { reason }) => {
      if (reason === 'clean-exit' || this.#isQuitting) return;
      onError(new Error(`the page ended: ${reason}`));
      // Once more and not forever: a page that ends each time is shown again when the person asks for it.
      const again = window.isVisible() && this.#crashes++ < MAX_PAGE_CRASHES;
      window.destroy();
      if (again) this.#create(undefined);
    });
    window.on('closed', () => {
      this.#window = undefined;
    });
    this.#window = window;
    this.#load(window, page);
  }

  #load(window: Window, page = ''): void {
    const address = this.#showsFailure
      ? `${PAGE_ORIGIN}${FAILURE_PATH}`
      : `${PAGE_ORIGIN}/#/${page.replace(/^\//, '')}`;
    window.loadURL(address).catch(this.#parts.onError);
  }
}

/** On macOS, a window that fills the screen would leave it black. */
function hide(window: Window): void {
  if (!window.isFullScreen()) {
    window.hide();
    return;
  }
  window.once('leave-full-screen', () => window.hide());
  window.setFullScreen(false);
}

/** Where a window was, unless the screen it was on is gone: then its size alone, and the system places it. */
export function onScreen(bounds: Bounds | undefined, screens: readonly Required<Bounds>[]): Bounds | undefined {
  if (bounds === undefined) return undefined;
  const { x, y, width, height } = bounds;
  if (x === undefined || y === undefined) return bounds;
  const isSeen = screens.some(
    (screen) =>
      Math.min(x + width, screen.x + screen.width) - Math.max(x, screen.x) >= GRIP.width &&
      y >= screen.y - GRIP.height &&
      y + GRIP.height <= screen.y + screen.height,
  );
  return isSeen ? bounds : { width, height };
}

/** What a page might ask the browser for, refused: but to copy text, which needs no more than a click. */
export function refusePermissions(
  session: Pick<Session, 'setPermissionRequestHandler' | 'setPermissionCheckHandler' | 'setDevicePermissionHandler'>,
): void {
  const isHarmless = (permission: string): boolean => permission === 'clipboard-sanitized-write';
  session.setPermissionRequestHandler((_contents, permission, answer) => answer(isHarmless(permission)));
  session.setPermissionCheckHandler((_contents, permission) => isHarmless(permission));
  session.setDevicePermissionHandler(() => false);
}

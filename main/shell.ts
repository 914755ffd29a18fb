import { join } from 'node:path';
import type {
  App,
  BrowserWindowConstructorOptions,
  Menu,
  MenuItemConstructorOptions,
  NativeImage,
  NativeTheme,
  OpenDialogOptions,
  OpenDialogReturnValue,
  PowerMonitor,
  PowerSaveBlocker,
  SafeStorage,
} from 'electron';
import type { Status } from '../server/appliance/contract.ts';
import type { Clock } from './clock.ts';
import { CHANNELS, type FolderName, type ServerState, type ShellInfo, type ShellSettings } from './contract.ts';
import { ControlClient } from './control-client.ts';
import { type Face, faceOf } from './face.ts';
import { serveBridge } from './ipc.ts';
import { setLoginItem } from './login-item.ts';
import { type Actions, applicationMenu, trayMenu } from './menu.ts';
import { Notifier } from './notifications.ts';
import type { Paths } from './paths.ts';
import { Power } from './power.ts';
import { Secrets } from './secrets.ts';
import { ServerProcess } from './server-process.ts';
import { type Bounds, SettingsFile } from './settings.ts';
import { strings } from './strings.ts';
import { TrayFace } from './tray.ts';
import { Updates } from './updates.ts';
import { MainWindow } from './windows.ts';

interface ShellParts {
  readonly app: Pick<
    App,
    'quit' | 'exit' | 'relaunch' | 'releaseSingleInstanceLock' | 'getVersion' | 'isPackaged' | 'setLoginItemSettings'
  >;
  readonly paths: Paths;
  readonly token: string;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  readonly home: string;
  /** What starts this program. */
  readonly command: readonly string[];
  readonly resources: string;
  readonly safeStorage: SafeStorage;
  readonly powerMonitor: PowerMonitor;
  readonly powerSaveBlocker: PowerSaveBlocker;
  readonly isOnBattery: () => boolean;
  readonly nativeTheme: Pick<NativeTheme, 'shouldUseDarkColorsForSystemIntegratedUI' | 'on'>;
  readonly fork: ConstructorParameters<typeof ServerProcess>[0]['fork'];
  readonly killHard: (pid: number) => void;
  readonly addresses: () => string;
  /** What can be seen of each screen there is. */
  readonly screens: () => readonly Required<Bounds>[];
  readonly createWindow: (options: BrowserWindowConstructorOptions) => ReturnType<WindowFactory>;
  readonly createTray: ConstructorParameters<typeof TrayFace>[0]['create'];
  readonly loadImage: (path: string) => NativeImage;
  readonly buildMenu: (template: MenuItemConstructorOptions[]) => Menu;
  readonly setApplicationMenu: (menu: Menu) => void;
  readonly notify: (notice: { title: string; body: string }, onClick: () => void) => void;
  readonly copy: (text: string) => void;
  /** Gives the reason where it could not, or nothing. */
  readonly openPath: (path: string) => Promise<string>;
  readonly chooseOpen: (options: OpenDialogOptions) => Promise<OpenDialogReturnValue>;
  readonly loadUpdater: ConstructorParameters<typeof Updates>[0]['loadUpdater'];
  readonly onError: (error: unknown) => void;
}
type WindowFactory = ConstructorParameters<typeof MainWindow>[0]['create'];

/** How long (ms) the end of the program may take once an update is being put in place. */
const INSTALL_MS = 60_000;

/** The parts of the shell and what goes on between them. */
export class Shell {
  readonly #parts: ShellParts;
  readonly #settings: SettingsFile;
  readonly #secrets: Secrets;
  readonly #server: ServerProcess;
  readonly #control: ControlClient;
  readonly #updates: Updates;
  readonly #power: Power;
  readonly #notifier: Notifier;
  readonly #window: MainWindow;
  readonly #follow = new AbortController();
  #tray: TrayFace | undefined;
  /** What the menus were built of. */
  #menus = '';
  #status: Status | undefined;
  #face: Face;
  #secretsPlace: 'system' | 'file' = 'file';
  #end: 'no' | 'begun' | 'over' = 'no';
  #runAfterInstall = false;
  #isSystemEnding = false;
  #isFailing = false;

  constructor(parts: ShellParts) {
    const { app, paths, clock, platform, env } = parts;
    this.#parts = parts;
    this.#settings = new SettingsFile({ directory: paths.shell, onError: parts.onError });
    this.#secrets = new Secrets({ directory: paths.shell, platform, safeStorage: parts.safeStorage });
    this.#server = new ServerProcess({
      clock,
      env,
      fork: parts.fork,
      program: paths.serverProgram,
      dataDir: paths.data,
      token: parts.token,
      secrets: this.#secrets,
      onError: parts.onError,
      onChange: (state) => this.#serverMoved(state),
      killHard: parts.killHard,
    });
    this.#face = faceOf(this.#server.state, undefined);
    this.#control = new ControlClient({
      clock,
      fetch: parts.fetch,
      token: parts.token,
      url: () => this.controlUrl,
    });
    this.#updates = new Updates({
      clock,
      platform,
      fetch: parts.fetch,
      loadUpdater: parts.loadUpdater,
      version: app.getVersion(),
      isPackaged: app.isPackaged,
      arch: parts.arch,
      resources: parts.resources,
      directory: paths.shell,
      appImage: env['APPIMAGE'],
      isAutomatic: () => this.#settings.settings.automaticUpdates,
      onChange: (state) => {
        this.#notifier.update(state);
        // Without its server this version has nothing to show but that.
        if (this.#updates.isGoingBack && state.kind === 'failed') this.#server.refuse(state.message);
        this.#show();
      },
      // The next start may be the one at login.
      onMoved: (program) => {
        if (this.#settings.settings.startAtLogin) this.#settleLogin({ ...env, APPIMAGE: program });
      },
      startInstead: (program) => {
        if (this.#settings.settings.startAtLogin) this.#settleLogin({ ...env, APPIMAGE: program });
        app.relaunch({ execPath: program });
        app.exit(0);
      },
      quit: () => app.quit(),
    });
    this.#power = new Power({
      clock,
      powerMonitor: parts.powerMonitor,
      powerSaveBlocker: parts.powerSaveBlocker,
      addresses: parts.addresses,
      keepAwake: () => this.#settings.settings.keepAwake,
      isOnBattery: parts.isOnBattery,
      onSleep: () => this.#server.tell({ type: 'sleep' }),
      onWake: () => this.#ask('POST /server/wake'),
      onShutdown: () => this.sessionEnds(),
    });
    this.#notifier = new Notifier({
      show: parts.notify,
      isWanted: () => this.#settings.settings.notifications,
      open: (page) => this.#window.show(page),
    });
    this.#window = new MainWindow({
      create: parts.createWindow,
      preload: paths.preload,
      // On the other systems the package has it.
      icon: platform === 'linux' ? join(paths.icons, 'hearth-256.png') : undefined,
      bounds: () => this.#settings.bounds,
      screens: parts.screens,
      keepBounds: (bounds) => this.#settings.keepBounds(bounds),
      onHidden: () => {
        if (this.#settings.tellOnce('still-here')) this.#notifier.say(strings.notices.stillHere);
      },
      onError: parts.onError,
    });
  }

  /** Where the control API answers; undefined while it does not. */
  get controlUrl(): string | undefined {
    return this.#server.listening?.url;
  }

  get serverState(): ServerState {
    return this.#server.state;
  }

  /** Before anything else: whether this version makes way for the one before, and the program ends. */
  async arrive(): Promise<boolean> {
    try {
      return await this.#updates.arrive();
    } catch (error) {
      this.#parts.onError(error);
      return false;
    }
  }

  /** Once Electron is ready. */
  async start({ isHidden }: { readonly isHidden: boolean }): Promise<void> {
    const { createTray, loadImage, paths, platform, nativeTheme } = this.#parts;
    serveBridge({ isOurWindow: (contents) => this.#window.owns(contents), bridge: this.#bridge() });
    this.#tray = new TrayFace(
      {
        create: createTray,
        loadImage,
        platform,
        icons: paths.icons,
        // The bars of Linux desktops are dark whatever the windows are.
        isDark: () => platform === 'linux' || nativeTheme.shouldUseDarkColorsForSystemIntegratedUI,
        onClick: () => this.show(),
      },
      this.#face.icon,
    );
    nativeTheme.on('updated', () => this.#tray?.repaint());
    this.#show();
    this.#power.start();
    // The program may lie elsewhere since the last start.
    if (this.#settings.settings.startAtLogin) this.#settleLogin();
    // The system may ask for a password first, and nobody be there to give it.
    this.#lookForKeyStore().catch(this.#parts.onError);
    if (!isHidden) this.#window.show();
    this.#control.follow({
      signal: this.#follow.signal,
      opened: () => void this.#refresh(),
      listener: (event) => {
        if (event.topic === 'job') this.#notifier.job(event.job);
        if (event.topic === 'status' || event.topic === 'setup') void this.#refresh();
      },
    });
    const beginning = await this.#updates.begin();
    const { state } = this.#updates;
    if (beginning.kind === 'rolled-back') this.#notifier.say(strings.notices.rolledBack(beginning.failed));
    else if (state.kind === 'failed') this.#notifier.say({ title: strings.notices.updateFailed, body: state.message });
    if (beginning.kind === 'going-back') return;
    this.#updates.start();
    this.#server.start();
  }

  /** Where `start` came to nothing: whether the version before is on its way instead. */
  abandon(): Promise<boolean> {
    return this.#updates.abandon();
  }

  /** The machine goes down or the person logs out: the program ends at once, and what takes long waits for another time. */
  sessionEnds(): void {
    this.#isSystemEnding = true;
    this.#parts.app.quit();
  }

  show(page?: string): void {
    // A program that is about to end has no window any more.
    if (this.#end === 'no') this.#window.show(page);
  }

  /** The program is asked to end: it does when the server has. */
  quitting(event: { preventDefault(): void }): void {
    if (this.#end === 'over') return;
    event.preventDefault();
    if (this.#end === 'begun') return;
    this.#end = 'begun';
    this.#finish().catch((error: unknown) => {
      this.#parts.onError(error);
      this.#parts.app.exit(1);
    });
  }

  async #finish(): Promise<void> {
    const { app, clock } = this.#parts;
    this.#follow.abort();
    this.#updates.stop();
    if (this.#server.state.kind !== 'failed') this.#updates.leave();
    this.#power.stop();
    this.#window.letClose();
    await this.#server.stop();
    // Cut off in the middle, it might leave neither version.
    const isPrepared = !this.#isSystemEnding && (await this.#updates.prepareInstall(this.#server.data));
    this.#tray?.destroy();
    this.#end = 'over';
    if (!isPrepared) {
      app.quit();
      return;
    }
    clock.after(INSTALL_MS, () => app.exit(1));
    // The new version may be there before this one is gone, and must not take it for the one that runs.
    app.releaseSingleInstanceLock();
    this.#updates.install(this.#runAfterInstall);
  }

  #serverMoved(state: ServerState): void {
    this.#status = undefined;
    this.#window.showFailure(state.kind === 'failed');
    this.#notifier.server(state);
    this.#show();
    if (state.kind === 'failed') this.#startFailed().catch(this.#parts.onError);
  }

  /** After an update, a start that fails is tried once more, and then the version before is got back. */
  async #startFailed(): Promise<void> {
    // It is told of more than once, and counts once.
    if (this.#isFailing || !this.#updates.isOnTrial || this.#end !== 'no') return;
    this.#isFailing = true;
    try {
      // However it goes on, the data must not be in its hands any more.
      await this.#server.stop();
      if ((await this.#updates.failed()) === 'retry') this.#server.start();
    } finally {
      this.#isFailing = false;
    }
  }

  /** Reads anew how the server says it is. */
  async #refresh(): Promise<void> {
    try {
      const status = await this.#control.call('GET /status');
      this.#status = status;
      this.#notifier.status(status);
      // The process runs, and the homeserver in it does not: that is a start that failed as well.
      if (status.line === 'failed') await this.#startFailed();
      else if (status.line !== 'starting') this.#updates.succeeded();
      this.#show();
    } catch (error) {
      // The process ended between the event and the question; its end is shown already.
      if (this.controlUrl !== undefined) this.#parts.onError(error);
    }
  }

  #ask(name: 'POST /server/pause' | 'POST /server/resume' | 'POST /server/wake'): void {
    if (this.controlUrl === undefined) return;
    this.#control.call(name).then(
      () => this.#refresh(),
      (error: unknown) => this.#parts.onError(error),
    );
  }

  #show(): void {
    const { buildMenu, setApplicationMenu, platform } = this.#parts;
    this.#face = faceOf(this.#server.state, this.#status);
    const tray = this.#tray;
    if (tray === undefined || this.#end === 'over') return;
    const { icon, text, address } = this.#face;
    const state = {
      face: this.#face,
      isRunning: this.#server.state.kind === 'running',
      settings: this.#settings.settings,
      update: this.#updates.state,
    };
    const ofTray = trayMenu(state, this.#actions);
    const ofProgram = applicationMenu(state, this.#actions, platform);
    const menus = JSON.stringify([ofTray, ofProgram, address]);
    const areOthers = menus !== this.#menus;
    this.#menus = menus;
    tray.show(icon, text, areOthers ? buildMenu(ofTray) : undefined);
    if (areOthers) setApplicationMenu(buildMenu(ofProgram));
    this.#window.send(CHANNELS.changed, this.#info());
  }

  readonly #actions: Actions = {
    open: (page) => this.show(page),
    pause: () => this.#ask('POST /server/pause'),
    resume: () => this.#ask('POST /server/resume'),
    copyAddress: (address) => this.#parts.copy(address),
    showLogs: () => {
      this.#openFolder('logs').catch((error: unknown) => {
        this.#parts.onError(error);
        const body = error instanceof Error ? error.message : String(error);
        this.#notifier.say({ title: strings.notices.noFolder, body });
      });
    },
    change: (change) => {
      // What was clicked has moved its own tick.
      this.#menus = '';
      this.#try(() => this.#change(change));
      this.#show();
    },
    installUpdate: () => this.#installNow(),
    quit: () => this.#parts.app.quit(),
  };

  #bridge(): Parameters<typeof serveBridge>[0]['bridge'] {
    return {
      getShell: async () => this.#info(),
      changeSettings: async (change) => {
        this.#change(change);
        return this.#info();
      },
      restartServer: async () => {
        if (this.#updates.isGoingBack) this.#updates.begin().catch(this.#parts.onError);
        else this.#server.start();
        return this.#info();
      },
      checkForUpdates: async () => {
        await this.#updates.check();
        return this.#info();
      },
      installUpdate: async () => this.#installNow(),
      openFolder: (which) => this.#openFolder(which),
      choosePath: async (which) => {
        const isFile = which === 'backup-file';
        const { filePaths, canceled } = await this.#parts.chooseOpen({
          title: isFile ? strings.dialogs.chooseBackup : strings.dialogs.chooseFolder,
          properties: isFile ? ['openFile'] : ['openDirectory', 'createDirectory'],
          ...(isFile
            ? {
                filters: [
                  { name: strings.dialogs.backupFiles, extensions: ['hearthbackup'] },
                  { name: strings.dialogs.allFiles, extensions: ['*'] },
                ],
              }
            : {}),
        });
        return canceled ? undefined : filePaths[0];
      },
    };
  }

  #change(change: Partial<ShellSettings>): void {
    this.#settings.change(change);
    if (change.startAtLogin !== undefined) this.#settleLogin();
    if (change.keepAwake !== undefined) this.#power.settle();
    this.#show();
  }

  #settleLogin(env = this.#parts.env): void {
    this.#try(() => setLoginItem({ ...this.#parts, env }, this.#settings.settings.startAtLogin));
  }

  async #lookForKeyStore(): Promise<void> {
    this.#secretsPlace = await this.#secrets.place();
    this.#show();
    if (this.#secretsPlace === 'file' && this.#settings.tellOnce('no-key-store')) {
      this.#notifier.say(strings.notices.noKeyStore);
    }
  }

  /** For what must not keep the program from going on. */
  #try(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#parts.onError(error);
    }
  }

  #installNow(): void {
    if (this.#updates.state.kind !== 'ready') throw new Error('there is no update to install');
    this.#runAfterInstall = true;
    this.#parts.app.quit();
  }

  async #openFolder(which: FolderName): Promise<void> {
    const dataDir = this.#server.data?.dataDir ?? this.#parts.paths.data;
    if (dataDir === undefined) throw new Error(strings.server.away);
    const problem = await this.#parts.openPath(await this.#pathOf(which, dataDir));
    if (problem !== '') throw new Error(problem);
  }

  async #pathOf(which: FolderName, dataDir: string): Promise<string> {
    if (which === 'data') return dataDir;
    // Backups may have been given another place, on another disk for instance; only the server knows.
    if (which === 'backups' && this.controlUrl !== undefined)
      return (await this.#control.call('GET /backups')).directory;
    return join(dataDir, which);
  }

  #info(): ShellInfo {
    const { app, platform } = this.#parts;
    return {
      version: app.getVersion(),
      platform,
      settings: this.#settings.settings,
      server: this.#server.state,
      update: this.#updates.state,
      tray: { icon: this.#face.icon, text: this.#face.text },
      secrets: this.#secretsPlace,
    };
  }
}

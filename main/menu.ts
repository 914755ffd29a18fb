import type { MenuItemConstructorOptions } from 'electron';
import type { ShellSettings, UpdateState } from './contract.ts';
import type { Face } from './face.ts';
import { strings } from './strings.ts';

/** What the menus can do. */
export interface Actions {
  open(page?: string): void;
  pause(): void;
  resume(): void;
  copyAddress(address: string): void;
  showLogs(): void;
  change(change: Partial<ShellSettings>): void;
  installUpdate(): void;
  quit(): void;
}

interface MenuState {
  readonly face: Face;
  readonly isRunning: boolean;
  readonly settings: ShellSettings;
  readonly update: UpdateState;
}

/** The menu of the tray icon. */
export function trayMenu(state: MenuState, actions: Actions): MenuItemConstructorOptions[] {
  const { face } = state;
  return [
    { id: 'state', label: face.text, enabled: false },
    { type: 'separator' },
    { id: 'open', label: strings.menu.open, click: () => actions.open() },
    ...serverItems(state, actions),
    { type: 'separator' },
    ...settingItems(state, actions),
    { type: 'separator' },
    { id: 'quit', label: strings.menu.quit, click: () => actions.quit() },
  ];
}

/** The menu of the program: at the top of the screen on macOS, behind the Alt key elsewhere. */
export function applicationMenu(
  state: MenuState,
  actions: Actions,
  platform: NodeJS.Platform,
): MenuItemConstructorOptions[] {
  const quit: MenuItemConstructorOptions = {
    id: 'quit',
    label: strings.menu.quit,
    accelerator: 'CmdOrCtrl+Q',
    click: () => actions.quit(),
  };
  return [
    ...(platform === 'darwin'
      ? [
          {
            label: strings.appName,
            submenu: [
              { role: 'about' as const },
              { type: 'separator' as const },
              { role: 'hide' as const },
              { role: 'hideOthers' as const },
              { role: 'unhide' as const },
              { type: 'separator' as const },
              quit,
            ],
          },
        ]
      : []),
    {
      label: strings.menu.server,
      submenu: [
        ...serverItems(state, actions),
        { type: 'separator' },
        ...settingItems(state, actions),
        ...(platform === 'darwin' ? [] : [{ type: 'separator' as const }, quit]),
      ],
    },
    // Without these, copying and pasting by the keyboard would do nothing on macOS.
    { label: strings.menu.edit, role: 'editMenu' },
    {
      label: strings.menu.view,
      submenu: [{ role: 'resetZoom' }, { role: 'zoomIn' }, { role: 'zoomOut' }, { role: 'togglefullscreen' }],
    },
    { label: strings.menu.window, role: 'windowMenu' },
  ];
}

function serverItems({ face, isRunning, update }: MenuState, actions: Actions): MenuItemConstructorOptions[] {
  const { address } = face;
  return [
    face.isPaused
      ? { id: 'resume', label: strings.menu.resume, enabled: isRunning, click: () => actions.resume() }
      : { id: 'pause', label: strings.menu.pause, enabled: isRunning, click: () => actions.pause() },
    {
      id: 'copy-address',
      label: strings.menu.copyAddress,
      enabled: address !== undefined,
      click: () => {
        if (address !== undefined) actions.copyAddress(address);
      },
    },
    { id: 'backups', label: strings.menu.backups, click: () => actions.open('backups') },
    { id: 'logs', label: strings.menu.logFolder, click: () => actions.showLogs() },
    ...(update.kind === 'ready'
      ? [
          {
            id: 'install-update',
            label: strings.menu.installUpdate(update.version),
            click: () => actions.installUpdate(),
          },
        ]
      : []),
  ];
}

function settingItems({ settings }: MenuState, actions: Actions): MenuItemConstructorOptions[] {
  return [
    {
      id: 'start-at-login',
      label: strings.menu.startAtLogin,
      type: 'checkbox',
      checked: settings.startAtLogin,
      click: () => actions.change({ startAtLogin: !settings.startAtLogin }),
    },
    {
      id: 'keep-awake',
      label: strings.menu.keepAwake,
      type: 'checkbox',
      checked: settings.keepAwake,
      click: () => actions.change({ keepAwake: !settings.keepAwake }),
    },
  ];
}

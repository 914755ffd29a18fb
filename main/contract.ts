/** What the page may ask of the shell: the type of `window.hearth` and the names of its channels. Imports nothing. */

export interface Bridge {
  getShell(): Promise<ShellInfo>;
  /** Changes what is named and gives the state after. */
  changeSettings(change: Partial<ShellSettings>): Promise<ShellInfo>;
  /** Starts the server anew after it was given up. */
  restartServer(): Promise<ShellInfo>;
  checkForUpdates(): Promise<ShellInfo>;
  /** Ends the program, puts the new version in place and starts it. Only when an update is ready. */
  installUpdate(): Promise<void>;
  openFolder(which: FolderName): Promise<void>;
  /** Lets the person choose a file or a folder; undefined where they did not. */
  choosePath(which: 'backup-file' | 'folder'): Promise<string | undefined>;
  /** Calls `listener` whenever something of the state is different. Gives back what ends that. */
  onChange(listener: (info: ShellInfo) => void): () => void;
}

export type FolderName = 'data' | 'logs' | 'backups';

export interface ShellSettings {
  startAtLogin: boolean;
  /** The machine stays awake while it is plugged in. */
  keepAwake: boolean;
  /** Looks for new versions by itself and fetches them. */
  automaticUpdates: boolean;
  /** Tells by the system's notifications what needs the person. */
  notifications: boolean;
}

/** How the process of the server is; how the homeserver in it is, `GET /status` tells. Times are ms since the epoch. */
export type ServerState =
  | { kind: 'starting' }
  | { kind: 'running'; pid: number | undefined }
  | { kind: 'restarting'; message: string; retryAt: number }
  /** Given up until it is asked for again. `log`: the last lines it wrote. */
  | { kind: 'failed'; message: string; log: string[] }
  | { kind: 'stopped' };

export type UpdateState =
  /** Why this copy of the program cannot renew itself. */
  | { kind: 'unavailable'; reason: string }
  | { kind: 'idle'; checkedAt: number | undefined }
  | { kind: 'checking' }
  | { kind: 'downloading'; version: string /** 0 to 1 */; progress: number }
  | { kind: 'ready'; version: string }
  | { kind: 'failed'; message: string };

export type TrayIcon = 'online' | 'busy' | 'paused' | 'attention';

export interface ShellInfo {
  version: string;
  platform: string;
  settings: ShellSettings;
  server: ServerState;
  update: UpdateState;
  /** What the tray shows. */
  tray: { icon: TrayIcon; text: string };
  /** Whether secrets are kept by the system's key store or in a file that only this user can read. */
  secrets: 'system' | 'file';
}

export const CHANNELS = {
  getShell: 'hearth:get-shell',
  changeSettings: 'hearth:change-settings',
  restartServer: 'hearth:restart-server',
  checkForUpdates: 'hearth:check-for-updates',
  installUpdate: 'hearth:install-update',
  openFolder: 'hearth:open-folder',
  choosePath: 'hearth:choose-path',
  /** From the shell to the page. */
  changed: 'hearth:changed',
} as const;

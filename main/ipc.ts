import { ipcMain, type IpcMainInvokeEvent } from 'electron';
import { type Bridge, CHANNELS, type FolderName, type ShellInfo, type ShellSettings } from './contract.ts';
import { isOurPage } from './external-links.ts';
import { isObject } from './files.ts';
import { readSettings } from './settings.ts';

interface IpcParts {
  /** Whether these are the contents of our window. */
  readonly isOurWindow: (contents: unknown) => boolean;
  readonly bridge: Omit<Bridge, 'onChange'>;
}

/** Answers the page through the bridge: only our own page in our own window, and only what the bridge's type says. */
export function serveBridge({ isOurWindow, bridge }: IpcParts): void {
  const handle = (channel: string, args: number, answer: (argument: unknown) => Promise<unknown>): void => {
    ipcMain.handle(channel, async (event: IpcMainInvokeEvent, ...given: unknown[]) => {
      const frame = event.senderFrame;
      if (frame === null || frame.parent !== null || !isOurPage(frame.url) || !isOurWindow(event.sender)) {
        throw new Error('only the page of Hearth may ask this');
      }
      if (given.length !== args) throw new TypeError(`${channel} takes ${args} arguments`);
      return answer(given[0]);
    });
  };
  handle(CHANNELS.getShell, 0, () => bridge.getShell());
  handle(CHANNELS.restartServer, 0, () => bridge.restartServer());
  handle(CHANNELS.checkForUpdates, 0, () => bridge.checkForUpdates());
  handle(CHANNELS.installUpdate, 0, () => bridge.installUpdate());
  handle(CHANNELS.changeSettings, 1, (change): Promise<ShellInfo> => bridge.changeSettings(settingsFrom(change)));
  handle(CHANNELS.openFolder, 1, (which) => bridge.openFolder(oneOf(FOLDERS, which)));
  handle(CHANNELS.choosePath, 1, (which) => bridge.choosePath(oneOf(CHOICES, which)));
}

const FOLDERS: readonly FolderName[] = ['data', 'logs', 'backups'];
const CHOICES = ['backup-file', 'folder'] as const;

function settingsFrom(value: unknown): Partial<ShellSettings> {
  const settings = readSettings(value);
  if (!isObject(value) || Object.keys(value).length !== Object.keys(settings).length) {
    throw new TypeError('these are no settings of the shell');
  }
  return settings;
}

function oneOf<T extends string>(choices: readonly T[], value: unknown): T {
  const found = choices.find((each) => each === value);
  if (found === undefined) throw new TypeError(`it has to be one of ${choices.join(', ')}`);
  return found;
}

/** Runs in the sandbox beside the page and gives it exactly the bridge. */
import { contextBridge, ipcRenderer } from 'electron';
import { type Bridge, CHANNELS, type ShellInfo } from './contract.ts';

contextBridge.exposeInMainWorld('hearth', {
  getShell: () => ipcRenderer.invoke(CHANNELS.getShell),
  changeSettings: (change) => ipcRenderer.invoke(CHANNELS.changeSettings, change),
  restartServer: () => ipcRenderer.invoke(CHANNELS.restartServer),
  checkForUpdates: () => ipcRenderer.invoke(CHANNELS.checkForUpdates),
  installUpdate: () => ipcRenderer.invoke(CHANNELS.installUpdate),
  openFolder: (which) => ipcRenderer.invoke(CHANNELS.openFolder, which),
  choosePath: (which) => ipcRenderer.invoke(CHANNELS.choosePath, which),
  onChange: (listener) => {
    // The event itself stays here: it would hand the page a way to the shell.
    const relay = (_event: unknown, info: ShellInfo): void => listener(info);
    ipcRenderer.on(CHANNELS.changed, relay);
    return () => void ipcRenderer.off(CHANNELS.changed, relay);
  },
} satisfies Bridge);

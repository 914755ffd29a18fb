/**
 * What the desktop shell adds to the page. In a browser none of it is there, and every function here says so by doing the
 * next best thing.
 */

/** As the shell's preload script exposes it. */
interface ShellBridge {
  readonly openFolder?: (which: 'data' | 'logs' | 'backups') => Promise<void>;
}

declare global {
  interface Window {
    readonly hearth?: ShellBridge;
  }
}

/** Whether the page is shown by the desktop program, which adds the token to all its calls. */
export function isInShell(): boolean {
  return location.protocol === 'hearth:';
}

/** Opens a folder in the system's file manager, where the shell can; otherwise undefined, and the page shows its path. */
export function folderOpener(): ((which: 'data' | 'logs' | 'backups') => Promise<void>) | undefined {
  return window.hearth?.openFolder;
}

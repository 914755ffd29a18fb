import { useEffect, useState } from 'react';
import type { Bridge, ShellInfo } from '../../main/contract.ts';

/** The bridge to the desktop program; nothing of it is there in a browser. */
function bridge(): Partial<Bridge> | undefined {
  return window.hearth;
}

export interface Shell {
  readonly info: ShellInfo;
  readonly change: (change: Parameters<Bridge['changeSettings']>[0]) => Promise<void>;
  readonly checkForUpdates: () => Promise<void>;
  readonly installUpdate: () => Promise<void>;
  /** Starts the server's program anew after it was given up. */
  readonly restartServer: () => Promise<void>;
}

/** The desktop program that shows the page and its settings; undefined in a browser, and until it has answered. */
export function useShell(): Shell | undefined {
  const [info, setInfo] = useState<ShellInfo>();
  useEffect(() => {
    const shell = bridge();
    if (shell?.getShell === undefined) return;
    let isOver = false;
    void shell.getShell().then((first) => {
      // What it told of itself meanwhile is newer.
      if (!isOver) setInfo((known) => known ?? first);
    });
    const end = shell.onChange?.(setInfo);
    return () => {
      isOver = true;
      end?.();
    };
  }, []);
  const shell = bridge();
  if (info === undefined || shell === undefined) return undefined;
  return {
    info,
    change: async (change) => {
      const after = await shell.changeSettings?.(change);
      if (after !== undefined) setInfo(after);
    },
    checkForUpdates: async () => {
      const after = await shell.checkForUpdates?.();
      if (after !== undefined) setInfo(after);
    },
    installUpdate: async () => shell.installUpdate?.(),
    restartServer: async () => {
      const after = await shell.restartServer?.();
      if (after !== undefined) setInfo(after);
    },
  };
}

/** Lets the person choose a file or a folder, where the shell can; otherwise undefined, and the path is typed. */
export function pathChooser(): Bridge['choosePath'] | undefined {
  return bridge()?.choosePath;
}

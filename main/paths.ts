import { extname, join } from 'node:path';

/** Where the shell finds what it needs. */
export interface Paths {
  /** Of the shell's own files: settings, window, secrets. */
  readonly shell: string;
  /** Of the server's data, where it is told; else the server has a place of its own for them. */
  readonly data: string | undefined;
  /** What runs in the server's process. */
  readonly serverProgram: string;
  readonly preload: string;
  /** The built interface. */
  readonly pages: string;
  readonly icons: string;
}

interface Surroundings {
  /** This file as it runs: the source, or the bundle. */
  readonly here: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The system's place for what programs keep for a user. */
  readonly appData: string;
}

/**
 * The bundle lies as the source does, so what is said here is true of both; only the preload differs, which a sandbox
 * wants in one CommonJS file. `HEARTH_HOME` puts all that is kept into one folder.
 */
export function findPaths({ here, env, appData }: Surroundings): Paths {
  const root = join(here, '..', '..');
  const extension = extname(here);
  const isBundle = extension === '.js';
  const home = env['HEARTH_HOME'];
  return {
    // Beside the server's data, which on macOS have the folder above for themselves.
    shell: home === undefined ? join(appData, 'Hearth', 'shell') : join(home, 'shell'),
    data: home === undefined ? undefined : join(home, 'data'),
    serverProgram: join(root, 'server', 'cli', `start-for-shell${extension}`),
    preload: join(root, 'main', isBundle ? 'preload.cjs' : 'preload.ts'),
    pages: join(root, 'build', 'renderer'),
    icons: join(root, 'build', 'icons'),
  };
}

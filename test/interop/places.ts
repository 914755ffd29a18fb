import { join } from 'node:path';

/** What is installed, and what the servers write, lies here; nothing of it is kept in the repository. */
export const buildDir = join(import.meta.dirname, '..', '..', 'build', 'interop');

/** A Python environment of its own. */
export const environmentDir = join(buildDir, 'venv');

/** The Python that has Synapse. */
export const synapsePython =
  process.platform === 'win32' ? join(environmentDir, 'Scripts', 'python.exe') : join(environmentDir, 'bin', 'python');

/** The servers' data and logs, a folder for each file of stories. */
export const runsDir = join(buildDir, 'runs');

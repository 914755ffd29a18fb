/** Bundles the desktop program and starts it in Electron. Usage: node build/desktop.ts [arguments of the program …] */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentGone } from '../server/cli/watch-parent.ts';
import { APP, bundle } from './bundle.ts';

const electron = join(import.meta.dirname, '..', 'node_modules', 'electron');

/** Electron's program; undefined where its runtime was not downloaded. */
function findRuntime(): string | undefined {
  const folder = process.env['ELECTRON_OVERRIDE_DIST_PATH'] ?? join(electron, 'dist');
  const note = join(electron, 'path.txt');
  const name = existsSync(note) ? readFileSync(note, 'utf8') : 'electron';
  const program = join(folder, name);
  return existsSync(program) ? program : undefined;
}

const runtime = findRuntime();
if (runtime === undefined) {
  console.error(
    "Electron's runtime is not installed: run `npx install-electron` once, or use Hearth in a browser by `npm start`.",
  );
  process.exitCode = 1;
} else {
  await bundle();
  const program = spawn(runtime, [APP, ...process.argv.slice(2)], { stdio: 'inherit' });
  // What ends this ends the program, which then stops its server in order. Once and by another signal than a terminal's: that
  // one reaches both, and a second of its kind ends the program in the middle of stopping.
  let isAsked = false;
  const end = (): void => {
    if (!isAsked) program.kill('SIGTERM');
    isAsked = true;
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  // The shell that npm starts this by ends without passing on what has ended it.
  if (process.env['npm_lifecycle_event'] !== undefined) void parentGone().then(end);
  program.once('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

/** Bundles the desktop program and starts it in Electron. Usage: node build/desktop.ts [arguments of the program …] */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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
  // What ends this ends the program, which then stops its server in order.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => program.kill(signal));
  program.once('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

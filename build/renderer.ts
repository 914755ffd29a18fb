/**
 * Builds the interface into build/renderer: `index.html`, and all else under `assets/` by names that change with what is in
 * them.
 *
 * Usage: node build/renderer.ts [--if-stale]
 */
import { globSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv, pid } from 'node:process';

const root = join(import.meta.dirname, '..');
/** Where the interface is built to. */
export const builtInto = join(root, 'build', 'renderer');
const STAMP = join(builtInto, '.built');
const SOURCES = ['renderer/**/*', 'assets/icons/*.svg', 'build/renderer.ts', 'package-lock.json'];

/** Whether there is no built interface, or one of an older state of its sources. */
export function isStale(): boolean {
  const built = statSync(STAMP, { throwIfNoEntry: false })?.mtimeMs;
  if (built === undefined) return true;
  return globSync(SOURCES, { cwd: root }).some((file) => statSync(join(root, file)).mtimeMs > built);
}

/** Builds the interface. What was there before stays until the new one is whole. */
export async function buildPages(): Promise<void> {
  const [{ build }, { default: react }] = await Promise.all([import('vite'), import('@vitejs/plugin-react')]);
  const begun = new Date();
  const fresh = join(root, 'build', `.renderer-${pid}`);
  try {
    await build({
      root: join(root, 'renderer'),
      configFile: false,
      logLevel: 'warn',
      base: './',
      plugins: [react()],
      build: {
        outDir: fresh,
        emptyOutDir: true,
        assetsDir: 'assets',
        assetsInlineLimit: 0,
        modulePreload: { polyfill: false },
        chunkSizeWarningLimit: 2000,
        target: 'es2023',
      },
    });
    writeFileSync(join(fresh, '.built'), `${begun.toISOString()}\n`);
    mkdirSync(join(root, 'build'), { recursive: true });
    rmSync(builtInto, { recursive: true, force: true });
    renameSync(fresh, builtInto);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Whether what builds is installed: a copy of the program that was packed with its pages comes without it. */
export function canBuild(): boolean {
  try {
    import.meta.resolve('vite');
    return true;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const onlyIfStale = argv.includes('--if-stale');
  if (!onlyIfStale || (isStale() && canBuild())) await buildPages();
}

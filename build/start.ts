/**
 * Runs before `npm start`: builds the interface and bundles the server, where they are older than their sources. As a bundle the
 * server starts sooner and takes a third less memory than as many files whose types have to be stripped. Where a bundle cannot
 * be made, `npm start` runs the source. Usage: node build/start.ts
 */
import { globSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import { buildPages, canBuild, isStale } from './renderer.ts';

const root = join(import.meta.dirname, '..');
const OUT = join(root, 'out', 'start');
/** Says which bundle build/run.js is to load. */
const NEWEST = join(OUT, 'newest');
const SOURCES = ['server/**/*.ts', 'assets/templates/*', 'build/*.ts', 'build/renderer/.built', 'package*.json'];
/** A server may still run on the one before, and load parts of it later. */
const KEPT = 2;

function isBundleStale(): boolean {
  const built = statSync(NEWEST, { throwIfNoEntry: false })?.mtimeMs;
  if (built === undefined) return true;
  return globSync(SOURCES, { cwd: root }).some((file) => statSync(join(root, file)).mtimeMs > built);
}

async function bundleAnew(): Promise<void> {
  const { bundleHeadless } = await import('./bundle.ts');
  const begun = new Date();
  const name = `${begun.getTime()}-${pid}`;
  const fresh = join(OUT, name);
  try {
    await bundleHeadless(fresh);
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    writeFileSync(join(fresh, 'package.json'), `${JSON.stringify({ type: 'module', version })}\n`);
    const note = `${NEWEST}-${pid}`;
    writeFileSync(note, `${name}\n`);
    // What was changed meanwhile is not in it.
    utimesSync(note, begun, begun);
    renameSync(note, NEWEST);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    throw error;
  }
  const all = readdirSync(OUT).filter((each) => /^\d+-\d+$/.test(each));
  for (const old of all.toSorted().slice(0, -KEPT)) rmSync(join(OUT, old), { recursive: true, force: true });
}

if (canBuild() && isStale()) await buildPages();
if (isBundleStale()) {
  try {
    // One that is older than the source must not be run in its place.
    rmSync(NEWEST, { force: true });
    if (canBuild()) await bundleAnew();
  } catch (error) {
    console.error(`The server could not be bundled, and is run from its source: ${String(error)}`);
  }
}

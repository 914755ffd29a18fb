/**
 * Runs the test suite and ends with the test runner's own summary. A skipped test counts as a failure: what cannot run
 * everywhere has to say so in another way.
 *
 * Usage: node test/kit/run.ts [part of a path …]
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
const wanted = process.argv.slice(2);
const files = globSync('test/**/*.test.ts', { cwd: root })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .sort();
if (files.length === 0) {
  console.error('No test file matches.');
  process.exit(1);
}

const run = spawnSync(
  process.execPath,
  [
    '--test',
    `--test-concurrency=${Math.max(2, availableParallelism())}`,
    '--test-timeout=600000',
    `--test-reporter=${new URL('no-skips-reporter.ts', import.meta.url).href}`,
    '--test-reporter-destination=stderr',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    ...files,
  ],
  { cwd: root, stdio: 'inherit' },
);
process.exit(run.status ?? 1);

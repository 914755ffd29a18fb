/**
 * Tells the stories of this folder between Hearth and a real Synapse, which it installs from the Python package index that pip
 * is configured to use, into a folder of its own.
 *
 * Usage: node test/interop/run.ts [--if-available] [--keep] [part of a file name …]
 *
 * --if-available: ends well where there is no Python, or no way to Synapse's package, and says so.
 * --keep: leaves the servers' data and logs behind even if all went well.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildDir, environmentDir, runsDir, synapsePython } from './places.ts';

const SYNAPSE = 'matrix-synapse==1.163.2';
const INSTALL_MS = 240_000;
/** Names what is installed; written when all of it is. */
const installedFile = join(environmentDir, 'installed.txt');

const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: { 'if-available': { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } },
});

const obstacle = install();
if (obstacle !== undefined) {
  console.error(`NOT RUN: the stories with Synapse were not told, because ${obstacle}`);
  process.exit(options['if-available'] ? 0 : 1);
}

const root = join(import.meta.dirname, '..', '..');
const files = globSync('test/interop/*.story.ts', { cwd: root })
  .filter((file) => wanted.length === 0 || wanted.some((part) => basename(file).includes(part)))
  .sort();
if (files.length === 0) {
  console.error('No file of stories matches.');
  process.exit(1);
}
rmSync(runsDir, { recursive: true, force: true });
const run = spawnSync(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-timeout=240000', '--test-reporter=spec', ...files],
  { cwd: root, stdio: 'inherit' },
);
if (run.status === 0 && !options.keep) rmSync(runsDir, { recursive: true, force: true });
else console.error(`The servers' data and logs are in ${runsDir}`);
process.exit(run.status ?? 1);

/** Installs Synapse unless it is. Gives the reason if that cannot be. */
function install(): string | undefined {
  if (existsSync(installedFile) && readFileSync(installedFile, 'utf8') === SYNAPSE) return undefined;
  const python = findPython();
  if (python === undefined) return 'there is no Python 3.10 or newer (PYTHON may name one)';
  rmSync(environmentDir, { recursive: true, force: true });
  mkdirSync(buildDir, { recursive: true });
  console.log(`Installing ${SYNAPSE} …`);
  const environment = attempt(python, ['-m', 'venv', environmentDir]);
  if (environment !== undefined) return `no virtual environment could be made:\n${environment}`;
  const packages = attempt(synapsePython, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', SYNAPSE]);
  if (packages !== undefined) return `pip could not install ${SYNAPSE}:\n${packages}`;
  writeFileSync(installedFile, SYNAPSE);
  return undefined;
}

/** A Python that is new enough, and can make environments. */
function findPython(): string | undefined {
  const asked = process.env['PYTHON'];
  const candidates = asked === undefined ? ['python3', 'python', 'python3.13', 'python3.12', 'python3.11'] : [asked];
  const check = 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))';
  return candidates.find((candidate) => attempt(candidate, ['-c', check]) === undefined);
}

/** Runs a program to its end. Gives what it complained of if that was no good one. */
function attempt(program: string, args: readonly string[]): string | undefined {
  const { status, error, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: INSTALL_MS });
  if (status === 0) return undefined;
  return error?.message ?? stderr.trim().split('\n').slice(-5).join('\n');
}

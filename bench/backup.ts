/**
 * Backs up and restores a server of about 1 GB by the command line, and tells how fast and in how much memory, beside a plain
 * copy of the same files.
 *
 * Usage: node bench/backup.ts [MEGABYTES]
 */
import { createHash, randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import {
  closeSync,
  cpSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDataDir } from '../server/config/data-dir.ts';
import { allMigrations } from '../server/schema.ts';
import { openDatabase } from '../server/storage/database.ts';
import { silentLogger } from '../server/util/log.ts';
import { printTable, times } from './figures.ts';

const MB = 1_048_576;
const total = Number(process.argv[2] ?? 1_024) * MB;
const MEDIUM = 2 * MB;
const ROWS_PER_WRITE = 500;
const SAMPLE_MS = 20;
const CLI = join(import.meta.dirname, '..', 'server', 'cli.ts');

const root = mkdtempSync(join(tmpdir(), 'hearth-bench-backup-'));
try {
  const dataDir = join(root, 'data');
  await fill(dataDir);
  const bytes = statSync(join(dataDir, 'homeserver.db')).size + Math.trunc(total / 2 / MEDIUM) * MEDIUM;
  console.log(`A server of ${Math.round(bytes / MB)} MB, half of it database.`);
  const file = join(root, 'x.hearthbackup');
  const copyMs = timed(() => {
    cpSync(dataDir, join(root, 'plain'), { recursive: true });
    syncFile(join(root, 'plain', 'homeserver.db'));
  });
  rmSync(join(root, 'plain'), { recursive: true });
  const idle = await run(['version']);
  const backup = await run(['backup', '--data-dir', dataDir, '--output', file]);
  const restore = await run(['restore', file, '--data-dir', join(root, 'new')]);
  const perSecond = (ms: number): string => `${Math.round(bytes / MB / (ms / 1_000))} MB/s`;
  const inMb = (count: number): string => `${Math.round(count / MB)} MB`;
  const row = (what: string, figure: string, ratio: string) => ({ what, figure, budget: '', ratio });
  printTable([
    row('plain copy', perSecond(copyMs), ''),
    row('backup, read back', perSecond(backup.ms), times(backup.ms, copyMs, 'plain copy')),
    row('restore, checked', perSecond(restore.ms), times(restore.ms, copyMs, 'plain copy')),
    row('peak memory of backup', inMb(backup.peak), `${inMb(backup.peak - idle.peak)} above the bare program`),
    row('peak memory of restore', inMb(restore.peak), `${inMb(restore.peak - idle.peak)} above the bare program`),
    row('size of the backup', inMb(statSync(file).size), `${Math.round((100 * statSync(file).size) / bytes)} %`),
  ]);
} finally {
  rmSync(root, { recursive: true, force: true });
}

/** Half database (messages' keys and account data), half media. */
async function fill(dataDir: string): Promise<void> {
  makeDataDir(dataDir, { serverName: 'hearth.bench' });
  const db = openDatabase({
    path: join(dataDir, 'homeserver.db'),
    owner: 'hearth.bench',
    migrations: allMigrations,
    log: silentLogger,
  });
  const key = db.prepareWrite(`
    INSERT INTO key_backup_sessions (store_id, room_id, session_id, is_verified, first_message_index, forwarded_count, session_data)
    VALUES (1, ?, ?, 0, 0, 0, ?)`);
  const words = 'the garden gate was left open and somebody has to close it before the cat comes home '.repeat(8);
  for (let made = 0, n = 0; made < total / 2; ) {
    db.write((tx) => {
      for (let at = 0; at < ROWS_PER_WRITE; at += 1, n += 1) {
        const data = `${randomBytes(450).toString('base64')}${words.slice(n % 80)}`;
        key.run(tx, `!room${n % 50}:hearth.bench`, `session ${n}`, data);
        made += data.length;
      }
    });
    await db.committed();
  }
  const medium = db.prepareWrite(`
    INSERT INTO media (origin, media_id, is_local, file, bytes, type, created_ms, accessed_ms, needs_token)
    VALUES ('hearth.bench', ?, 1, ?, ?, 'image/jpeg', 0, 0, 1)`);
  for (let made = 0; made + MEDIUM <= total / 2; made += MEDIUM) {
    const content = randomBytes(MEDIUM);
    const file = createHash('sha256').update(content).digest();
    const name = file.toString('hex');
    mkdirSync(join(dataDir, 'media', 'content', name.slice(0, 2)), { recursive: true });
    writeFileSync(join(dataDir, 'media', 'content', name.slice(0, 2), name.slice(2)), content);
    db.write((tx) => medium.run(tx, `m${made}`, file, MEDIUM));
  }
  await db.close();
}

/** Runs a command and watches its memory; the most it had, bytes, as the system has counted it. */
async function run(args: readonly string[]): Promise<{ readonly ms: number; readonly peak: number }> {
  const env = { ...process.env, HEARTH_PASSPHRASE: 'a passphrase for the bench' };
  const started = performance.now();
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, peakOf(child.pid ?? 0));
  }, SAMPLE_MS);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearInterval(timer);
  if (code !== 0) throw new Error(`${args[0] ?? ''} ended with ${String(code)}`);
  return { ms: performance.now() - started, peak };
}

function peakOf(pid: number): number {
  try {
    const [, kb] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kb ?? 0) * 1_024;
  } catch (error) {
    // It has just ended.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return 0;
    throw error;
  }
}

function timed(work: () => void): number {
  const started = performance.now();
  work();
  return performance.now() - started;
}

function syncFile(path: string): void {
  const file = openSync(path, 'r+');
  fsyncSync(file);
  closeSync(file);
}

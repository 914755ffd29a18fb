import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { openLog } from '../../server/util/file-log.ts';
import { tempDir } from '../config/files.ts';

const target = (file: string) => ({ level: 'info', file, maxBytes: 0, keep: 3 }) as const;

function linesOf(file: string): readonly Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line));
}

/** Waits until one of these files has a line with the words in it. */
async function written(files: readonly string[], words: string): Promise<void> {
  const isIn = (file: string): boolean => existsSync(file) && readFileSync(file, 'utf8').includes(words);
  while (!files.some(isIn)) await new Promise((resolve) => setImmediate(resolve));
}

test('a line is a sentence with data, and what its logger carries', async (t) => {
  const file = join(tempDir(t), 'logs', 'home.log');
  const log = await openLog(target(file));
  log.logger.child({ room: '!r' }).child({ user: '@ada:home.example' }).info({ count: 3 }, 'rooms counted');
  await log.close();
  const [line] = linesOf(file);
  assert.equal(line?.['msg'], 'rooms counted');
  assert.equal(line['level'], 'info');
  assert.deepEqual([line['room'], line['user'], line['count']], ['!r', '@ada:home.example', 3]);
  assert.ok(!Number.isNaN(Date.parse(String(line['time']))));
  if (process.platform !== 'win32') {
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(dirname(file)).mode & 0o777, 0o700);
  }
});

test('the level counts for loggers that were made before it was changed', async (t) => {
  const file = join(tempDir(t), 'home.log');
  const log = await openLog({ ...target(file), level: 'warn' });
  const child = log.logger.child({ part: 'sync' });
  child.info({}, 'left out');
  log.setLevel('debug');
  child.debug({}, 'kept');
  log.setLevel('error');
  child.warn({}, 'left out');
  await log.close();
  assert.deepEqual(
    linesOf(file).map(({ msg }) => msg),
    ['kept'],
  );
});

test('errors are written with their stack, and secrets are not written', async (t) => {
  const file = join(tempDir(t), 'home.log');
  const log = await openLog(target(file));
  log.logger.error({ error: new Error('broken'), access_token: 'hunter2', password: 'hunter2' }, 'failed');
  await log.close();
  const text = readFileSync(file, 'utf8');
  assert.match(text, /"message":"broken","stack":"Error: broken\\n/);
  assert.doesNotMatch(text, /hunter2/);
});

test('a full file is put aside, and only so many are kept', async (t) => {
  const warnings: string[] = [];
  const onWarning = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  const directory = tempDir(t);
  const file = join(directory, 'home.log');
  const log = await openLog({ ...target(file), maxBytes: 2000, keep: 2 });
  for (let number = 0; number < 200; number++) {
    log.logger.info({ number }, 'a line of some length that fills the file');
    // A disk may be slow; between the lines of a real server is time enough for it.
    await written([file, `${file}.1`], `"number":${number},`);
  }
  await log.close();
  assert.deepEqual(warnings, [], 'nothing gathers from file to file');
  const names = readdirSync(directory).sort();
  assert.deepEqual(names.slice(-2), ['home.log.1', 'home.log.2']);
  assert.ok(names.length <= 3);
  const kept = ['home.log.2', 'home.log.1', 'home.log']
    .filter((name) => existsSync(join(directory, name)) && statSync(join(directory, name)).size > 0)
    .flatMap((name) => linesOf(join(directory, name)).map(({ number }) => Number(number)));
  // In order, up to the last, without a gap.
  assert.equal(kept.at(-1), 199);
  assert.deepEqual(
    kept,
    Array.from({ length: kept.length }, (_, index) => 200 - kept.length + index),
  );
});

test('a file that something else has renamed is begun anew on request', async (t) => {
  const file = join(tempDir(t), 'home.log');
  const log = await openLog(target(file));
  log.logger.info({}, 'before');
  log.flush();
  renameSync(file, `${file}.old`);
  log.reopen();
  log.logger.info({}, 'after');
  await log.close();
  assert.deepEqual(
    linesOf(`${file}.old`).map(({ msg }) => msg),
    ['before'],
  );
  assert.deepEqual(
    linesOf(file).map(({ msg }) => msg),
    ['after'],
  );
});

test('a file that cannot be opened is an error at once', async (t) => {
  const directory = tempDir(t);
  await assert.rejects(openLog(target(directory)), { code: 'EISDIR' });
});

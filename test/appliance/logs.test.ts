import assert from 'node:assert/strict';
import { appendFileSync, globSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readLogPage } from '../../server/appliance/logs/log-pages.ts';
import { plainWords } from '../../server/appliance/logs/plain-words.ts';
import { Problems } from '../../server/appliance/logs/problems.ts';
import type { LogPage } from '../../server/appliance/contract.ts';
import { silentLogger } from '../../server/util/log.ts';
import { tempDir } from '../config/files.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { TestAppliance } from './appliance-kit.ts';

function line(number: number, level = 'info', msg = 'request done'): string {
  const time = new Date(Date.UTC(2030, 0, 1) + number).toISOString();
  return `${JSON.stringify({ level, time, number, path: `/ä/${number}`, msg })}\n`;
}

const numbers = ({ lines }: LogPage): unknown[] => lines.map(({ data }) => data['number']);

test('the log is read backwards, page by page, through the files that were put aside', async (t) => {
  const file = join(tempDir(t), 'hearth.log');
  writeFileSync(`${file}.2`, [0, 1, 2, 3].map((number) => line(number)).join(''));
  writeFileSync(`${file}.1`, [4, 5, 6].map((number) => line(number)).join(''));
  writeFileSync(file, [7, 8].map((number) => line(number)).join(''));
  const first = await readLogPage(file, { limit: 4 });
  assert.deepEqual(numbers(first), [8, 7, 6, 5]);
  // Between two pages the log grows, and its file is put aside.
  appendFileSync(file, line(9));
  renameSync(`${file}.2`, `${file}.3`);
  renameSync(`${file}.1`, `${file}.2`);
  renameSync(file, `${file}.1`);
  writeFileSync(file, line(10));
  assert.ok(first.before !== undefined);
  const second = await readLogPage(file, { limit: 4, before: first.before });
  assert.deepEqual(numbers(second), [4, 3, 2, 1]);
  assert.ok(second.before !== undefined);
  const last = await readLogPage(file, { limit: 4, before: second.before });
  assert.deepEqual(numbers(last), [0]);
  assert.equal(last.before, undefined);
  const [line4] = second.lines;
  assert.deepEqual(line4, {
    at: Date.UTC(2030, 0, 1) + 4,
    level: 'info',
    text: 'request done',
    data: { number: 4, path: '/ä/4' },
  });
});

test('lines are chosen by level and by text, in any case', async (t) => {
  const file = join(tempDir(t), 'hearth.log');
  const levels = ['debug', 'info', 'warn', 'error'];
  writeFileSync(
    file,
    Array.from({ length: 40 }, (_, number) => line(number, levels[number % 4], `sentence ${number % 10}`)).join(''),
  );
  assert.deepEqual(numbers(await readLogPage(file, { level: 'error', limit: 3 })), [39, 35, 31]);
  assert.deepEqual(numbers(await readLogPage(file, { level: 'warn', text: 'SENTENCE 5' })), [35, 15]);
  assert.deepEqual(numbers(await readLogPage(file, { text: 'nowhere' })), []);
});

test('one page reads a bounded part of a large log, and the next goes on from there', async (t) => {
  const file = join(tempDir(t), 'hearth.log');
  const filler = 'x'.repeat(1000);
  writeFileSync(
    file,
    line(0, 'error', 'needle') + Array.from({ length: 9000 }, (_, number) => line(number + 1, 'info', filler)).join(''),
  );
  let before: string | undefined;
  const found: unknown[] = [];
  let pages = 0;
  do {
    const page: LogPage = await readLogPage(file, { text: 'needle', ...(before === undefined ? {} : { before }) });
    found.push(...numbers(page));
    before = page.before;
    pages += 1;
  } while (before !== undefined);
  assert.deepEqual(found, [0]);
  assert.ok(pages >= 3 && pages < 10, `${pages} pages`);
});

test('what is no line of ours does no harm: cut off, not JSON, without end, empty, gone', async (t) => {
  const file = join(tempDir(t), 'hearth.log');
  assert.deepEqual(await readLogPage(file, {}), { lines: [] });
  writeFileSync(file, '');
  assert.deepEqual(await readLogPage(file, {}), { lines: [] });
  writeFileSync(file, `${line(1)}\n\n[1]\nnot json\n${line(2)}{"level":"info","ti`);
  assert.deepEqual(
    (await readLogPage(file, {})).lines.map(({ text }) => text),
    ['{"level":"info","ti', 'request done', 'not json', 'request done'],
  );
  writeFileSync(file, `${line(1)}${'y'.repeat(3_000_000)}`);
  assert.deepEqual(
    numbers(await readLogPage(file, { level: 'info' })).filter((number) => number !== undefined),
    [1],
  );
  await assert.rejects(readLogPage(file, { before: 'x' }), /no place in the log/);
  assert.deepEqual(await readLogPage(file, { before: '1-5' }), { lines: [] }, 'that part is gone');
});

test('warnings and errors become problems in plain words, counted, bounded, and gone when dismissed', () => {
  const clock = new ManualClock();
  const moved: string[] = [];
  const problems = new Problems({ clock, announcer: { moved: (topic) => void moved.push(topic) } });
  const log = problems.listen(silentLogger).child({ server: 'fern.example.com', access_token: 'syt_secret' });
  log.info({}, 'all is well');
  log.warn({ option: 'pid_fiel' }, 'an option has no effect');
  log.error({ error: new Error('no space left', { cause: new Error('ENOSPC') }) }, 'storage failed');
  log.error({ error: new Error('once more') }, 'storage failed');
  log.warn({ depth: { a: { b: { c: { d: { e: { f: 1 } } } } } } }, 'something nobody has words for');
  const [unknown, storage, option, ...others] = problems.list();
  assert.deepEqual(others, []);
  assert.equal(unknown?.text, 'Something nobody has words for.');
  assert.equal(storage?.count, 2);
  assert.equal(storage?.text, plainWords['storage failed']?.text);
  assert.match(storage?.detail ?? '', /server: fern\.example\.com\n.*\nerror: once more/);
  assert.match(option?.detail ?? '', /option: pid_fiel/);
  assert.doesNotMatch(JSON.stringify(problems.list()), /syt_secret/);
  assert.equal(moved.length, 4);

  problems.dismiss(storage?.id ?? '');
  assert.equal(problems.list().length, 2);
  assert.throws(() => problems.dismiss(storage?.id ?? ''), { errcode: 'M_NOT_FOUND' });
  log.error({}, 'storage failed');
  assert.equal(problems.list()[0]?.count, 1, 'it came up again');
  for (let number = 0; number < 200; number += 1) log.warn({ long: 'x'.repeat(10_000) }, `sentence ${number}`);
  assert.equal(problems.list().length, 50);
  assert.ok(problems.list().every(({ detail }) => detail.length <= 2000));
});

test('what was put aside stays so for a day, unless it comes up in another way', async () => {
  const clock = new ManualClock();
  const problems = new Problems({ clock, announcer: { moved: () => undefined } });
  const log = problems.listen(silentLogger);
  log.warn({ option: 'pid_fiel' }, 'an option has no effect');
  problems.dismiss(problems.list()[0]?.id ?? '');
  log.warn({ option: 'pid_fiel' }, 'an option has no effect');
  assert.deepEqual(problems.list(), [], 'the same again is no news');
  log.warn({ option: 'use_presense' }, 'an option has no effect');
  assert.equal(problems.list()[0]?.count, 1);
  problems.dismiss(problems.list()[0]?.id ?? '');
  await clock.advance(25 * 3_600_000);
  log.warn({ option: 'use_presense' }, 'an option has no effect');
  assert.equal(problems.list().length, 1);
  for (let number = 0; number < 200; number += 1) {
    log.warn({}, `sentence ${number}`);
    problems.dismiss(problems.list()[0]?.id ?? '');
  }
  log.warn({}, 'sentence 199');
  log.warn({}, 'sentence 0');
  assert.deepEqual(
    problems.list().map(({ text }) => text),
    ['Sentence 0.', 'An option in homeserver.yaml has no effect here.'],
    'not without end',
  );
});

test('a gap without lines, as a lost disk leaves it, costs no more than lines do', async (t) => {
  const file = join(tempDir(t), 'hearth.log');
  writeFileSync(file, Buffer.concat([Buffer.from(line(1)), Buffer.alloc(30_000_000), Buffer.from(`\n${line(2)}`)]));
  const first = await readLogPage(file, {});
  assert.deepEqual(numbers(first), [2]);
  assert.ok(first.before !== undefined, 'it goes on with the next page');
  let before: string | undefined = first.before;
  let pages = 1;
  const found: unknown[] = [];
  while (before !== undefined) {
    const page: LogPage = await readLogPage(file, { before });
    found.push(...numbers(page).filter((number) => number !== undefined));
    ({ before } = page);
    pages += 1;
  }
  assert.deepEqual(found, [1]);
  assert.ok(pages >= 6 && pages < 20, `${pages} pages`);
});

test('there are plain words only for sentences that the server can log', () => {
  const root = join(import.meta.dirname, '..', '..');
  const source = globSync('server/**/*.ts', { cwd: root })
    .filter((file) => !file.endsWith('plain-words.ts'))
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n');
  assert.deepEqual(
    Object.keys(plainWords).filter((sentence) => !source.includes(`'${sentence}'`)),
    [],
  );
});

test('what goes wrong while the server runs is shown by the interface, and can be put aside', async () => {
  await using house = await TestAppliance.start();
  const { configFile } = await house.call('GET /about');
  writeFileSync(configFile, 'server_name: localhost\nallow_guest_access: perhaps\n');
  await house.call('POST /server/restart');
  const { problems } = await house.call('GET /problems');
  const [problem] = problems;
  assert.equal(problem?.text, 'The server could not be started.');
  assert.match(problem?.detail ?? '', /allow_guest_access/);
  await house.call('POST /problems/{problemId}/dismiss', { params: { problemId: problem?.id ?? '' } });
  assert.deepEqual((await house.call('GET /problems')).problems, []);
  const again = await house.ask('POST /problems/{problemId}/dismiss', { params: { problemId: problem?.id ?? '' } });
  assert.equal(again.status, 404);
});

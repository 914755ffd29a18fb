import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job } from '../../server/appliance/contract.ts';
import { formatAgo, formatBytes, formatDuration } from '../../renderer/models/format.ts';
import { seriesOf } from '../../renderer/models/history.ts';
import { joinJobs } from '../../renderer/models/jobs.ts';
import { briefOf } from '../../renderer/models/log-brief.ts';
import { passwordStrength } from '../../renderer/models/password-strength.ts';
import { checkPublicUrl, tidyServerName } from '../../renderer/models/server-name.ts';
import { readTheme } from '../../renderer/models/theme.ts';
import { text } from '../../renderer/strings/text.ts';

test('sizes and times are said as people say them', () => {
  assert.equal(formatBytes(0), '0 bytes');
  assert.equal(formatBytes(999), '999 bytes');
  assert.equal(formatBytes(1500), '1.5 kB');
  assert.equal(formatBytes(999_949), '1 MB');
  assert.equal(formatBytes(123_456_789), '123 MB');
  assert.equal(formatBytes(2.5e15), '2,500 TB');
  const now = Date.UTC(2026, 4, 1);
  assert.equal(formatAgo(now - 3000, now), 'now');
  assert.equal(formatAgo(now - 90_000, now), '1 minute ago');
  assert.equal(formatAgo(now + 7_200_000, now), 'in 2 hours');
  assert.equal(formatDuration(400), '0 seconds');
  assert.equal(formatDuration(61_000), '1 minute 1 second');
  assert.equal(formatDuration(86_400_000 * 3 + 3_600_000 * 4 + 60_000 * 50), '3 days 4 hours');
  assert.equal(formatDuration(3_600_000 * 5), '5 hours');
});

test('what somebody pastes for a server name becomes one', () => {
  for (const typed of [
    'brook.example',
    ' Brook.Example. ',
    'https://brook.example/',
    '//brook.example?x',
    '@nora:brook.example',
  ]) {
    assert.equal(tidyServerName(typed), 'brook.example', typed);
  }
  assert.equal(tidyServerName('brook.example:8448'), 'brook.example:8448');
  for (const good of ['https://matrix.brook.example', 'http://192.168.1.20:8008/'])
    assert.equal(checkPublicUrl(good), true, good);
  for (const bad of [
    'matrix.brook.example',
    'https://',
    'ftp://brook.example',
    'https://brook.example/chat',
    'https://nora@brook.example',
  ]) {
    assert.equal(checkPublicUrl(bad), false, bad);
  }
});

test('a password is weak for being short, common, in a row or the name of its owner', () => {
  assert.equal(passwordStrength('abc123'), 0);
  assert.equal(passwordStrength('aaaaaaaaaaaaaaaa'), 0);
  assert.equal(passwordStrength('password'), 0);
  assert.ok(passwordStrength('brook.example1', ['brook.example']) <= 1);
  assert.equal(passwordStrength('correct horse battery staple'), 4);
  assert.ok(passwordStrength('g7!Kp2vX') > passwordStrength('gardener'));
});

test('a chart ends with whole points', () => {
  const start = Date.UTC(2026, 4, 1);
  const { times, values } = seriesOf(start, [1, 2, 3, 4, 5, 6, 7], 3, 'sum');
  assert.deepEqual(values, [1, 9, 18]);
  assert.deepEqual(times, [start / 1000, start / 1000 + 3600, start / 1000 + 4 * 3600]);
  assert.deepEqual(seriesOf(start, [1, 9, 3], 2, 'max').values, [1, 9]);
});

test('a job that is over does not run again for an older answer', () => {
  const job = (id: string, state: Job['state']): Job => ({
    id,
    kind: 'backup',
    title: id,
    state,
    startedAt: 0,
    canCancel: false,
  });
  const told = new Map([
    ['a', job('a', 'done')],
    ['b', job('b', 'running')],
    ['c', job('c', 'running')],
  ]);
  const joined = joinJobs([job('a', 'running'), job('b', 'failed')], told);
  assert.deepEqual(
    joined.map(({ id, state }) => [id, state]),
    [
      ['c', 'running'],
      ['a', 'done'],
      ['b', 'failed'],
    ],
  );
});

test('texts take their values, and the form of their number', () => {
  assert.equal(text('status.rooms', { count: 1 }), 'room');
  assert.equal(text('jobs.count', { count: 1200 }), '1,200 things under way');
  assert.equal(text('doctor.checking', { name: '{name}' }), 'Checking {name}…');
});

test('a look that is none is that of the system', () => {
  assert.equal(readTheme({ getItem: () => 'purple' }), 'system');
  assert.equal(readTheme({ getItem: () => 'dark' }), 'dark');
});

test('lines of the log that say the same are told apart by what belongs to them', () => {
  const request = { requestId: 'a1', status: 200, path: '/_matrix/client/v3/sync', method: 'GET', ms: 12 };
  assert.equal(briefOf(request), 'GET  /_matrix/client/v3/sync  200  requestId=a1  ms=12');
  assert.equal(briefOf({ error: { message: 'no' }, url: 'x'.repeat(300) }), '', 'what is long is folded out');
});

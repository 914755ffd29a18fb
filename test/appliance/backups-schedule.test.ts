import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ManualClock } from '../kit/manual-clock.ts';
import { eventually } from '../kit/test-network.ts';
import { TestAppliance } from './appliance-kit.ts';
import { homeserverOf } from './household-kit.ts';
import { backUp, makeHouse, PASSPHRASE, temporary } from './backups-kit.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const daily = { every: 'day', atHour: 3, keep: 2, media: true } as const;

/** When backups fall due in a time zone, as ISO times in UTC. */
function dueTimes(zone: string, rhythm: object, from: string, count: number): string[] {
  const module = pathToFileURL(join(import.meta.dirname, '../../server/appliance/backups/schedule.ts')).href;
  const script = `
    const { nextAfter } = await import(${JSON.stringify(module)});
    let at = Date.parse(${JSON.stringify(from)});
    for (let n = 0; n < ${count}; n++) console.log(new Date(at = nextAfter(${JSON.stringify(rhythm)}, at)).toISOString());`;
  const env = { ...process.env, TZ: zone };
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { env, encoding: 'utf8' })
    .trim()
    .split('\n');
}

test('a backup falls due once a day and once a week at its hour, also when the clocks change', () => {
  const spring = dueTimes('Europe/Berlin', { every: 'day', atHour: 2 }, '2026-03-28T00:30:00Z', 3);
  assert.deepEqual(spring, ['2026-03-28T01:00:00.000Z', '2026-03-29T01:00:00.000Z', '2026-03-30T00:00:00.000Z']);
  const autumn = dueTimes('Europe/Berlin', { every: 'day', atHour: 2 }, '2026-10-24T12:00:00Z', 2);
  assert.deepEqual(autumn, ['2026-10-25T00:00:00.000Z', '2026-10-26T01:00:00.000Z']);
  const weekly = dueTimes('America/New_York', { every: 'week', atHour: 23 }, '2026-03-02T04:00:00Z', 2);
  assert.deepEqual(weekly, ['2026-03-09T03:00:00.000Z', '2026-03-16T03:00:00.000Z']);
});

async function scheduledBackups(house: TestAppliance & { readonly clock: ManualClock }, count: number): Promise<void> {
  await eventually(`${count} backups of the schedule are done`, async () => {
    const { jobs } = await house.call('GET /jobs');
    return jobs.filter(({ kind, state }) => kind === 'backup' && state !== 'running').length >= count;
  });
  // What follows the job belongs to it.
  await eventually('the next one is planned', async () => {
    const { schedule } = await house.call('GET /backups');
    return (schedule.nextAt ?? 0) > house.clock.now();
  });
}

test('the schedule makes backups, keeps as many as it should of its own, and makes up for those it slept through', async (t) => {
  const clock = new ManualClock();
  await using house = Object.assign(await TestAppliance.start({ serverName: 'home.test', clock }), { clock });
  const refused = await house.ask('PUT /backups/schedule', { body: daily });
  assert.equal(refused.status, 400, 'it needs a passphrase');
  const set = await house.call('PUT /backups/schedule', {
    body: { ...daily, passphrase: PASSPHRASE, passphraseHint: 'birds' },
  });
  assert.deepEqual([set.schedule.hasPassphrase, set.schedule.passphraseHint], [true, 'birds']);
  const { nextAt = 0 } = set.schedule;
  assert.ok(nextAt > clock.now() && nextAt <= clock.now() + DAY && new Date(nextAt).getHours() === 3);
  assert.equal(statSync(join(house.dataDir, '.backup-passphrase')).mode & 0o077, 0);
  assert.ok(!readFileSync(join(house.dataDir, 'backups.json'), 'utf8').includes(PASSPHRASE));
  assert.equal((await house.call('GET /recovery-sheet')).passphraseHint, 'birds');

  // Of somebody else, though made by a schedule, and one made by hand: they stay.
  await using other = await makeHouse('other.test', 1_000);
  await backUp(other.dataDir, join(temporary(t), 'x.hearthbackup'));
  await backUp(other.dataDir, join(set.directory, 'hearth-other.test-1.hearthbackup'), { scheduled: true });
  const { jobId } = await house.call('POST /backups', { body: { media: false } });
  assert.equal((await house.finished(jobId)).state, 'done', 'the kept passphrase serves');

  await clock.advance(nextAt - clock.now() + 1_000);
  await scheduledBackups(house, 2);
  await clock.advance(DAY);
  await scheduledBackups(house, 3);
  // A week's sleep: one is made up for, not seven.
  await clock.advance(7 * DAY);
  await scheduledBackups(house, 4);
  const { backups, lastFailure } = await house.call('GET /backups');
  assert.equal(lastFailure, undefined);
  assert.equal(
    backups.filter(({ serverName }) => serverName === 'home.test').length,
    3,
    'two of the schedule, one by hand',
  );
  assert.ok(backups.some(({ serverName }) => serverName === 'other.test'));
  assert.ok(backups.every(({ serverName, isVerified }) => isVerified === (serverName === 'home.test')));
});

test('a backup of the schedule that fails is tried again a few times, and what is wrong is told', async (t) => {
  const clock = new ManualClock();
  await using house = Object.assign(await TestAppliance.start({ serverName: 'home.test', clock }), { clock });
  const directory = join(temporary(t), 'drive');
  const body = { ...daily, directory, passphrase: PASSPHRASE };
  const { nextAt = 0 } = (await house.call('PUT /backups/schedule', { body })).schedule;
  renameSync(directory, `${directory} in the drawer`);
  writeFileSync(directory, 'the drive is not there');
  const failed = async (): Promise<number> =>
    (await house.call('GET /jobs')).jobs.filter(({ kind, state }) => kind === 'backup' && state === 'failed').length;
  await clock.advance(nextAt - clock.now() + 1_000);
  await eventually('it has failed', async () => (await failed()) === 1);
  await eventually('that is remembered', () =>
    readFileSync(join(house.dataDir, 'backups.json'), 'utf8').includes('failure'),
  );
  await clock.advance(20 * 60_000);
  await eventually('it has failed again', async () => (await failed()) === 2);
  rmSync(directory);
  renameSync(`${directory} in the drawer`, directory);
  await clock.advance(HOUR + 60_000);
  await eventually('it has gone well', async () => {
    const { lastFailure, backups } = await house.call('GET /backups');
    return lastFailure === undefined && backups.length === 1;
  });
  assert.equal(readdirSync(directory).filter((name) => name.endsWith('.hearthbackup')).length, 1);
});

test('a disk that is away is noticed though there is a folder in its place, and nothing is written there', async (t) => {
  const clock = new ManualClock();
  await using house = Object.assign(await TestAppliance.start({ serverName: 'home.test', clock }), { clock });
  await homeserverOf(house).ports.accounts.createAdministrator({ username: 'nora', password: PASSPHRASE });
  const directory = join(temporary(t), 'usb');
  const body = { ...daily, keep: 1, directory, passphrase: PASSPHRASE };
  const { nextAt = 0 } = (await house.call('PUT /backups/schedule', { body })).schedule;
  assert.match(readFileSync(join(directory, '.hearth-backups'), 'utf8'), /Hearth keeps backups in this folder/);
  const away = (): void => {
    renameSync(directory, `${directory}, unplugged`);
    mkdirSync(directory);
  };
  const back = (): void => {
    rmSync(directory, { recursive: true });
    renameSync(`${directory}, unplugged`, directory);
  };
  const ours = (): string[] => readdirSync(directory).filter((name) => name.endsWith('.hearthbackup'));
  away();
  const seen = await house.call('GET /backups');
  assert.match(seen.problem ?? '', /^The disk of the folder .*usb is not connected/);
  assert.equal(seen.isUnknownFolder, true);
  await clock.advance(nextAt - clock.now() + 1_000);
  await eventually('it has failed, and that is told', async () => {
    const { reasons } = await house.call('GET /status');
    return reasons.some(({ kind, text }) => kind === 'backup' && text.includes('is not connected'));
  });
  assert.deepEqual(readdirSync(directory), []);
  // Another hour is no word about the folder.
  const due = async (atHour: number): Promise<number> => {
    const { schedule } = await house.call('PUT /backups/schedule', {
      body: { ...daily, keep: 1, atHour, directory },
    });
    return (schedule.nextAt ?? 0) - clock.now() + 1_000;
  };
  const untilDue = await due(4);
  assert.deepEqual(readdirSync(directory), []);
  back();
  await clock.advance(untilDue);
  await scheduledBackups(house, 2);
  await clock.advance(await due(5));
  await scheduledBackups(house, 3);
  assert.equal(ours().length, 1, 'one is kept, the marker is none of them');
  assert.ok(existsSync(join(directory, '.hearth-backups')));

  // As a folder was left that was chosen before folders were marked: what is in it says enough.
  rmSync(join(directory, '.hearth-backups'));
  assert.equal((await house.call('GET /backups')).problem, undefined);
  const { jobId } = await house.call('POST /backups', { body: { media: false } });
  assert.equal((await house.finished(jobId)).state, 'done');
  assert.ok(existsSync(join(directory, '.hearth-backups')));

  // Somebody else's backups say nothing; the person does.
  await using other = await makeHouse('other.test', 1_000);
  away();
  await backUp(other.dataDir, join(directory, 'hearth-other.test-1.hearthbackup'));
  assert.equal((await house.call('GET /backups')).isUnknownFolder, true);
  const anew = await house.call('PUT /backups/schedule', { body: { ...daily, directory, isChosenAnew: true } });
  assert.deepEqual([anew.problem, anew.isUnknownFolder], [undefined, undefined]);
  const again = await house.call('POST /backups', { body: { media: false } });
  assert.equal((await house.finished(again.jobId)).state, 'done');
});

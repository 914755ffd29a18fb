import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { systemDisk } from '../../server/appliance/backups/disk.ts';
import { isLeftOver, nameWork } from '../../server/appliance/backups/leftovers.ts';
import { type Outcome, ScheduleRunner } from '../../server/appliance/backups/schedule-runner.ts';
import { RecordFile } from '../../server/appliance/backups/records.ts';
import { workOnCopy } from '../../server/appliance-ports/copy-work.ts';
import { openReader } from '../../server/storage/copy.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { eventually } from '../kit/test-network.ts';
import { TestAppliance } from './appliance-kit.ts';
import { backUp, makeHouse, PASSPHRASE, restore, temporary } from './backups-kit.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const daily = { every: 'day', atHour: 3, keep: 2, media: true } as const;

test('a folder that is not there is told of, not made anew, and does not keep the plan from being changed', async (t) => {
  await using house = await TestAppliance.start({ serverName: 'home.test' });
  const directory = join(temporary(t), 'drive', 'hearth');
  const body = { ...daily, directory, passphrase: PASSPHRASE };
  assert.equal((await house.call('PUT /backups/schedule', { body })).problem, undefined);
  // The drive is taken away.
  rmSync(join(directory, '..'), { recursive: true });
  const away = await house.call('GET /backups');
  assert.match(away.problem ?? '', /hearth is not there\. If it is on another disk, connect that/);
  assert.deepEqual([away.backups, away.freeBytes], [[], 0]);
  const { jobId } = await house.call('POST /backups', { body: { media: true } });
  const failed = await house.finished(jobId);
  assert.match(failed.error?.error ?? '', /is not there/);
  const later = await house.call('PUT /backups/schedule', { body: { ...daily, atHour: 5, directory } });
  assert.equal(later.schedule.atHour, 5);
  assert.ok(!existsSync(directory), 'nothing was put where the drive should be');

  const file = join(house.dataDir, 'a file');
  writeFileSync(file, '');
  const refused = await house.ask('PUT /backups/schedule', { body: { ...daily, directory: join(file, 'x') } });
  assert.deepEqual([refused.status, (refused.body as { field?: string }).field], [400, 'directory']);
  assert.match((refused.body as { error: string }).error, /^That folder cannot be used: there is no such folder$/);

  // The usual place, as the page gives it back, goes along when the data are moved.
  const usual = join(house.dataDir, 'backups');
  const back = await house.call('PUT /backups/schedule', { body: { ...daily, directory: usual } });
  assert.deepEqual([back.directory, back.problem], [usual, undefined]);
  assert.ok(!readFileSync(join(house.dataDir, 'backups.json'), 'utf8').includes(usual));
  const made = await house.finished((await house.call('POST /backups', { body: { media: true } })).jobId);
  assert.equal(made.state, 'done');
});

test('a clock that was wrong does not make the newest backup the one that is removed', async () => {
  const clock = new ManualClock();
  await using house = Object.assign(await TestAppliance.start({ serverName: 'home.test', clock }), { clock });
  const set = await house.call('PUT /backups/schedule', { body: { ...daily, passphrase: PASSPHRASE } });
  await using same = await makeHouse('home.test', 1_000);
  // Of a time that has not come yet, by the clock of this house.
  for (const name of ['hearth-home.test-a.hearthbackup', 'hearth-home.test-b.hearthbackup']) {
    await backUp(same.dataDir, join(set.directory, name), { scheduled: true });
  }
  await clock.advance((set.schedule.nextAt ?? 0) - clock.now() + 1_000);
  await eventually('the backup of the schedule is made', async () => {
    const { schedule, lastFailure } = await house.call('GET /backups');
    assert.equal(lastFailure, undefined);
    return (schedule.nextAt ?? 0) > clock.now();
  });
  const { backups } = await house.call('GET /backups');
  assert.equal(backups.length, 2);
  assert.ok(
    backups.some(({ madeAt }) => Math.abs(madeAt - clock.now()) < HOUR),
    'the one that was just made is there',
  );
});

/** The plan of backups by itself, with what comes of each. */
function runnerWith(dataDir: string, clock: ManualClock, outcomes: (() => Promise<Outcome>)[]) {
  const records = new RecordFile(dataDir);
  let runs = 0;
  const runner = new ScheduleRunner({
    clock,
    log: silentLogger,
    announcer: { moved: () => undefined },
    records,
    canBegin: () => true,
    run: async () => {
      const next = outcomes[runs];
      assert.ok(next !== undefined, 'it is not its turn');
      runs += 1;
      return next();
    },
  });
  runner.start();
  runner.change({ ...daily });
  return { runner, records, runs: () => runs };
}

test('a backup that somebody called off, or that had to wait, is no failure; one cut short by the end is still due', async (t) => {
  const clock = new ManualClock();
  const ending = Promise.withResolvers<Outcome>();
  const { runner, records, runs } = runnerWith(temporary(t), clock, [
    () => Promise.resolve('busy'),
    () => Promise.resolve('called-off'),
    () => ending.promise,
  ]);
  const first = runner.nextAt ?? 0;
  await clock.advance(first - clock.now());
  assert.equal(runs(), 1);
  assert.ok((runner.nextAt ?? 0) > clock.now() && (runner.nextAt ?? 0) < clock.now() + HOUR, 'soon again');
  await clock.advance(2 * 60_000);
  assert.equal(runs(), 2);
  assert.ok((runner.nextAt ?? 0) > clock.now() + 20 * HOUR, 'the next one has its turn');
  assert.equal(records.get().failure, undefined);
  await clock.advance(DAY);
  assert.equal(runs(), 3);
  const due = records.get().dueAt;
  runner.stop();
  ending.resolve('called-off');
  await ending.promise;
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([records.get().dueAt, records.get().failure], [due, undefined]);
});

test('a damaged database is not backed up: no good backup has to go for it', async (t) => {
  await using source = await makeHouse('home.test', 1_000);
  const directory = temporary(t);
  const path = join(source.dataDir, 'homeserver.db');
  const db = new Sqlite(path);
  db.exec('CREATE TABLE bulk (data TEXT); CREATE INDEX bulk_data ON bulk (data)');
  const insert = db.prepare('INSERT INTO bulk VALUES (?)');
  for (let n = 0; n < 500; n += 1) insert.run(`${n} ${'x'.repeat(500)}`);
  // A row that its index does not know of, as a bad spot of the disk leaves it.
  db.unsafeMode();
  db.pragma('writable_schema = ON');
  db.exec("UPDATE sqlite_schema SET sql = 'CREATE TABLE bulk (data TEXT NOT NULL)' WHERE name = 'bulk'");
  db.exec("UPDATE sqlite_schema SET sql = 'CREATE INDEX bulk_data ON bulk (data DESC)' WHERE name = 'bulk_data'");
  db.close();
  await assert.rejects(
    backUp(source.dataDir, join(directory, 'x.hearthbackup')),
    /database of this server is damaged, so it was not backed up/,
  );
  assert.deepEqual(readdirSync(directory), []);
  assert.deepEqual(readdirSync(join(source.dataDir, 'backup-work')), []);
});

test('what a process of the same number left is cleared away, and what is being worked on is not', async (t) => {
  await using source = await makeHouse('home.test', 1_000);
  const directory = temporary(t);
  const left = `${process.pid}-abcdefgh`;
  mkdirSync(join(source.dataDir, 'backup-work', left), { recursive: true });
  const part = `.hearth-home.test-20260101T000000Z.hearthbackup.${left}.part`;
  writeFileSync(join(directory, part), 'half');
  const own = nameWork(systemRandom);
  assert.deepEqual([isLeftOver(own.name), isLeftOver(left), isLeftOver('plan.json.part')], [false, true, true]);
  mkdirSync(join(source.dataDir, 'backup-work', own.name));
  await backUp(source.dataDir, join(directory, 'hearth-home.test-x.hearthbackup'));
  assert.deepEqual(readdirSync(directory), ['hearth-home.test-x.hearthbackup']);
  assert.deepEqual(readdirSync(join(source.dataDir, 'backup-work')), [own.name]);
  own[Symbol.dispose]();
  assert.ok(isLeftOver(own.name));
});

test('the copy of the database counts when the room on the disk is looked at, where it is the same disk', async (t) => {
  await using source = await makeHouse('home.test', 1_000);
  const database = statSync(join(source.dataDir, 'homeserver.db')).size;
  const directory = mkdtempSync(join(tmpdir(), 'hearth-room-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  // Enough for either, not for both.
  const disk = { ...systemDisk, freeBytes: () => Promise.resolve(17 * 1_048_576 + database + 10_000) };
  await assert.rejects(backUp(source.dataDir, join(directory, 'x.hearthbackup'), { disk }), /not enough room/);
});

test('going back on the same machine leaves certificates and media where something else looks after them', async (t) => {
  const elsewhere = temporary(t);
  await using house = await makeHouse('home.test', 50_000);
  const config = join(house.dataDir, 'homeserver.yaml');
  const media = join(elsewhere, 'media');
  const text = readFileSync(config, 'utf8').replace(/^media_store_path: .*$/m, `media_store_path: ${media}`);
  mkdirSync(media);
  for (const name of ['cert.pem', 'key.pem']) writeFileSync(join(elsewhere, name), 'not looked at here');
  writeFileSync(config, text);
  appendFileSync(
    config,
    `tls_certificate_path: ${elsewhere}/cert.pem\ntls_private_key_path: ${elsewhere}/key.pem\npid_file: ${elsewhere}/run/h.pid\n`,
  );
  const path = join(elsewhere, 'x.hearthbackup');
  await backUp(house.dataDir, path, { media: false });
  await restore(path, house.dataDir);
  const here = readFileSync(config, 'utf8');
  for (const place of ['media', 'cert.pem', 'key.pem']) assert.ok(here.includes(join(elsewhere, place)), place);

  const fresh = join(elsewhere, 'fresh');
  await restore(path, fresh);
  const there = readFileSync(join(fresh, 'homeserver.yaml'), 'utf8');
  assert.ok(!there.includes(elsewhere), there);
  assert.match(there, /^pid_file: homeserver\.pid$/m);
  assert.equal(readFileSync(join(fresh, 'files', 'cert.pem'), 'utf8'), 'not looked at here');
});

test('without any backup, the sheet is enough for a new server to be the one that others know', async () => {
  await using lost = await TestAppliance.start({ serverName: 'home.test' });
  const sheet = await lost.call('GET /recovery-sheet');
  assert.ok(sheet.html.includes(sheet.signingKey) && sheet.html.includes(sheet.keyFile));
  await using anew = await TestAppliance.start({ serverName: 'home.test' });
  assert.notEqual((await anew.call('GET /recovery-sheet')).signingKey, sheet.signingKey);
  await anew.call('POST /server/pause');
  writeFileSync(join(anew.dataDir, sheet.keyFile), `${sheet.signingKey}\n`);
  await anew.call('POST /server/resume');
  const { state } = anew.appliance.keeper;
  assert.ok(state.kind === 'running');
  const [address] = state.homeserver.addresses;
  const answer = await fetch(`http://127.0.0.1:${address?.port}/_matrix/key/v2/server`);
  const keys = (await answer.json()) as { server_name: string; verify_keys: Record<string, unknown> };
  assert.equal(keys.server_name, 'home.test');
  assert.deepEqual(Object.keys(keys.verify_keys), [sheet.keyId]);
});

test('where no thread can be started, the work on a copy is done all the same; one that is called off lets go of the file', async (t) => {
  await using source = await makeHouse('home.test', 1_000);
  const copy = join(temporary(t), 'copy.db');
  const reader = openReader(join(source.dataDir, 'homeserver.db'));
  await reader.copyTo(copy);
  reader.close();
  const order = { kind: 'check', path: copy } as const;
  await workOnCopy(order, { log: silentLogger, program: join(source.dataDir, 'nowhere.js') });
  const abort = new AbortController();
  const working = workOnCopy(order, { log: silentLogger, signal: abort.signal });
  abort.abort(new Error('called off'));
  await assert.rejects(working, /called off/);
  writeFileSync(copy, 'no database any more');
  await assert.rejects(workOnCopy(order, { log: silentLogger }), { name: 'StorageError', kind: 'corrupt' });
});

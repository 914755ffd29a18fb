import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
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
import type { Job } from '../../server/appliance/contract.ts';
import { makeDataDir } from '../../server/config/data-dir.ts';
import { isJsonObject } from '../../server/matrix/json.ts';
import { expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { claim, CURVE, deviceKeysOf, oneTimeKeys, query, upload } from '../modules/encryption-kit.ts';
import { TestAppliance } from './appliance-kit.ts';

const PASSPHRASE = 'eleven quiet herons';
const PASSWORD = 'a quiet evening';

function homeserverOf(house: TestAppliance) {
  const { state } = house.appliance.keeper;
  return state.kind === 'running' ? state.homeserver : assert.fail(`the homeserver is ${state.kind}`);
}

async function login(house: TestAppliance, name: string): Promise<TestClient> {
  await homeserverOf(house).ports.accounts.createAdministrator({ username: name, password: PASSWORD });
  const at = { baseUrl: homeserverOf(house).clientUrl };
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user: name }, password: PASSWORD };
  const made = expectOk(await new TestClient(at).post('/_matrix/client/v3/login', body));
  return new TestClient(at, { token: made.access_token, userId: made.user_id, deviceId: made.device_id });
}

/** The same device, at another house. */
function moved(client: TestClient, house: TestAppliance): TestClient {
  const { token = '', userId, deviceId } = client;
  return new TestClient({ baseUrl: homeserverOf(house).clientUrl }, { token, userId, deviceId });
}

async function backUp(house: TestAppliance): Promise<string> {
  const { jobId } = await house.call('POST /backups', { body: { passphrase: PASSPHRASE, media: true } });
  return String(resultOf(await house.finished(jobId))['path']);
}

async function restoreInto(house: TestAppliance, path: string, replace = false): Promise<Job> {
  const { jobId } = await house.call('POST /restore', { body: { path, passphrase: PASSPHRASE, replace } });
  return house.finished(jobId);
}

function resultOf(job: Job): Record<string, unknown> {
  assert.equal(job.state, 'done', JSON.stringify(job.error));
  assert.ok(isJsonObject(job.result));
  return job.result;
}

async function putMedium(client: TestClient, content: string): Promise<string> {
  const headers = { 'content-type': 'text/plain' };
  const answer = await client.request('POST', '/_matrix/media/v3/upload', { body: content, headers });
  return String(expectOk(answer).content_uri);
}

async function getMedium(client: TestClient, uri: string): Promise<string> {
  return String(expectOk(await client.get(`/_matrix/client/v1/media/download/${uri.slice('mxc://'.length)}`)));
}

const textsOf = (sync: Json, roomId: string): string[] =>
  (sync.rooms?.join?.[roomId]?.timeline?.events ?? []).map((event: Json) => event.content.body).filter(Boolean);

test('two people go on on another machine where the backup was made, and their encryption keeps working', async () => {
  await using old = await TestAppliance.start({ serverName: 'home.test' });
  const nora = await login(old, 'nora');
  const olga = await login(old, 'olga');
  const roomId = await nora.createRoom({ preset: 'trusted_private_chat', invite: [olga.userId] });
  await olga.join(roomId);
  await upload(nora, { device_keys: deviceKeysOf(nora), one_time_keys: oneTimeKeys(nora, 5) });
  const fallback = { [`${CURVE}:F`]: { ...Object.values(oneTimeKeys(olga, 1))[0], fallback: true } };
  await upload(olga, { device_keys: deviceKeysOf(olga), one_time_keys: oneTimeKeys(olga, 5), fallback_keys: fallback });
  const uri = await putMedium(nora, 'a photo of the garden');
  await nora.send(roomId, 'before the backup');
  const backup = { version: '', body: { algorithm: 'm.megolm_backup.v1', auth_data: { public_key: 'abc' } } };
  backup.version = expectOk(await nora.post('/_matrix/client/v3/room_keys/version', backup.body)).version;
  const before = await olga.sync();
  const slidingBefore = expectOk(
    await olga.post('/_matrix/client/unstable/org.matrix.simplified_msc3575/sync', { lists: {} }),
  );
  const path = await backUp(old);

  // What happens from here on is lost.
  const lost = await nora.send(roomId, 'after the backup');
  const claimed = await claim(nora, olga);
  assert.ok(claimed !== undefined);
  await nora.setState(roomId, 'm.room.name', { name: 'A name that is lost' });
  const lostToken = (await olga.sync({ since: before.next_batch })).next_batch;

  await using fresh = await TestAppliance.start({ serverName: 'localhost' });
  const restored = resultOf(await restoreInto(fresh, path));
  assert.equal(restored['serverName'], 'home.test');
  assert.equal(restored['isRunning'], true);
  const [nora2, olga2] = [moved(nora, fresh), moved(olga, fresh)];

  assert.equal(homeserverOf(fresh).serverName, 'home.test');
  assert.equal(expectOk(await nora2.get('/_matrix/client/v3/account/whoami')).user_id, nora.userId);
  assert.ok(textsOf(await olga2.sync(), roomId).includes('before the backup'));
  assert.equal(await getMedium(olga2, uri), 'a photo of the garden');
  assert.equal((await olga2.get(`/_matrix/client/v3/rooms/${roomId}/event/${lost}`)).status, 404);
  const keys = readFileSync(join(fresh.dataDir, 'home.test.signing.key'), 'utf8');
  assert.equal(
    keys,
    readFileSync(join(old.dataDir, 'home.test.signing.key'), 'utf8'),
    'the server is the same to others',
  );

  // Keys that may have been given out since are not given out again; the devices are known as they were.
  assert.equal(await claim(nora2, olga2), undefined);
  assert.ok((await query(nora2, olga.userId)).device_keys[olga.userId][olga.deviceId] !== undefined);
  const told = await olga2.sync({ since: before.next_batch });
  assert.deepEqual(told.device_one_time_keys_count, { [CURVE]: 0 });
  assert.deepEqual(told.device_unused_fallback_key_types, []);
  assert.deepEqual(
    told.device_lists.changed.toSorted((a: string, b: string) => (a < b ? -1 : 1)),
    [nora.userId, olga.userId],
  );
  await upload(olga2, { one_time_keys: oneTimeKeys(olga2, 3, 'B') });
  assert.notDeepEqual((await claim(nora2, olga2))?.key, claimed.key);

  // A client that was told what is lost gets the whole state once; its next token is like any other.
  const whole = await olga2.sync({ since: lostToken });
  const types = whole.rooms.join[roomId].state.events.map((event: Json) => event.type);
  assert.ok(types.includes('m.room.create') && !types.includes('m.room.name'));
  assert.ok(whole.device_lists.changed.includes(nora.userId));
  const content = { msgtype: 'm.text', body: 'on the new machine' };
  expectOk(await nora2.put(`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/new`, content));
  const next = await olga2.sync({ since: whole.next_batch });
  assert.deepEqual(textsOf(next, roomId), ['on the new machine']);
  const position = (token: string): number => Number(/^s(\d+)/.exec(token)?.[1]);
  assert.ok(position(next.next_batch) > position(lostToken) + 100_000, 'no position comes twice');

  const sliding = await olga2.post(
    '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
    { lists: {} },
    {
      pos: slidingBefore.pos,
    },
  );
  assert.equal(sliding.body.errcode, 'M_UNKNOWN_POS');
  const version = expectOk(await nora2.post('/_matrix/client/v3/room_keys/version', backup.body)).version;
  assert.ok(Number(version) > Number(backup.version) + 100, 'a key backup made since had another number');
});

test('a server with people is replaced on request only, and what it was is kept', async () => {
  await using old = await TestAppliance.start({ serverName: 'home.test' });
  const nora = await login(old, 'nora');
  const roomId = await nora.createRoom();
  await nora.send(roomId, 'one');
  const path = await backUp(old);
  await nora.send(roomId, 'two');
  const refused = await old.ask('POST /restore', { body: { path, passphrase: PASSPHRASE, replace: false } });
  assert.equal(refused.status, 403);

  const wrong = await old.call('POST /restore', { body: { path, passphrase: 'not this one', replace: true } });
  const failed = await old.finished(wrong.jobId);
  assert.match(failed.error?.error ?? '', /passphrase is wrong/);
  assert.deepEqual(textsOf(await nora.sync(), roomId), ['one', 'two'], 'nothing was touched');

  const { kept } = resultOf(await restoreInto(old, path, true));
  assert.deepEqual(textsOf(await moved(nora, old).sync(), roomId), ['one']);
  assert.equal(kept, join(old.dataDir, 'home.test.before-restore'));
  assert.ok(existsSync(join(String(kept), 'homeserver.db')));
  assert.ok(!existsSync(join(old.dataDir, 'restore')));

  // The same copy once more: what was given out after the first time does not come again.
  const first = (await moved(nora, old).sync()).next_batch;
  await moved(nora, old).send(roomId, 'three');
  resultOf(await restoreInto(old, path, true));
  const again = await moved(nora, old).sync({ since: first });
  assert.ok(again.rooms.join[roomId].state.events.length > 0, 'a token of that time is known for what it is');
  assert.ok(existsSync(join(old.dataDir, 'home.test-2.before-restore')));
});

test('backups are listed, checked and removed; names lead nowhere else', async () => {
  await using house = await TestAppliance.start({ serverName: 'home.test' });
  const nothing = await house.call('GET /backups');
  assert.deepEqual(nothing.backups, []);
  assert.ok(nothing.estimateBytes > 0 && nothing.freeBytes > 0);
  const weak = await house.ask('POST /backups', { body: { passphrase: 'short', media: true } });
  assert.equal(weak.status, 400);
  assert.ok(isJsonObject(weak.body) && weak.body['field'] === 'passphrase');
  assert.equal((await house.ask('POST /backups', { body: { media: true } })).status, 400);

  const path = await backUp(house);
  assert.equal(statSync(path).mode & 0o077, 0, 'nobody else may read it');
  const { backups } = await house.call('GET /backups');
  const [file] = backups;
  assert.ok(file !== undefined && backups.length === 1);
  assert.match(file.name, /^hearth-home\.test-\d{8}T\d{6}Z\.hearthbackup$/);
  assert.deepEqual([file.path, file.serverName, file.isVerified], [path, 'home.test', true]);
  assert.deepEqual(readdirSync(join(house.dataDir, 'backups')), [file.name], 'nothing unfinished is left');

  const bytes = readFileSync(path);
  bytes[bytes.length - 40] = (bytes[bytes.length - 40] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const check = async (passphrase: string): Promise<Job> => {
    const { jobId } = await house.call('POST /backups/{name}/verify', {
      params: { name: file.name },
      body: { passphrase },
    });
    return house.finished(jobId);
  };
  assert.match((await check('wrong passphrase')).error?.error ?? '', /passphrase is wrong/);
  assert.equal((await house.call('GET /backups')).backups[0]?.isVerified, true, 'that says nothing of the file');
  assert.match((await check(PASSPHRASE)).error?.error ?? '', /damaged/);
  assert.equal((await house.call('GET /backups')).backups[0]?.isVerified, false);

  for (const name of ['../homeserver.yaml', '..%2Fhomeserver.yaml', 'homeserver.yaml', 'none.hearthbackup']) {
    assert.equal((await house.ask('DELETE /backups/{name}', { params: { name } })).status, 404, name);
  }
  await house.call('DELETE /backups/{name}', { params: { name: file.name } });
  assert.deepEqual((await house.call('GET /backups')).backups, []);
});

test('a backup can be made while the homeserver is paused, and of one whose files lie elsewhere', async (t) => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'hearth-elsewhere-'));
  t.after(() => rmSync(elsewhere, { recursive: true, force: true }));
  const dataDir = mkdtempSync(join(tmpdir(), 'hearth-house-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  makeDataDir(dataDir, { serverName: 'home.test', clientPort: 0 });
  const config = join(dataDir, 'homeserver.yaml');
  writeFileSync(join(elsewhere, 'secret'), 'a shared secret\n');
  const text = readFileSync(config, 'utf8')
    .replace('database: homeserver.db', `database: ${elsewhere}/matrix.db`)
    .replace('media_store_path: media', `media_store_path: ${elsewhere}/files # on the large disk`)
    .replace(/^registration_shared_secret:.*$/m, `registration_shared_secret_path: ${elsewhere}/secret`);
  writeFileSync(config, text);
  let nora: TestClient;
  let uri: string;
  let path: string;
  {
    await using house = await TestAppliance.start({ dataDir });
    nora = await login(house, 'nora');
    uri = await putMedium(nora, 'a photo of the sea');
    await house.call('POST /server/pause');
    path = await backUp(house);
    const sheet = await house.call('GET /recovery-sheet');
    assert.equal(sheet.signingKey, readFileSync(join(dataDir, 'home.test.signing.key'), 'utf8').trim());
    assert.ok(sheet.html.includes(sheet.keyId) && !/<script/i.test(sheet.html));
    copyFileSync(path, join(elsewhere, 'moved.hearthbackup'));
  }
  await using fresh = await TestAppliance.start();
  resultOf(await restoreInto(fresh, join(elsewhere, 'moved.hearthbackup')));
  assert.equal(await getMedium(moved(nora, fresh), uri), 'a photo of the sea');
  const restored = readFileSync(join(fresh.dataDir, 'homeserver.yaml'), 'utf8');
  assert.ok(!restored.includes(elsewhere), restored);
  assert.ok(restored.includes('# on the large disk'), 'comments stay');
  assert.equal(readFileSync(join(fresh.dataDir, 'files', 'secret'), 'utf8'), 'a shared secret\n');
});

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ArchiveWriter } from '../../server/appliance/backups/archive.ts';
import { systemDisk } from '../../server/appliance/backups/disk.ts';
import { beginFile, MAGIC } from '../../server/appliance/backups/format.ts';
import { isSafeName } from '../../server/appliance/backups/names.ts';
import { SealedWriter } from '../../server/appliance/backups/sealed.ts';
import { systemRandom } from '../../server/util/random.ts';
import {
  altered,
  backUp,
  CHEAP,
  diskWith,
  makeHouse,
  PASSPHRASE,
  restore,
  sizeOf,
  temporary,
  treeOf,
} from './backups-kit.ts';

/** Bytes of a sealed chunk in a file. */
const CHUNK = 256 * 1024 + 16;

type Change = (bytes: Buffer) => Buffer;

const flip =
  (at: number, mask = 1): Change =>
  (bytes) => {
    bytes[at] = (bytes[at] ?? 0) ^ mask;
    return bytes;
  };

/** Every way of damaging a backup, by name. `start` is where its chunks begin, `other` another backup of the same server. */
function damages(size: number, start: number, other: Buffer): Record<string, Change> {
  const chunk = (bytes: Buffer, n: number): Buffer => bytes.subarray(start + n * CHUNK, start + (n + 1) * CHUNK);
  const chunks = Math.ceil((size - start) / CHUNK);
  const header = (change: (content: Record<string, unknown>) => void): Change => {
    return (bytes) => {
      const length = bytes.readUInt32BE(MAGIC.length);
      const content = JSON.parse(bytes.subarray(12, 12 + length).toString());
      change(content);
      const text = Buffer.from(JSON.stringify(content));
      const head = Buffer.alloc(4);
      head.writeUInt32BE(text.length);
      return Buffer.concat([MAGIC, head, text, bytes.subarray(12 + length)]);
    };
  };
  const kdf = (change: Record<string, unknown>): Change =>
    header((content) => Object.assign(content['kdf'] as object, change));
  const made: Record<string, Change> = {};
  const flips = [
    0,
    3,
    8,
    11,
    12,
    20,
    60,
    150,
    start - 33,
    start - 32,
    start - 1,
    start,
    start + 1,
    start + 17,
    start + 300,
  ];
  for (let n = 1; n < chunks; n++) flips.push(start + n * CHUNK, start + n * CHUNK - 1, start + n * CHUNK - 16);
  flips.push(size - 1, size - 16, size - 17, Math.trunc(size / 2), Math.trunc(size / 3), Math.trunc(size / 5));
  for (const at of new Set(flips)) made[`a bit flipped at ${at}`] = flip(at);
  made['the top bit flipped in the middle'] = flip(Math.trunc(size / 2) + 7, 0x80);
  const cuts = [
    0,
    1,
    7,
    8,
    11,
    12,
    100,
    start - 1,
    start,
    start + 1,
    start + 15,
    start + 16,
    start + 17,
    size - 1,
    size - 16,
    size - 17,
  ];
  for (let n = 1; n < chunks; n++) cuts.push(start + n * CHUNK, start + n * CHUNK + 5, start + n * CHUNK + 16);
  for (const at of new Set(cuts)) made[`cut off at ${at}`] = (bytes) => bytes.subarray(0, at);
  made['a byte appended'] = (bytes) => Buffer.concat([bytes, Buffer.from([0])]);
  made['17 bytes appended'] = (bytes) => Buffer.concat([bytes, Buffer.alloc(17)]);
  made['its last chunk twice'] = (bytes) => Buffer.concat([bytes, bytes.subarray(start + (chunks - 1) * CHUNK)]);
  made['a whole chunk appended'] = (bytes) => Buffer.concat([bytes, chunk(bytes, 0)]);
  made['the first two chunks swapped'] = (bytes) =>
    Buffer.concat([bytes.subarray(0, start), chunk(bytes, 1), chunk(bytes, 0), bytes.subarray(start + 2 * CHUNK)]);
  made['a chunk left out'] = (bytes) =>
    Buffer.concat([bytes.subarray(0, start + CHUNK), bytes.subarray(start + 2 * CHUNK)]);
  made['a chunk repeated'] = (bytes) => Buffer.concat([bytes.subarray(0, start + CHUNK), bytes.subarray(start)]);
  made['a chunk of another backup'] = (bytes) =>
    Buffer.concat([bytes.subarray(0, start), other.subarray(start, start + CHUNK), bytes.subarray(start + CHUNK)]);
  made['the header of another backup'] = (bytes) => Buffer.concat([other.subarray(0, start), bytes.subarray(start)]);
  made['a byte put in'] = (bytes) =>
    Buffer.concat([bytes.subarray(0, start + 5), Buffer.from([1]), bytes.subarray(start + 5)]);
  made['zeros for its middle'] = (bytes) => bytes.fill(0, start + 1_000, start + 5_000);
  made['another server name'] = header((content) => (content['server_name'] = 'elsewhere.test'));
  made['another time'] = header((content) => (content['made_at'] = 1));
  made['made by the schedule'] = header((content) => (content['scheduled'] = true));
  made['a newer format'] = header((content) => (content['format'] = 2));
  made['another cipher'] = header((content) => (content['cipher'] = 'none'));
  made['8 GiB of memory asked for'] = kdf({ memory_kib: 8_388_608 });
  made['less memory than allowed'] = kdf({ memory_kib: 8 });
  made['more memory than it was made with'] = kdf({ memory_kib: 2_048 });
  made['a million passes'] = kdf({ passes: 1_000_000 });
  made['a thousand lanes'] = kdf({ lanes: 1_000 });
  made['another salt'] = kdf({ salt: '0'.repeat(32) });
  made['a salt that is none'] = kdf({ salt: 7 });
  made['a header without end'] = (bytes) => {
    bytes.writeUInt32BE(0xffffffff, MAGIC.length);
    return bytes;
  };
  made['a header of nothing'] = (bytes) => {
    bytes.writeUInt32BE(0, MAGIC.length);
    return bytes;
  };
  made['a text'] = () => Buffer.from('server_name: home.test\n'.repeat(100));
  return made;
}

test('whatever is damaged about a backup, it is refused in words, and what was there stays untouched', async (t) => {
  await using source = await makeHouse();
  await using target = await makeHouse('other.test', 1_000);
  const directory = temporary(t);
  const path = join(directory, 'good.hearthbackup');
  const made = await backUp(source.dataDir, path);
  assert.equal(made.bytes, sizeOf(path));
  assert.deepEqual([made.missingMedia, made.damagedMedia], [0, 0]);
  await backUp(source.dataDir, join(directory, 'other.hearthbackup'));
  const other = readFileSync(join(directory, 'other.hearthbackup'));
  const start = 12 + readFileSync(path).readUInt32BE(MAGIC.length) + 32;
  assert.ok(made.bytes > start + 2 * CHUNK, 'there are several chunks');
  const before = treeOf(target.dataDir);

  const variants = Object.entries(damages(made.bytes, start, other));
  assert.ok(variants.length >= 50, `${variants.length} variants`);
  for (const [name, change] of variants) {
    const bad = altered(path, join(directory, 'bad.hearthbackup'), change);
    await assert.rejects(
      restore(bad, target.dataDir),
      (error: Error) => error.name === 'MatrixError' && /^(The|There)/.test(error.message),
      name,
    );
    assert.deepEqual(
      readdirSync(target.dataDir).sort(),
      readdirSync(target.dataDir)
        .filter((n) => n !== 'restore')
        .sort(),
      name,
    );
  }
  await assert.rejects(restore(path, target.dataDir, { passphrase: 'another passphrase' }), /passphrase is wrong/);
  await assert.rejects(restore(join(directory, 'none'), target.dataDir), /no such file/);
  await assert.rejects(restore(directory, target.dataDir), /cannot be read/);
  assert.deepEqual(treeOf(target.dataDir), before);

  const { kept, serverName } = await restore(path, target.dataDir);
  assert.equal(serverName, 'home.test');
  assert.ok(kept !== undefined && existsSync(join(kept, 'homeserver.db')));
});

test('a backup put together by somebody else gets no further than its own folder', async (t) => {
  await using target = await makeHouse('other.test', 1_000);
  const directory = temporary(t);
  const before = treeOf(target.dataDir);
  const names = [
    '../evil',
    'a/../../evil',
    '/etc/evil',
    'a\\..\\..\\evil',
    'C:evil',
    'logs/hearth.log',
    'backups/x',
    'restore/plan.json',
    '.backup-passphrase',
    'homeserver.db-wal',
    'x.before-restore',
    'aux',
    'media/con.txt',
    'a//b',
    'a/./b',
    'a. ',
    '',
  ];
  for (const name of names) {
    assert.ok(!isSafeName(name), name);
    const path = join(directory, 'evil.hearthbackup');
    await write(path, [{ name, content: Buffer.from('evil') }]);
    await assert.rejects(restore(path, target.dataDir), /not allowed|not put together/, name);
  }
  for (const name of ['home.test.signing.key', 'media/content/ab/cdef', 'files/tls.crt', 'files/conf.d/a b.yaml']) {
    assert.ok(isSafeName(name), name);
  }
  const path = join(directory, 'twice.hearthbackup');
  await write(path, [
    { name: 'files/a', content: Buffer.from('1') },
    { name: 'files/A', content: Buffer.from('2') },
  ]);
  await assert.rejects(restore(path, target.dataDir), /not put together/, 'names that are one on some systems');
  await write(join(directory, 'few.hearthbackup'), [
    { name: 'homeserver.yaml', content: Buffer.from('server_name: x.test') },
  ]);
  await assert.rejects(restore(join(directory, 'few.hearthbackup'), target.dataDir), /no homeserver.db/);
  await write(join(directory, 'nodb.hearthbackup'), [
    { name: 'homeserver.yaml', content: Buffer.from('server_name: home.test\nsigning_key_path: k\n') },
    { name: 'homeserver.db', content: Buffer.from('this is no database') },
    { name: 'k', content: Buffer.from('ed25519 a_key zGFHYC4xKMDFAkhzYCzUYCNFAKkLkTzQ1rYQhWhCzzI\n') },
  ]);
  await assert.rejects(
    restore(join(directory, 'nodb.hearthbackup'), target.dataDir),
    /cannot be used.*not a database|damaged/i,
  );
  assert.deepEqual(treeOf(target.dataDir), before);
});

async function write(path: string, files: readonly { name: string; content: Buffer }[]): Promise<void> {
  rmSync(path, { force: true });
  const sink = await systemDisk.create(path);
  const { bytes, contentKey } = await beginFile(
    PASSPHRASE,
    { serverName: 'home.test', madeAt: 1, scheduled: false },
    { random: systemRandom, cost: CHEAP },
  );
  await sink.write(bytes);
  const archive = new ArchiveWriter(new SealedWriter(sink, contentKey));
  await archive.begin({ server_name: 'home.test', made_at: 1, version: '1', media: false, bytes: 1_000_000 });
  for (const { name, content } of files) {
    const one = async function* (): AsyncGenerator<Buffer> {
      yield content;
    };
    await archive.add({ name, bytes: content.length, gzip: true }, one());
  }
  await archive.finish();
  await sink.close();
}

test('a full disk is said to be full, at any moment, and leaves no debris', async (t) => {
  await using source = await makeHouse();
  await using target = await makeHouse('other.test', 1_000);
  const directory = temporary(t);
  const path = join(directory, 'good.hearthbackup');
  const { bytes } = await backUp(source.dataDir, path);
  const sourceBefore = treeOf(source.dataDir);
  const targetBefore = treeOf(target.dataDir);
  const full = join(directory, 'full');
  mkdirSync(full);
  for (const share of [0, 0.1, 0.5, 0.99]) {
    const disk = diskWith(Math.trunc(bytes * share));
    await assert.rejects(backUp(source.dataDir, join(full, 'x.hearthbackup'), { disk }), /disk is full/);
    await assert.rejects(restore(path, target.dataDir, { disk: diskWith(Math.trunc(bytes * share)) }), /disk is full/);
  }
  const small = { ...systemDisk, freeBytes: () => Promise.resolve(17 * 1024 * 1024) };
  await assert.rejects(backUp(source.dataDir, join(full, 'x.hearthbackup'), { disk: small }), /not enough room/);
  await assert.rejects(restore(path, target.dataDir, { disk: small }), /not enough room/);
  assert.deepEqual(readdirSync(full), []);
  assert.deepEqual(treeOf(source.dataDir), sourceBefore);
  assert.deepEqual(treeOf(target.dataDir), targetBefore);
});

test('a backup or restoration that is broken off leaves nothing, wherever it was', async (t) => {
  await using source = await makeHouse();
  await using target = await makeHouse('other.test', 1_000);
  const directory = temporary(t);
  const path = join(directory, 'good.hearthbackup');
  await backUp(source.dataDir, path);
  const [sourceBefore, targetBefore] = [treeOf(source.dataDir), treeOf(target.dataDir)];
  const aborting = (share: number): { signal: AbortSignal; progress: (done: number) => void } => {
    const abort = new AbortController();
    return { signal: abort.signal, progress: (done) => done >= share && abort.abort(new Error('broken off')) };
  };
  const other = join(directory, 'sub');
  mkdirSync(other);
  for (const share of [0, 0.05, 0.2, 0.6, 0.75, 0.9]) {
    await assert.rejects(
      backUp(source.dataDir, join(other, 'x.hearthbackup'), aborting(share)),
      /broken off/,
      `${share}`,
    );
    await assert.rejects(restore(path, target.dataDir, aborting(share)), /broken off/, `${share}`);
  }
  assert.deepEqual(readdirSync(other), []);
  assert.deepEqual(treeOf(source.dataDir), sourceBefore);
  assert.deepEqual(treeOf(target.dataDir), targetBefore);
});

test('media that are missing or damaged on the disk are told of, and do not keep the rest from being saved', async (t) => {
  await using source = await makeHouse();
  const directory = temporary(t);
  const folder = join(source.dataDir, 'media', 'content');
  const [file] = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  assert.ok(file !== undefined);
  const place = join(file.parentPath, file.name);
  altered(place, place, flip(1_000));
  const damaged = await backUp(source.dataDir, join(directory, 'a.hearthbackup'));
  assert.deepEqual([damaged.missingMedia, damaged.damagedMedia], [0, 1]);
  altered(place, place, (bytes) => bytes.subarray(1));
  const cut = await backUp(source.dataDir, join(directory, 'b.hearthbackup'));
  assert.deepEqual([cut.missingMedia, cut.damagedMedia], [0, 1]);
  assert.equal(cut.files, damaged.files - 1);

  // Without media in the backup, those that are there stay.
  await backUp(source.dataDir, join(directory, 'c.hearthbackup'), { media: false });
  await restore(join(directory, 'c.hearthbackup'), source.dataDir);
  assert.ok(existsSync(place));
});

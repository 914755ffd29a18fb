import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { loadNotaryKeys } from '../../server/config/signing-key.ts';
import { KeyStore } from '../../server/federation/key-ring/key-store.ts';
import type { ServerKey, ServerKeysAnswer } from '../../server/federation/key-ring/server-keys.ts';
import { federationMigrations } from '../../server/federation/schema.ts';
import { formatSigningKeyFile } from '../../server/matrix/signing.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import { silentLogger } from '../../server/util/log.ts';
import { newKey, serverName } from './key-ring-kit.ts';

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-key-store-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function openStore(t: TestContext): { db: OpenDatabase; store: KeyStore } {
  const path = join(folderOf(t), 'homeserver.db');
  const db = openDatabase({ path, migrations: [federationMigrations], log: silentLogger });
  t.after(() => db.close());
  return { db, store: new KeyStore(db) };
}

const { publicKey } = newKey('any');

function answerOf(server: string, keys: readonly Partial<ServerKey>[] = [{}]): ServerKeysAnswer {
  return {
    server: serverName(server),
    keys: keys.map((key) => ({ keyId: 'ed25519:one', publicKey, validUntil: 1_000, expired: false, ...key })),
    validUntil: 1_000,
    text: '{}',
  };
}

test('what was fetched for others is kept within bounds, and what was fetched for ourselves stays', (t) => {
  const { db, store } = openStore(t);
  const from = serverName('notary.test');
  db.write((tx) => {
    store.put(tx, answerOf('own.test'), { from, fetchedAt: 0, forOthers: false });
    for (let count = 1; count <= 2_199; count += 1) {
      store.put(tx, answerOf(`s${count}.test`), { from, fetchedAt: count, forOthers: true });
    }
  });
  const isKept = (server: string): boolean =>
    store.find(serverName(server)).size === 1 && store.listAnswers(serverName(server)).length === 1;
  assert.equal(isKept('own.test'), true);
  const kept = Array.from({ length: 2_199 }, (_, index) => index + 1).filter((count) => isKept(`s${count}.test`));
  assert.equal(kept.length, 2_000);
  assert.equal(kept[0], 200, 'the oldest went');
});

test('a server that changes its keys all the time keeps the newest two hundred', (t) => {
  const { db, store } = openStore(t);
  const server = serverName('away.test');
  db.write((tx) => {
    for (let count = 0; count < 300; count += 1) {
      const answer = answerOf(server, [{ keyId: `ed25519:k${count}`, validUntil: 1_000 + count }]);
      store.put(tx, answer, { from: server, fetchedAt: count, forOthers: false });
    }
  });
  const keys = store.find(server);
  assert.equal(keys.size, 200);
  assert.ok(keys.has('ed25519:k299') && !keys.has('ed25519:k99'));
  assert.equal(store.listAnswers(server).length, 200, 'answers nobody refers to are gone');
});

test('keys of a write that was undone are not there', (t) => {
  const { db, store } = openStore(t);
  const server = serverName('away.test');
  assert.throws(() =>
    db.write((tx) => {
      store.put(tx, answerOf(server), { from: server, fetchedAt: 0, forOthers: false });
      assert.equal(store.find(server).size, 1);
      throw new Error('undo');
    }),
  );
  assert.equal(store.find(server).size, 0);
});

test('an expired key is revived by its server only, and a validity never gets shorter', (t) => {
  const { db, store } = openStore(t);
  const server = serverName('away.test');
  const notary = serverName('notary.test');
  const put = (from: typeof server, key: Partial<ServerKey>): readonly [number, boolean] => {
    db.write((tx) => store.put(tx, answerOf(server, [key]), { from, fetchedAt: 0, forOthers: false }));
    const stored = store.find(server).get('ed25519:one');
    assert.ok(stored !== undefined);
    return [stored.validUntil, stored.expired];
  };
  assert.deepEqual(put(server, { validUntil: 500 }), [500, false]);
  assert.deepEqual(put(server, { validUntil: 400 }), [500, false]);
  assert.deepEqual(put(notary, { validUntil: 300 }), [500, false]);
  assert.deepEqual(put(notary, { validUntil: 600 }), [600, false]);
  assert.deepEqual(put(notary, { validUntil: 450, expired: true }), [450, true]);
  assert.deepEqual(put(notary, { validUntil: 900 }), [450, true]);
  assert.deepEqual(put(server, { validUntil: 800 }), [800, false]);
});

test('a server’s own word replaces a key of the same name, a key server’s does not', (t) => {
  const { db, store } = openStore(t);
  const server = serverName('away.test');
  const other = newKey('one').publicKey;
  const put = (from: string, key: Buffer): boolean => {
    const answer = answerOf(server, [{ publicKey: key }]);
    db.write((tx) => store.put(tx, answer, { from: serverName(from), fetchedAt: 0, forOthers: false }));
    return store.find(server).get('ed25519:one')?.publicKey.equals(key) === true;
  };
  assert.equal(put('notary.test', publicKey), true);
  assert.equal(put('notary.test', other), false);
  assert.equal(put('away.test', other), true);
  assert.equal(put('notary.test', publicKey), false);
});

test('a key server’s signing keys are read from the file that is named for them', (t) => {
  const folder = folderOf(t);
  const signing = { keyPath: join(folder, 'own.key'), inlineKey: undefined, oldKeys: {}, keyRefreshIntervalMs: 1 };
  const notaryKeyPath = join(folder, 'notary.key');
  assert.equal(loadNotaryKeys({ ...signing, notaryKeyPath: undefined }), undefined);
  assert.throws(() => loadNotaryKeys({ ...signing, notaryKeyPath }), { name: 'ConfigError' });
  const keys = [newKey('a'), newKey('b')];
  writeFileSync(notaryKeyPath, keys.map(formatSigningKeyFile).join(''));
  assert.deepEqual(
    loadNotaryKeys({ ...signing, notaryKeyPath })?.map(({ keyId }) => keyId),
    ['ed25519:a', 'ed25519:b'],
  );
  writeFileSync(notaryKeyPath, 'nonsense');
  assert.throws(() => loadNotaryKeys({ ...signing, notaryKeyPath }), { name: 'ConfigError' });
});

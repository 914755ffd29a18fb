import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../server/config/config.ts';
import { defaultDataDir, makeDataDir } from '../../server/config/data-dir.ts';
import { checkSigningKeys, loadSigningKeys } from '../../server/config/signing-key.ts';
import { formatSigningKeyFile, generateSigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { load, tempDir } from './files.ts';

test('the data directory is where each system has the data of a user', () => {
  const of = (platform: NodeJS.Platform, env: Record<string, string>): string =>
    defaultDataDir({ platform, env, home: join('/', 'home', 'ada') });
  assert.equal(of('linux', {}), join('/', 'home', 'ada', '.local', 'share', 'hearth'));
  assert.equal(of('linux', { XDG_DATA_HOME: '/data' }), join('/data', 'hearth'));
  assert.equal(of('linux', { XDG_DATA_HOME: 'relative' }), join('/', 'home', 'ada', '.local', 'share', 'hearth'));
  assert.equal(of('darwin', {}), join('/', 'home', 'ada', 'Library', 'Application Support', 'Hearth'));
  assert.equal(of('win32', {}), join('/', 'home', 'ada', 'AppData', 'Local', 'Hearth'));
  assert.equal(of('win32', { LOCALAPPDATA: '/local' }), join('/local', 'Hearth'));
});

test('a new data directory is private, and its configuration loads without a warning', (t) => {
  const directory = join(tempDir(t), 'deep', 'data');
  const { configFile, keyFile } = makeDataDir(directory, { serverName: 'home.example:8448', clientPort: 1234 });
  if (process.platform !== 'win32') {
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    assert.equal(statSync(configFile).mode & 0o777, 0o600);
    assert.equal(statSync(keyFile).mode & 0o777, 0o600);
  }
  const { config, warnings } = loadConfig({ dataDir: directory });
  assert.deepEqual(warnings, []);
  assert.equal(config.serverName, 'home.example:8448');
  assert.equal(config.listeners[0]?.port, 1234);
  assert.equal(config.signing.keyPath, keyFile);
  assert.ok((config.registration.sharedSecret ?? '').length >= 40);
  assert.match(readFileSync(keyFile, 'utf8'), /^ed25519 a_\w{4,} [A-Za-z0-9+/]{43}\n$/);
});

test('a data directory with a configuration is not made anew, and a key never', (t) => {
  const directory = tempDir(t);
  const { configFile, keyFile } = makeDataDir(directory, { serverName: 'home.example' });
  const [config, key] = [readFileSync(configFile, 'utf8'), readFileSync(keyFile, 'utf8')];
  assert.throws(() => makeDataDir(directory, { serverName: 'home.example' }), { code: 'EEXIST' });
  assert.equal(readFileSync(configFile, 'utf8'), config);
  assert.equal(readFileSync(keyFile, 'utf8'), key);
});

test('a signing key is made once and then read', (t) => {
  const { config } = load(t, 'signing_key_path: keys/own.key\n');
  checkSigningKeys(config.signing);
  const [made] = loadSigningKeys(config.signing, systemRandom);
  const [read] = loadSigningKeys(config.signing, systemRandom);
  assert.equal(read.keyId, made.keyId);
  assert.deepEqual(read.seed, made.seed);
  if (process.platform !== 'win32') assert.equal(statSync(config.signing.keyPath).mode & 0o777, 0o600);
});

test('a signing key that is no key is refused without being shown', (t) => {
  const { config } = load(t, '');
  writeFileSync(config.signing.keyPath, 'ed25519 a_1 c2VjcmV0\n');
  assert.throws(
    () => checkSigningKeys(config.signing),
    (error: Error) => error.message.includes(config.signing.keyPath) && !error.message.includes('c2VjcmV0'),
  );
  assert.equal(readFileSync(config.signing.keyPath, 'utf8'), 'ed25519 a_1 c2VjcmV0\n');
});

test('a signing key may stand in the configuration itself', (t) => {
  const key = generateSigningKey(systemRandom.bytes(32));
  const { config } = load(t, `signing_key: "${formatSigningKeyFile(key).trim()}"\n`);
  const [read] = loadSigningKeys(config.signing, systemRandom);
  assert.equal(read.publicKeyBase64, key.publicKeyBase64);
});

test('names of the command line go before those in the file, and are checked', (t) => {
  const { config } = load(t, '', { overrides: { serverName: 'other.example' } });
  assert.equal(config.serverName, 'other.example');
  assert.throws(() => load(t, '', { overrides: { serverName: 'no name' } }), /command line: server name: must be/);
});

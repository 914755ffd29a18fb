import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSigningKeyFile } from '../../server/matrix/signing.ts';
import { tempDir } from '../config/files.ts';
import { hearth } from './processes.ts';

test('without a command, or with one that is unknown, the usage is shown on standard error', async (t) => {
  const none = await hearth(t, []);
  assert.equal(none.code, 2);
  assert.match(none.err, /^Usage: /);
  assert.equal(none.out, '');
  const unknown = await hearth(t, ['chek-config']);
  assert.equal(unknown.code, 2);
  assert.match(unknown.err, /did you mean "check-config"\?[\s\S]*Usage: /);
});

test('--help is an answer, not a mistake', async (t) => {
  const all = await hearth(t, ['--help']);
  assert.equal(all.code, 0);
  for (const name of ['serve', 'generate-config', 'check-config', 'register-user', 'hash-password', 'version']) {
    assert.match(all.out, new RegExp(`^  ${name} `, 'm'));
  }
  const one = await hearth(t, ['serve', '--data-dir', 'x', '--help']);
  assert.equal(one.code, 0);
  assert.match(one.out, /Usage: hearth serve[\s\S]*--federation-port/);
});

test('an unknown flag or a wrong value is answered with the usage of the command', async (t) => {
  for (const args of [
    ['version', '--loud'],
    ['serve', '--client-port', 'http'],
    ['serve', '--config', 'a', '--data-dir', 'b'],
    ['serve', '--server-name', 'no name'],
    ['generate-config', '--data-dir', 'x'],
    ['generate-config', '--server-name', 'a/b', '--data-dir', 'x'],
    ['register-user', '-k', 'x', '--admin', '--no-admin'],
    ['register-user', '-k', 'x', 'not a url'],
  ]) {
    const { code, err, out } = await hearth(t, args);
    assert.equal(code, 2, args.join(' '));
    assert.match(err, new RegExp(`^${args[0] ?? ''}: .*\n[\\s\\S]*Usage: `));
    assert.equal(out, '');
    assert.doesNotMatch(err, /\n {4}at /);
  }
});

test('version prints the version', async (t) => {
  const { code, out } = await hearth(t, ['version']);
  assert.equal(code, 0);
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
  assert.equal(out, `Hearth ${version}\n`);
});

test('generate-config makes a directory that check-config finds in order', async (t) => {
  const directory = join(tempDir(t), 'data');
  const args = ['generate-config', '--server-name', 'home.example', '--data-dir', directory, '--report-stats', 'no'];
  const made = await hearth(t, args);
  assert.equal(made.code, 0, made.err);
  assert.ok(existsSync(join(directory, 'home.example.signing.key')));
  const checked = await hearth(t, ['check-config', '--data-dir', directory]);
  assert.equal(checked.code, 0, checked.err);
  assert.match(checked.out, /in order, for home\.example/);
  assert.equal(existsSync(join(directory, 'homeserver.db')), false);
  const again = await hearth(t, args);
  assert.equal(again.code, 1);
  assert.match(again.err, /has a configuration already/);
});

test('check-config lists every mistake with its line, and no stack trace', async (t) => {
  const file = join(tempDir(t), 'homeserver.yaml');
  writeFileSync(file, 'server_name: home.example\npid_fiel: x\nallow_guest_access: maybe\n');
  const { code, err, out } = await hearth(t, ['check-config', '--config', file]);
  assert.equal(code, 1);
  assert.equal(out, '');
  assert.deepEqual(err.trimEnd().split('\n'), [
    `${file}:2:1: pid_fiel: unknown option; did you mean "pid_file"?`,
    `${file}:3:21: allow_guest_access: expected true or false, found "maybe"`,
  ]);
});

test('check-config prints what has no effect, and notices a broken signing key', async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'homeserver.yaml');
  writeFileSync(file, 'server_name: home.example\nreport_stats: true\n');
  const { code, out } = await hearth(t, ['check-config', file]);
  assert.equal(code, 0);
  assert.match(out, /^warning: report_stats \(.*:2\): has no effect/m);
  writeFileSync(join(directory, 'home.example.signing.key'), 'nonsense\n');
  const broken = await hearth(t, ['check-config', file]);
  assert.equal(broken.code, 1);
  assert.match(broken.err, /^\S*home\.example\.signing\.key: .*line 1/);
});

test('generate-signing-key prints a key or writes a private file, never over another', async (t) => {
  const printed = await hearth(t, ['generate-signing-key']);
  assert.equal(printed.code, 0);
  assert.match(parseSigningKeyFile(printed.out)[0].keyId, /^ed25519:a_/);
  const file = join(tempDir(t), 'new.key');
  assert.equal((await hearth(t, ['generate-signing-key', '-o', file])).code, 0);
  const written = readFileSync(file, 'utf8');
  assert.notEqual(written, printed.out);
  parseSigningKeyFile(written);
  if (process.platform !== 'win32') assert.equal(statSync(file).mode & 0o777, 0o600);
  const again = await hearth(t, ['generate-signing-key', '-o', file]);
  assert.equal(again.code, 1);
  assert.match(again.err, /is there already/);
  assert.equal(readFileSync(file, 'utf8'), written);
});

test('hash-password hashes what it is given, or asks for it twice', async (t) => {
  const given = await hearth(t, ['hash-password', '-p', 'wordpass']);
  assert.equal(given.code, 0);
  assert.match(given.out, /^\$argon2id\$v=19\$\S+\n$/);
  const asked = await hearth(t, ['hash-password'], { input: 'wordpass\nwordpass\n' });
  assert.equal(asked.code, 0, asked.err);
  assert.match(asked.out, /^\$argon2id\$/);
  assert.doesNotMatch(asked.out + asked.err, /wordpass/);
  const different = await hearth(t, ['hash-password'], { input: 'wordpass\npassword\n' });
  assert.equal(different.code, 1);
  assert.match(different.err, /not the same/);
  const silent = await hearth(t, ['hash-password'], { input: '' });
  assert.equal(silent.code, 1);
  assert.match(silent.err, /No answer/);
});

test('the pepper of a configuration goes into the hash', async (t) => {
  const { verify } = await import('@node-rs/argon2');
  const file = join(tempDir(t), 'homeserver.yaml');
  writeFileSync(file, 'server_name: home.example\npassword_config: {pepper: salted}\n');
  const { out } = await hearth(t, ['hash-password', '-p', 'wordpass', '-c', file]);
  assert.equal(await verify(out.trim(), 'wordpass', { secret: Buffer.from('salted') }), true);
  assert.equal(await verify(out.trim(), 'wordpass'), false);
});

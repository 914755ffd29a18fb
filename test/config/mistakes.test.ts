import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../server/config/config.ts';
import { allOptions } from '../../server/config/options/all.ts';
import { complaints, problemsOf, tempDir } from './files.ts';

test('all mistakes are reported at once, in the order of their lines', (t) => {
  const found = complaints(
    t,
    `rc_message:
  per_second: often
allow_guest_access: perhaps
listeners:
  - port: 80808
max_upload_size: 5 apples
session_lifetime: 1 fortnight
`,
  );
  assert.deepEqual(
    found.map((line) => line.replace(/ expected.*/, '')),
    [
      '3:15 rc_message.per_second',
      '4:21 allow_guest_access',
      '6:11 listeners[0].port',
      '7:18 max_upload_size',
      '8:19 session_lifetime',
    ],
  );
  assert.match(found[0] ?? '', /expected a number, 0 or more, found "often"/);
  assert.match(found[1] ?? '', /expected true or false/);
  assert.match(found[2] ?? '', /expected a whole number from 0 to 65535, found the number 80808/);
});

test('an unknown option is pointed at, with the name that was probably meant', (t) => {
  assert.deepEqual(complaints(t, 'pid_fiel: x\nrc_login:\n  adress:\n    per_second: 1\nxyzzy: 1\n'), [
    '2:1 pid_fiel unknown option; did you mean "pid_file"?',
    '4:3 rc_login.adress unknown option; did you mean "address"?',
    '6:1 xyzzy unknown option',
  ]);
});

test('a sub-option that slipped out of its option is unknown', (t) => {
  const [first, ...rest] = complaints(t, 'presence:\nenabled: false\n');
  assert.match(first ?? '', /^3:1 enabled unknown option/);
  assert.deepEqual(rest, []);
});

test('broken YAML is reported with its place, and nothing is guessed about the rest', (t) => {
  const [problem, ...rest] = problemsOf(t, 'pid_file: x\nlisteners: [\n  {port: 8008\n');
  assert.match(problem?.message ?? '', /^not valid YAML: /);
  assert.ok((problem?.line ?? 0) >= 2);
  assert.ok(rest.every(({ message }) => message.startsWith('not valid YAML')));
});

test('an option written twice is a mistake', (t) => {
  const [problem] = problemsOf(t, 'server_name: a.example\npid_file: x\nserver_name: b.example\n');
  assert.equal(problem?.line, 3);
  assert.equal(problem?.message, 'server_name is written twice');
});

test('a file that is no mapping, or is not there, is a mistake', (t) => {
  assert.match(problemsOf(t, '- server_name\n')[0]?.message ?? '', /a configuration is a mapping/);
  assert.throws(() => loadConfig({ configPath: join(tempDir(t), 'none.yaml') }), /none\.yaml: there is no such file/);
});

test('a server name is needed, and has to be one', (t) => {
  const [lacking] = problemsOf(t, 'pid_file: x\n');
  assert.match(lacking?.message ?? '', /^server_name is needed/);
  const [url] = problemsOf(t, 'server_name: https://home.example/\n');
  assert.equal(url?.option, 'server_name');
  assert.match(url?.message ?? '', /expected a server name/);
});

test('a mistake in an aliased value is reported where the alias stands', (t) => {
  const found = complaints(
    t,
    'rc_message: &slow\n  per_second: 1\nrc_registration: *slow\nallow_guest_access: *slow\n',
  );
  assert.deepEqual(found, ['5:21 allow_guest_access expected true or false, found a mapping']);
});

test('no message repeats a secret', (t) => {
  const [signingKey] = complaints(t, 'signing_key: ed25519 hunter2\n');
  assert.doesNotMatch(signingKey ?? '', /hunter2/);
  const [pepper] = complaints(t, 'password_config:\n  pepper: [hunter2]\n');
  assert.equal(pepper, '3:3 password_config.pepper expected text, found a list');
});

test('PostgreSQL is refused in one clear line', (t) => {
  const found = complaints(t, 'database:\n  name: psycopg2\n  args:\n    user: synapse\n    host: localhost\n');
  assert.equal(found.length, 1);
  assert.match(found[0] ?? '', /^3:9 database\.name PostgreSQL is not supported/);
});

test('registration open to everybody has to be asked for in so many words', (t) => {
  const [refused] = complaints(t, 'enable_registration: true\n');
  assert.match(refused ?? '', /^2:1 enable_registration would let anybody in/);
  assert.deepEqual(complaints(t, 'enable_registration: true\nregistration_requires_token: true\n'), []);
  assert.deepEqual(complaints(t, 'enable_registration: true\nenable_registration_without_verification: true\n'), []);
  assert.deepEqual(complaints(t, 'enable_registration_without_verification: true\n'), []);
});

test('verification without effect does not open registration', (t) => {
  const captcha = 'enable_registration_captcha: true\nrecaptcha_public_key: a\nrecaptcha_private_key: b\n';
  const refused = complaints(t, `enable_registration: true\n${captcha}`).length > 0;
  assert.equal(refused, allOptions.enable_registration_captcha.note !== undefined);
});

test('options that need each other are refused alone', (t) => {
  const single = (text: string): string => {
    const found = complaints(t, text);
    assert.equal(found.length, 1, found.join('\n'));
    return found[0] ?? '';
  };
  assert.match(single('listeners: [{port: 8448, tls: true}]\n'), /listeners .*needs tls_certificate_path/);
  assert.match(single('enable_registration_captcha: true\n'), /needs recaptcha_public_key/);
  assert.match(single('limit_usage_by_mau: true\n'), /needs max_mau_value/);
  assert.match(single('url_preview_enabled: true\n'), /needs url_preview_ip_range_blacklist/);
  assert.match(single('autocreate_auto_join_room_preset: private_chat\n'), /auto_join_mxid_localpart/);
  assert.match(single('email: {smtp_host: localhost}\n'), /needs notif_from/);
  assert.match(
    single('session_lifetime: 1h\nrefresh_token_lifetime: 2h\n'),
    /must not be longer than session_lifetime/,
  );
  assert.match(single('thumbnail_sizes: [{width: 10, height: 10}]\n'), /thumbnail_sizes\[0\] needs method/);
  assert.match(single('listeners: [{tls: false}]\n'), /listener 1 needs either a port or a path/);
});

test('while certificates are not checked, a key server needs keys of its own', (t) => {
  const text = 'federation_verify_certificates: false\ntrusted_key_servers: [{server_name: keys.example';
  assert.match(complaints(t, `${text}}]\n`)[0] ?? '', /keys\.example needs verify_keys/);
  assert.deepEqual(complaints(t, `${text}, accept_keys_insecurely: true}]\n`), []);
});

test('keys of servers have to be keys', (t) => {
  const key = Buffer.alloc(32).toString('base64');
  assert.deepEqual(complaints(t, `old_signing_keys: {"ed25519:a": {key: ${key}, expired_ts: 1}}\n`), []);
  assert.match(complaints(t, `old_signing_keys: {"rsa:a": {key: ${key}, expired_ts: 1}}\n`)[0] ?? '', /no key ID/);
  assert.match(complaints(t, 'old_signing_keys: {"ed25519:a": {key: short, expired_ts: 1}}\n')[0] ?? '', /32 bytes/);
});

test('a listener with TLS needs a certificate that can be read', (t) => {
  const directory = tempDir(t);
  writeFileSync(join(directory, 'tls.crt'), 'certificate');
  const found = complaints(
    t,
    `listeners: [{port: 8448, tls: true}]
tls_certificate_path: ${JSON.stringify(join(directory, 'tls.crt'))}
tls_private_key_path: ${JSON.stringify(join(directory, 'tls.key'))}
`,
  );
  assert.equal(found.length, 1);
  assert.match(found[0] ?? '', /^4:1 tls_private_key_path .*tls\.key cannot be read: there is no such file/);
});

test('a bomb of aliases is refused', (t) => {
  const levels = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const bomb = levels.map((name, index) => {
    const previous = levels[index - 1];
    const items = previous === undefined ? ['lol'] : Array.from({ length: 10 }, () => `*${previous}`);
    return `  ${name}: &${name} [${items.join(', ')}]`;
  });
  const [found] = complaints(t, `extra_well_known_client_content:\n${bomb.join('\n')}\n`);
  assert.match(found ?? '', /too many aliases/);
});

import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { catalogue } from '../../server/appliance/settings/catalogue.ts';
import { configFile } from '../../server/appliance-ports/config-file.ts';
import { editConfigText } from '../../server/config/edit.ts';
import { ConfigError } from '../../server/config/problems.ts';
import { tempDir } from '../config/files.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { TestAppliance } from './appliance-kit.ts';
import { moveIn, PASSWORD, roomyDataDir, startRoomy, visitor, welcome } from './household-kit.ts';

test('a setting is written where it belongs, and every comment and other line stays', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const own =
    '# Chosen by Nora.\nmax_upload_size: 20M # enough for photos\nretention:\n  # old things\n  enabled: false\n';
  writeFileSync(file, `${readFileSync(file, 'utf8')}\n${own}`);
  const before = readFileSync(file, 'utf8').split('\n');
  const values = {
    max_upload_size: 100 * 2 ** 20,
    'presence.enabled': 'untracked',
    admin_contact: 'mailto:nora@example.com',
  };
  assert.deepEqual(await house.call('PUT /settings', { body: { values } }), { needsRestart: true });
  const after = readFileSync(file, 'utf8').split('\n');
  assert.deepEqual(
    after.filter((line) => !before.includes(line)),
    [
      'max_upload_size: 100M # enough for photos',
      'presence:',
      '  enabled: untracked',
      'admin_contact: mailto:nora@example.com',
    ],
  );
  assert.deepEqual(
    before.filter((line) => !after.includes(line)),
    ['max_upload_size: 20M # enough for photos'],
  );
  if (process.platform !== 'win32') assert.equal(statSync(file).mode & 0o777, 0o600);

  const { settings } = await house.call('GET /settings');
  const find = (path: string) => settings.find((setting) => setting.path === path);
  assert.equal(find('max_upload_size')?.value, 100 * 2 ** 20);
  assert.equal(find('max_upload_size')?.default, 50 * 2 ** 20);
  assert.equal(find('presence.enabled')?.value, 'untracked');
  assert.equal(find('presence.enabled')?.isSet, true);
  assert.equal(find('session_lifetime')?.isSet, false);

  // Back to how it was: what was made for it goes with it, the remark above stays.
  const nothing = { max_upload_size: null, 'presence.enabled': null, admin_contact: null };
  await house.call('PUT /settings', { body: { values: nothing } });
  const cleared = readFileSync(file, 'utf8');
  assert.match(cleared, /# Chosen by Nora\./);
  assert.doesNotMatch(cleared, /presence|admin_contact|^max_upload_size/m);
  assert.equal((await house.call('POST /server/restart')).line, 'setup', 'the server runs with it');
});

test('a mistake is refused by its field, and the file is untouched', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const before = readFileSync(file, 'utf8');
  for (const [path, value, message] of [
    ['public_baseurl', 'chat.example.com', /http/],
    ['max_upload_size', 'much', /size in bytes/],
    ['max_upload_size', -1, /size in bytes/],
    ['presence.enabled', 'perhaps', /none of the choices/],
    ['auto_join_rooms', ['no alias'], /room alias/],
    ['email.smtp_port', 0, /from 1 to 65535/],
    ['allow_guest_access', 'yes', /on or off/],
    ['email.smtp_host', 'mail.example.com', /notif_from/],
    ['server_name', 'other.example.com', /no such setting/],
    ['registration_shared_secret', 'x', /no such setting/],
  ] as const) {
    const answer = await house.ask('PUT /settings', { body: { values: { [path]: value as string } } });
    assert.equal(answer.status, 400, path);
    const { field, error } = answer.body as { field: string; error: string };
    assert.equal(field, path);
    assert.match(error, message, path);
    assert.equal(readFileSync(file, 'utf8'), before);
  }
  assert.deepEqual(
    readdirSync(house.dataDir).filter((name) => name.includes('.new')),
    [],
  );
});

test('a secret is never sent back', async () => {
  await using house = await TestAppliance.start();
  const values = {
    'email.smtp_host': 'mail.example.com',
    'email.notif_from': 'h@example.com',
    'email.smtp_pass': 'hush-hush',
  };
  await house.call('PUT /settings', { body: { values } });
  const answer = await house.call('GET /settings');
  const password = answer.settings.find(({ path }) => path === 'email.smtp_pass');
  assert.equal(password?.value, null);
  assert.equal(password?.isSet, true);
  assert.doesNotMatch(JSON.stringify(answer), /hush/);
  assert.match(readFileSync(join(house.dataDir, 'homeserver.yaml'), 'utf8'), /smtp_pass: hush-hush/);
});

test('what can change while the server runs asks for no restart', async () => {
  await using house = await TestAppliance.start();
  const change = async (values: Record<string, string | number>) =>
    (await house.call('PUT /settings', { body: { values } })).needsRestart;
  assert.equal(await change({ 'hearth.log_level': 'warn' }), false);
  assert.equal(await change({ 'hearth.log_level': 'warn', 'hearth.log_files_kept': 3 }), true);
  assert.equal(await change({ 'hearth.log_files_kept': 3 }), false, 'nothing has changed');
});

test('previews of links bring the list with them that keeps them off the home network', async () => {
  await using house = await TestAppliance.start();
  await house.call('PUT /settings', { body: { values: { url_preview_enabled: true } } });
  const config = parse(readFileSync(join(house.dataDir, 'homeserver.yaml'), 'utf8')) as Record<string, string[]>;
  assert.ok(config['url_preview_ip_range_blacklist']?.includes('192.168.0.0/16'));
});

test('who may come is closed until it is opened, by invitation or to everybody, with a warning', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const config = (): Record<string, unknown> => parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const closed = await house.call('GET /registration');
  assert.equal(closed.mode, 'closed');
  assert.equal(closed.openIsSafe, false);
  assert.ok(closed.reasons.length > 0);

  await house.call('PUT /registration', { body: { mode: 'invitation' } });
  assert.equal((await house.call('GET /registration')).mode, 'invitation');
  assert.equal(config()['registration_requires_token'], true);

  assert.deepEqual(await house.call('PUT /registration', { body: { mode: 'open' } }), { needsRestart: true });
  assert.equal((await house.call('GET /registration')).mode, 'open');
  assert.equal(config()['enable_registration_without_verification'], true);
  await house.call('POST /server/restart');
  assert.equal((await house.call('GET /status')).line, 'setup');

  await house.call('PUT /registration', { body: { mode: 'closed' } });
  assert.equal((await house.call('GET /registration')).mode, 'closed');
  assert.equal(config()['enable_registration_without_verification'], undefined);
});

test('closing counts at once, also for who is half way in; opening again waits for a restart; invitations go on', async () => {
  using data = roomyDataDir({
    config: { enable_registration: true, enable_registration_without_verification: true },
  });
  await using house = await startRoomy(data);
  await moveIn(house, 'anna');
  const path = '/_matrix/client/v3/register';
  const register = (username: string, auth?: object) =>
    visitor(house).post(path, { username, password: PASSWORD, ...(auth === undefined ? {} : { auth }) });
  const isDue = async (): Promise<boolean> => (await house.call('GET /status')).restartDue === true;
  const begun = await register('spam1');
  assert.equal(begun.status, 401);
  expectOk(await register('spam1', { type: 'm.login.dummy', session: begun.body.session }));
  const halfWay = await register('spam2');

  assert.deepEqual(await house.call('PUT /registration', { body: { mode: 'invitation' } }), { needsRestart: false });
  assert.equal((await register('spam2', { type: 'm.login.dummy', session: halfWay.body.session })).status, 401);
  assert.deepEqual((await register('spam3')).body.flows, [{ stages: ['m.login.registration_token'] }]);
  assert.equal(await isDue(), false, 'it is as the file says');

  assert.deepEqual(await house.call('PUT /registration', { body: { mode: 'closed' } }), { needsRestart: false });
  expectError(await register('spam2', { type: 'm.login.dummy', session: halfWay.body.session }), 403, 'M_FORBIDDEN');
  expectError(await register('spam3'), 403, 'M_FORBIDDEN');
  assert.equal((await house.call('GET /registration')).until, undefined);
  assert.equal(await isDue(), false);
  await welcome(house, 'ben');

  assert.deepEqual(await house.call('PUT /registration', { body: { mode: 'open' } }), { needsRestart: true });
  const { mode, until } = await house.call('GET /registration');
  assert.deepEqual([mode, until], ['open', 'closed'], 'the file is what it was, and the server is not');
  assert.equal(await isDue(), true);
  expectError(await register('carla'), 403, 'M_FORBIDDEN');
  await house.call('POST /server/restart');
  assert.equal(await isDue(), false);
  assert.equal((await register('carla')).status, 401);

  const file = join(house.dataDir, 'homeserver.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace('enable_registration: true', 'enable_registration: false'));
  assert.deepEqual([(await house.call('GET /registration')).until, await isDue()], ['open', true], 'closed by hand');
  assert.deepEqual(await house.call('PUT /registration', { body: { mode: 'closed' } }), { needsRestart: false });
  assert.equal(await isDue(), false);
  expectError(await register('carla'), 403, 'M_FORBIDDEN');
});

test('every setting is an option there is, of the kind it is shown as', (t) => {
  const file = configFile(tempDir(t));
  const seen = new Set<string>();
  for (const { path, kind, choices, never, title, help } of catalogue) {
    assert.ok(!seen.has(path), path);
    seen.add(path);
    assert.ok(title.length > 0 && help.length > 0, path);
    const facts = file.describe(path);
    assert.equal(facts.note, undefined, `${path} has an effect`);
    assert.equal(never !== undefined, facts.takesNull && facts.fallback !== null, `${path} may have no limit`);
    assert.equal(kind === 'secret', facts.isSecret, path);
    assert.deepEqual(choices?.map(({ value }) => value).toSorted(), facts.choices?.map(String).toSorted(), path);
    if (facts.fallback !== undefined && facts.fallback !== null) {
      const expected = {
        switch: 'boolean',
        number: 'number',
        bytes: 'number',
        duration: 'number',
        list: 'object',
      } as Record<string, string>;
      const type = expected[kind];
      if (type !== undefined) assert.equal(typeof facts.fallback, type, path);
    }
  }
});

test('oddities of YAML survive a change of something else, or the change is refused', () => {
  const edit = (text: string, changes: Parameters<typeof editConfigText>[2]): string =>
    editConfigText('x.yaml', text, changes);
  const odd = [
    'server_name: home.example # ours',
    "admin_contact: 'yes'",
    'a: &anchor {x: 1, y: [a,  b]}',
    'b: *anchor',
    'c:',
    '  <<: *anchor',
    '  z: 0o17',
    'long: "a line that is longer than eighty characters by far, so that some programs would fold it here, and here"',
    'block: |',
    '  two',
    '  lines',
    '',
    '# the end',
    '',
  ].join('\n');
  const changed = edit(odd, { pid_file: 'run.pid' });
  assert.deepEqual(
    changed.split('\n').filter((line) => !odd.split('\n').includes(line)),
    ['pid_file: run.pid'],
  );
  assert.equal(edit(changed, { pid_file: undefined }), odd);
  assert.match(edit('', { 'hearth.log_level': 'warn' }), /^hearth:\n {2}log_level: warn\n$/);
  assert.match(edit('hearth:\n', { 'hearth.log_level': 'warn' }), /^hearth:\n {2}log_level: warn\n$/);
  assert.match(edit('a: 1\n', { admin_contact: 'no' }), /admin_contact: "no"/);
  assert.match(
    edit('hearth: {log_level: info} # x\n', { 'hearth.log_level': 'warn' }),
    /^hearth: \{log_level: warn\} # x\n$/,
  );
  for (const text of [
    'a: [',
    '- a\n',
    'just text',
    'hearth: &h {x: 1}\nb: *h\n'.replace('hearth: &h', 'b0: &h').replace('b: ', 'hearth: '),
  ]) {
    assert.throws(() => edit(text, { 'hearth.log_level': 'warn' }), ConfigError, text);
  }
});

test('what is not changed stays to the byte: remarks in any place, the lines of lists, indentation, ends of lines', () => {
  const edit = (text: string, changes: Parameters<typeof editConfigText>[2]): string =>
    editConfigText('x.yaml', text, changes);
  const cases: readonly (readonly [string, Parameters<typeof editConfigText>[2], string])[] = [
    // A section of remarks alone.
    [
      'hearth: # ours\n  # log_level: debug\n\n# next\npid_file: p\n',
      { 'hearth.log_level': 'warn' },
      'hearth: # ours\n  log_level: warn\n  # log_level: debug\n\n# next\npid_file: p\n',
    ],
    // Lists: who stays keeps their remark.
    [
      'auto_join_rooms:\n# the family\n- "#a:x"   # cousins\n# aunts\n- "#b:x"\n- "#c:x" # boat\n\n\n# end\n',
      { auto_join_rooms: ['#a:x', '#new:x', '#c:x'] },
      'auto_join_rooms:\n# the family\n- "#a:x"   # cousins\n- "#new:x"\n# aunts\n- "#c:x" # boat\n\n\n# end\n',
    ],
    [
      'auto_join_rooms:\n    # the family\n    - "#a:x"\n# end\n',
      { auto_join_rooms: [] },
      'auto_join_rooms: []\n    # the family\n# end\n',
    ],
    // The last option of a section goes with it, and no remark does.
    [
      'presence:\n    # quiet\n    enabled: false\n    # below\n\n# next\npid_file: p\n',
      { 'presence.enabled': undefined },
      '    # quiet\n    # below\n\n# next\npid_file: p\n',
    ],
    ['pid_file: p\n', { pid_file: undefined }, ''],
    ['# only this', { pid_file: 'p' }, '# only this\npid_file: p\n'],
    // As Windows ends lines, and without an end of the last one.
    [
      'a: 1 # one\r\npid_file: p\r\n# two',
      { pid_file: 'q', admin_contact: 'c' },
      'a: 1 # one\r\npid_file: q\r\nadmin_contact: c\r\n# two',
    ],
    ['a: |\n  # no remark\n  two\n# three\n', { pid_file: 'q' }, 'a: |\n  # no remark\n  two\npid_file: q\n# three\n'],
    [
      'a: !include b.yaml\npid_file: >-\n  one\n  two\n# three\n',
      { pid_file: 'q' },
      'a: !include b.yaml\npid_file: q\n# three\n',
    ],
    [
      'presence: { enabled: true, # why\n  idle_timeout: 5m }\n',
      { 'presence.enabled': false },
      'presence: { enabled: false, # why\n  idle_timeout: 5m }\n',
    ],
    // What another section takes over from this one is not changed with it.
    [
      'a: &a\n  enabled: true\npresence:\n  <<: *a\n',
      { 'presence.enabled': false },
      'a: &a\n  enabled: true\npresence:\n  <<: *a\n  enabled: false\n',
    ],
  ];
  for (const [text, changes, expected] of cases) assert.equal(edit(text, changes), expected);
  for (const text of ['presence: &p\n  enabled: true\nother: *p\n', 'b: &p 1\npresence: *p\n']) {
    assert.throws(() => edit(text, { 'presence.enabled': false }), ConfigError, text);
  }
  assert.throws(() => edit('pid_file: &p one\nother: *p\n', { pid_file: 'two' }), ConfigError);
});

test('what somebody else has changed meanwhile is not overwritten unseen', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  appendFileSync(file, 'max_upload_size: 20M\nadmin_contact: mailto:a@example.com\n');
  const was = { max_upload_size: 20 * 2 ** 20 };
  writeFileSync(file, readFileSync(file, 'utf8').replace('20M', '30M').replace('a@example', 'b@example'));
  const values = { max_upload_size: 40 * 2 ** 20 };
  const refused = await house.ask('PUT /settings', { body: { values, was } });
  assert.equal(refused.status, 409);
  assert.equal((refused.body as { field: string }).field, 'max_upload_size');
  assert.match(readFileSync(file, 'utf8'), /max_upload_size: 30M/);
  await house.call('PUT /settings', { body: { values, was: { max_upload_size: 30 * 2 ** 20 } } });
  assert.match(
    readFileSync(file, 'utf8'),
    /max_upload_size: 40M\nadmin_contact: mailto:b@example.com/,
    'the other stays',
  );
});

test('what waits for a restart is known however it came into the file, until the restart', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const isDue = async () => (await house.call('GET /settings')).restartDue;
  assert.equal(await isDue(), false);
  appendFileSync(file, 'max_upload_size: 20M\n');
  assert.equal(await isDue(), true);
  await house.call('POST /server/restart');
  assert.equal(await isDue(), false);
  await house.call('PUT /settings', { body: { values: { 'hearth.log_level': 'warn' } } });
  assert.equal(await isDue(), false, 'that needs none');
  await house.call('PUT /settings', { body: { values: { max_upload_size: 2 ** 20 } } });
  assert.equal(await isDue(), true);
  await house.call('PUT /settings', { body: { values: { max_upload_size: 20 * 2 ** 20 } } });
  assert.equal(await isDue(), false, 'it is what it was');
});

test('options that do not go together are told of, with what a start would say, and can be mended here', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const open = readFileSync(file, 'utf8').replace('enable_registration: false', 'enable_registration: true');
  writeFileSync(file, `${open}\nemail:\n  smtp_host: mail.example.com\n`);
  const broken = await house.call('GET /settings');
  assert.match(broken.problems.join('\n'), /would let anybody in/);
  assert.match(broken.problems.join('\n'), /notif_from/);
  writeFileSync(file, readFileSync(file, 'utf8').replace('enable_registration: true', 'enable_registration: false'));
  await house.call('PUT /settings', { body: { values: { 'email.notif_from': 'h@example.com' } } });
  assert.deepEqual((await house.call('GET /settings')).problems, []);
});

test('a file that must not be written is left alone, and that is said', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const before = readFileSync(file, 'utf8');
  chmodSync(file, 0o400);
  const refused = await house.ask('PUT /settings', { body: { values: { max_upload_size: 2 ** 20 } } });
  assert.equal(refused.status, 403);
  assert.match((refused.body as { error: string }).error, /homeserver\.yaml is marked read-only/);
  assert.equal(readFileSync(file, 'utf8'), before);
  chmodSync(file, 0o600);
});

test('no limit is something else than the usual one', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const find = async () =>
    (await house.call('GET /settings')).settings.find(({ path }) => path === 'redaction_retention_period');
  const former = await find();
  assert.deepEqual([former?.value, former?.isSet], [7 * 86_400_000, false]);
  await house.call('PUT /settings', { body: { values: { redaction_retention_period: 'never' } } });
  assert.match(readFileSync(file, 'utf8'), /^redaction_retention_period: null$/m);
  const now = await find();
  assert.deepEqual([now?.value, now?.isSet], ['never', true]);
  await house.call('PUT /settings', { body: { values: { redaction_retention_period: null } } });
  assert.doesNotMatch(readFileSync(file, 'utf8'), /redaction_retention_period/);
  const refused = await house.ask('PUT /settings', { body: { values: { max_upload_size: 'never' } } });
  assert.equal(refused.status, 400);
});

test('the ports are settings, and one that is taken is not given twice', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const text = readFileSync(file, 'utf8').replace(/^listeners:[\s\S]*?(?=^\S)/m, '');
  const own =
    'listeners:\n  # the front door\n  - port: 18008 # for us\n    bind_addresses: [127.0.0.1]\n    resources: [{names: [client]}]\n  - port: 18448\n    resources: [{names: [federation]}]\n';
  writeFileSync(file, `${text}${own}`);
  const { settings } = await house.call('GET /settings');
  assert.deepEqual(
    settings.filter(({ path }) => path.startsWith('listeners')).map(({ path, title, value }) => [path, title, value]),
    [
      ['listeners.0.port', 'Port for apps', 18008],
      ['listeners.1.port', 'Port for other servers', 18448],
    ],
  );
  for (const port of [18448, 0, 70000, 1.5, null]) {
    const refused = await house.ask('PUT /settings', { body: { values: { 'listeners.0.port': port } } });
    assert.equal(refused.status, 400, String(port));
  }
  await house.call('PUT /settings', { body: { values: { 'listeners.0.port': 18009 } } });
  assert.equal(readFileSync(file, 'utf8'), `${text}${own.replace('18008', '18009')}`);
});

test('a certificate is looked at before it is used', async () => {
  await using house = await TestAppliance.start();
  const file = join(house.dataDir, 'homeserver.yaml');
  const before = readFileSync(file, 'utf8');
  const certificate = join(house.dataDir, 'cert.pem');
  writeFileSync(certificate, 'no certificate');
  for (const [tls_certificate_path, message] of [
    ['nowhere.pem', /cannot be read: there is no such file/],
    [certificate, /no certificate in PEM format/],
  ] as const) {
    const values = { tls_certificate_path, tls_private_key_path: certificate };
    const refused = await house.ask('PUT /settings', { body: { values } });
    assert.equal(refused.status, 400);
    const { field, error } = refused.body as { field: string; error: string };
    assert.equal(field, 'tls_certificate_path');
    assert.match(error, message);
  }
  assert.equal(readFileSync(file, 'utf8'), before);
});

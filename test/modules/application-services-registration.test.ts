import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../server/config/config.ts';
import { ConfigError } from '../../server/config/problems.ts';
import { isRisky, NamePattern } from '../../server/modules/application-services/service/pattern.ts';
import { tempDir } from '../config/files.ts';
import { ScriptedAppService } from '../kit/scripted-app-service.ts';
import { expectError, type Json } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const good: Json = {
  id: 'bridge',
  url: 'http://127.0.0.1:9000/base/',
  as_token: 'as',
  hs_token: 'hs',
  sender_localpart: 'bot',
  namespaces: { users: [{ regex: '@_b_.*', exclusive: true }] },
};

/** What loading a configuration with these registrations says: mistakes, or warnings. */
function read(t: TestContext, ...registrations: unknown[]): { problems: string[]; warnings: readonly string[] } {
  const directory = tempDir(t);
  const files = registrations.map((registration, index) => {
    const file = join(directory, `${index}.yaml`);
    writeFileSync(file, typeof registration === 'string' ? registration : stringify(registration));
    return file;
  });
  const config = join(directory, 'homeserver.yaml');
  writeFileSync(config, stringify({ server_name: 'hearth.test', app_service_config_files: files }));
  try {
    return { problems: [], warnings: loadConfig({ configPath: config }).warnings };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const problems = error.problems.map(({ file, line, option, message }) =>
      `${file.replace(`${directory}/`, '')}:${line} ${option} ${message}`.replaceAll(`${directory}/`, ''),
    );
    return { problems, warnings: [] };
  }
}

test('a registration as bridges write them is read, their own notes passed over', (t) => {
  const notes = { 'io.element.msc4190': true, soru_notes: ['x'], namespaces: { users: [], aliases: null, more: 1 } };
  assert.deepEqual(read(t, { ...good, ...notes }), { problems: [], warnings: [] });
  for (const url of [null, '', 'https://bridge.test']) assert.deepEqual(read(t, { ...good, url }).problems, []);
  const { warnings } = read(t, { ...good, recieve_ephemeral: true });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /recieve_ephemeral .*should it be receive_ephemeral/);
});

test('each mistake in a registration is told with its file and key', (t) => {
  const cases: [Json, RegExp][] = [
    [{ as_token: undefined }, /^0\.yaml:\S+ {2}needs as_token/],
    [{ url: undefined }, /^0\.yaml:\S+ {2}needs url/],
    [{ namespaces: undefined }, /needs namespaces/],
    [{ url: 'ftp://bridge.test' }, /^0\.yaml:2 url expected an http/],
    [{ url: 'http://user:secret@bridge.test' }, /url expected an http/],
    [{ url: 7 }, /url expected an http/],
    [{ as_token: 'with a space' }, /^0\.yaml:3 as_token expected text without spaces, found text$/],
    [{ hs_token: ['x'] }, /hs_token expected text/],
    [{ id: '' }, /id expected text/],
    [{ sender_localpart: '' }, /sender_localpart has to be/],
    [{ rate_limited: 'maybe' }, /rate_limited expected true or false/],
    [{ protocols: 'irc' }, /protocols expected a list/],
    [{ namespaces: [] }, /namespaces expected a mapping/],
    [{ namespaces: { users: [{ regex: '@(', exclusive: true }] } }, /users\[0\]\.regex expected a regular expression/],
    [{ namespaces: { users: [{ regex: '@.*' }] } }, /users\[0\] needs exclusive/],
    [{ namespaces: { rooms: ['!x'] } }, /rooms\[0\] expected a mapping/],
  ];
  for (const [change, said] of cases) {
    const { problems } = read(t, JSON.parse(JSON.stringify({ ...good, ...change })));
    assert.equal(problems.length, 1, `${JSON.stringify(change)}: ${problems.join('; ')}`);
    assert.match(problems[0] ?? '', said);
  }
  assert.match(read(t, '- a\n- list\n').problems.join(), /^0\.yaml:\S+ {2}the registration .* is a mapping/);
  assert.match(read(t, 'a: [').problems.join(), /^0\.yaml:\S+ {2}not valid YAML/);
});

test('two application services with one ID or one token are refused', (t) => {
  const other = { ...good, id: 'other', as_token: 'other', sender_localpart: 'other' };
  assert.deepEqual(read(t, good, other).problems, []);
  assert.deepEqual(read(t, good, { ...other, id: 'bridge' }).problems, [
    '1.yaml:1 id is that of another application service, too (0.yaml)',
  ]);
  assert.deepEqual(read(t, good, { ...other, as_token: 'as' }).problems, [
    '1.yaml:3 as_token is that of another application service, too (0.yaml)',
  ]);
});

test('a file of a registration that is not there is named', (t) => {
  const config = join(tempDir(t), 'homeserver.yaml');
  writeFileSync(config, 'server_name: hearth.test\napp_service_config_files: [nowhere.yaml]\n');
  assert.throws(() => loadConfig({ configPath: config }), /nowhere\.yaml: there is no such file/);
});

test('patterns that could take for ever are known, usual ones are not suspected', () => {
  const risky = ['@(a+)+b', '@(a|aa)*b', '@((x*)y?)*', '@(a?b)+', '(.)\\1+', '.*.*.*.*x', '@([a-z]{1,40})+'];
  const usual = [
    '@_irc_.*:example\\.org',
    '@(foo|bar)_.+',
    '@(?!bot)[a-z0-9_=-]+:.*',
    '#[^:+*]{2,5}\\+x',
    '@telegram_[0-9]+:.*',
  ];
  assert.deepEqual(
    risky.filter((source) => !isRisky(source)),
    [],
  );
  assert.deepEqual(usual.filter(isRisky), []);
});

test('a pattern that takes too long does not match, and does not hold up the server', () => {
  let stopped = 0;
  const pattern = new NamePattern(/^(?:@(a+)+b)/, () => {
    stopped += 1;
  });
  assert.equal(pattern.matches('@aab:hearth.test'), true);
  assert.equal(pattern.matches('@ccc:hearth.test'), false);
  assert.equal(stopped, 0);
  assert.equal(pattern.matches(`@${'a'.repeat(200)}:hearth.test`), false);
  assert.equal(stopped, 1);
});

test('patterns match from the start, as they do for Python, wherever they end', async () => {
  await using bridge = await ScriptedAppService.start({
    namespaces: { users: [{ regex: '(?i)@IRC_(?P<nick>[a-z]+)', exclusive: true }] },
  });
  await using server = await TestServer.start({ config: { app_service_config_files: [bridge.file] } });
  const available = (username: string) => server.anonymous().get('/_matrix/client/v3/register/available', { username });
  expectError(await available('irc_bob'), 400, 'M_EXCLUSIVE');
  expectError(await available('irc_bob7'), 400, 'M_EXCLUSIVE');
  assert.equal((await available('irc_7')).status, 200);
  assert.equal((await available('my_irc_bob')).status, 200);
});

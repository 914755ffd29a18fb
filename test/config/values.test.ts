import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../server/config/config.ts';
import { complaints, load, tempDir } from './files.ts';

test('durations and sizes are read with and without units', (t) => {
  const { config } = load(
    t,
    `session_lifetime: 1y
refresh_token_lifetime: 2w
nonrefreshable_access_token_lifetime: 36h
refreshable_access_token_lifetime: 10m
ui_auth: {session_timeout: "15s"}
key_refresh_interval: 90000
max_upload_size: 60M
max_avatar_size: 512K
hearth: {log_file_size: 1000}
remote_media_download_burst_count: 5GiB
`,
  );
  assert.equal(config.sessions.lifetimeMs, 365 * 86_400_000);
  assert.equal(config.sessions.refreshTokenLifetimeMs, 14 * 86_400_000);
  assert.equal(config.sessions.nonrefreshableAccessTokenLifetimeMs, 36 * 3_600_000);
  assert.equal(config.sessions.refreshableAccessTokenLifetimeMs, 600_000);
  assert.equal(config.sessions.uiAuthTimeoutMs, 15_000);
  assert.equal(config.signing.keyRefreshIntervalMs, 90_000);
  assert.equal(config.media.maxUploadBytes, 60 * 1024 ** 2);
  assert.equal(config.profiles.maxAvatarBytes, 512 * 1024);
  assert.equal(config.log.maxBytes, 1000);
  assert.equal(config.media.remoteDownload.burstBytes, 5 * 1024 ** 3);
});

test('negative and broken durations and sizes are refused', (t) => {
  for (const text of ['-5', '5x', '"5 minutes"', 'true', '1.2.3s', '""']) {
    assert.equal(complaints(t, `session_lifetime: ${text}\n`).length, 1, text);
    assert.equal(complaints(t, `max_upload_size: ${text}\n`).length, 1, text);
  }
});

test('a configuration with nothing but a name has the defaults', (t) => {
  const { config, directory, warnings } = load(t, '');
  assert.deepEqual(warnings, []);
  assert.equal(config.publicBaseUrl, 'https://home.example/');
  assert.equal(config.publicBaseUrlGiven, false);
  assert.equal(config.databasePath, join(directory, 'homeserver.db'));
  assert.equal(config.media.storePath, join(directory, 'media'));
  assert.equal(config.signing.keyPath, join(directory, 'home.example.signing.key'));
  assert.equal(config.registration.enabled, false);
  assert.equal(config.media.maxUploadBytes, 50 * 1024 ** 2);
  assert.equal(config.sync.filterTimelineLimit, 100);
  assert.equal(config.sessions.refreshableAccessTokenLifetimeMs, 300_000);
  assert.equal(config.sessions.lifetimeMs, undefined);
  assert.equal(config.rooms.redactionRetentionMs, 7 * 86_400_000);
  assert.deepEqual(config.rateLimits.message, { perSecond: 0.2, burstCount: 10 });
  assert.equal(config.rateLimits.adminRedaction, undefined);
  assert.equal(config.presence.mode, 'on');
  assert.deepEqual(config.roomDirectory.aliasCreationRules, [
    { userId: '*', alias: '*', roomId: '*', action: 'allow' },
  ]);
  assert.equal(config.listeners.length, 1);
  assert.deepEqual(config.listeners[0]?.bindAddresses, ['127.0.0.1']);
  assert.equal(config.listeners[0]?.port, 8008);
});

test('the whole configuration is frozen', (t) => {
  const { config } = load(t, 'auto_join_rooms: ["#a:home.example"]\n');
  assert.ok(Object.isFrozen(config));
  assert.ok(Object.isFrozen(config.registration.autoJoin.rooms));
  assert.ok(Object.isFrozen(config.rateLimits.message));
});

test('null turns an expiry off where leaving it out does not', (t) => {
  assert.equal(load(t, 'redaction_retention_period: null\n').config.rooms.redactionRetentionMs, undefined);
  assert.equal(load(t, 'redaction_retention_period: 1d\n').config.rooms.redactionRetentionMs, 86_400_000);
  // Everywhere else an option with nothing behind it counts as left out.
  assert.equal(load(t, 'max_upload_size:\n').config.media.maxUploadBytes, 50 * 1024 ** 2);
});

test('a rate limit given in part keeps the default of the other part', (t) => {
  const { config } = load(t, 'rc_login: {account: {burst_count: 9}}\nrc_admin_redaction: {per_second: 1}\n');
  assert.deepEqual(config.rateLimits.loginAccount, { perSecond: 0.03, burstCount: 9 });
  assert.deepEqual(config.rateLimits.loginAddress, { perSecond: 0.003, burstCount: 5 });
  assert.deepEqual(config.rateLimits.adminRedaction, { perSecond: 1, burstCount: 3 });
});

test('words that YAML 1.1 takes for truth values are truth values, as in Synapse', (t) => {
  const { config } = load(t, 'allow_guest_access: yes\nenable_search: off\npresence: {enabled: untracked}\n');
  assert.equal(config.registration.guestsAllowed, true);
  assert.equal(config.rooms.searchEnabled, false);
  assert.equal(config.presence.mode, 'untracked');
});

test('what looks like a number is text where text is meant', (t) => {
  const { config } = load(t, 'default_room_version: 10\nfederation_client_minimum_tls_version: 1.2\n');
  assert.equal(config.rooms.defaultVersion, '10');
  assert.equal(config.federation.minimumTlsVersion, 'TLSv1.2');
  assert.equal(complaints(t, 'default_room_version: 99\n').length, 1);
});

test('a file from Windows, with its line ends and byte order mark, is read', (t) => {
  const file = join(tempDir(t), 'homeserver.yaml');
  writeFileSync(file, '\uFEFFserver_name: home.example\r\nrc_message:\r\n  per_second: 3\r\n  burst_count: x\r\n');
  assert.throws(() => loadConfig({ configPath: file }), /:4:16: rc_message\.burst_count: expected a number/);
});

test('merge keys bring options that are then overruled', (t) => {
  const { config } = load(
    t,
    'rc_joins:\n  local: &limit {per_second: 5, burst_count: 6}\n  remote: {<<: *limit, burst_count: 7}\n',
  );
  assert.deepEqual(config.rateLimits.joinsRemote, { perSecond: 5, burstCount: 7 });
});

test('an option in a later file replaces that of an earlier one as a whole', (t) => {
  const directory = tempDir(t);
  const first = join(directory, 'a.yaml');
  mkdirSync(join(directory, 'more'));
  writeFileSync(first, 'server_name: home.example\nrc_message: {per_second: 1, burst_count: 1}\npid_file: a.pid\n');
  writeFileSync(join(directory, 'more', '2.yaml'), 'allow_guest_access: true\n');
  writeFileSync(join(directory, 'more', '1.yaml'), 'rc_message: {per_second: 2}\nmedia_store_path: files\n');
  writeFileSync(join(directory, 'more', 'notes.txt'), 'not YAML: [\n');
  const { config } = loadConfig({ configPath: [first, join(directory, 'more')] });
  assert.deepEqual(config.rateLimits.message, { perSecond: 2, burstCount: 10 });
  assert.equal(config.registration.guestsAllowed, true);
  // A path starts from the file it is written in.
  assert.equal(config.pidFile, join(directory, 'a.pid'));
  assert.equal(config.media.storePath, join(directory, 'more', 'files'));
  assert.equal(config.databasePath, join(directory, 'homeserver.db'));
  assert.equal(config.files.length, 3);
});

test('a secret may stand in a file of its own, but not in two places', (t) => {
  const directory = tempDir(t);
  writeFileSync(join(directory, 'secret'), '  hunter2\n');
  const path = JSON.stringify(join(directory, 'secret'));
  assert.equal(load(t, `turn_shared_secret_path: ${path}\n`).config.turn.sharedSecret, 'hunter2');
  assert.equal(load(t, `registration_shared_secret_path: ${path}\n`).config.registration.sharedSecret, 'hunter2');
  const [both] = complaints(t, `turn_shared_secret: x\nturn_shared_secret_path: ${path}\n`);
  assert.match(both ?? '', /^3:1 turn_shared_secret_path only one of/);
  writeFileSync(join(directory, 'empty'), '\n');
  const [empty] = complaints(t, `turn_shared_secret_path: ${JSON.stringify(join(directory, 'empty'))}\n`);
  assert.match(empty ?? '', /is empty/);
  const [none] = complaints(t, `turn_shared_secret_path: ${JSON.stringify(join(directory, 'none'))}\n`);
  assert.match(none ?? '', /cannot be read/);
});

test('the file of the registration secret is made by a start, and by nothing else', (t) => {
  const file = join(tempDir(t), 'secrets', 'registration');
  const text = `registration_shared_secret_path: ${JSON.stringify(file)}\n`;
  assert.equal(load(t, text).config.registration.sharedSecret, undefined);
  assert.equal(existsSync(file), false);
  const made = load(t, text, { makeFiles: true }).config.registration.sharedSecret ?? '';
  assert.ok(made.length >= 32);
  assert.equal(readFileSync(file, 'utf8').trim(), made);
  assert.equal(load(t, text, { makeFiles: true }).config.registration.sharedSecret, made);
});

test('rules, presets and prejoin state are spelled out', (t) => {
  const { config } = load(
    t,
    `alias_creation_rules: [{user_id: "@a:*", action: deny}, {}]
room_list_publication_rules: []
room_prejoin_state:
  disable_default_event_types: true
  additional_event_types: [m.room.name, ["org.example.x", "key"]]
default_power_level_content_override: {private_chat: {invite: 50}, public_chat: null}
`,
  );
  assert.deepEqual(config.roomDirectory.aliasCreationRules, [
    { userId: '@a:*', alias: '*', roomId: '*', action: 'deny' },
    { userId: '*', alias: '*', roomId: '*', action: 'allow' },
  ]);
  assert.deepEqual(config.roomDirectory.publicationRules, []);
  assert.deepEqual(config.rooms.prejoinState, [
    { type: 'm.room.name', stateKey: undefined },
    { type: 'org.example.x', stateKey: 'key' },
  ]);
  const { prejoinState } = load(t, 'room_prejoin_state: {additional_event_types: [org.example.x]}\n').config.rooms;
  assert.equal(prejoinState.length, 8);
  assert.ok(prejoinState.some(({ type, stateKey }) => type === 'm.room.name' && stateKey === ''));
  assert.deepEqual(prejoinState.at(-1), { type: 'org.example.x', stateKey: undefined });
  assert.deepEqual(config.rooms.powerLevelOverrides.private_chat, { invite: 50 });
  assert.equal(config.rooms.powerLevelOverrides.public_chat, undefined);
  assert.match(complaints(t, 'default_power_level_content_override: {club: {}}\n')[0] ?? '', /club is no preset/);
});

test('a pattern for mail addresses has to match from the start', (t) => {
  const { config } = load(t, "allowed_local_3pids: [{medium: email, pattern: 'a|b'}]\n");
  const [rule] = config.registration.allowedThreepids ?? [];
  assert.equal(rule?.pattern.test('b@x.example'), true);
  assert.equal(rule?.pattern.test('xb@x.example'), false);
  assert.match(
    complaints(t, "allowed_local_3pids: [{medium: email, pattern: '('}]\n")[0] ?? '',
    /expected a regular expression/,
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { allOptions, optionSections } from '../../server/config/options/all.ts';
import { load, problemsOf } from './files.ts';
import { optionNames, subOptionNames } from './option-names.ts';

test('every option of a Synapse configuration is known', (t) => {
  const text = optionNames.map((name) => `${name}:\n`).join('');
  const unknown = problemsOf(t, text).filter(({ message }) => message.startsWith('unknown option'));
  assert.deepEqual(unknown, []);
});

test('every sub-option is known', (t) => {
  const unknown = subOptionNames.flatMap(([path, names]) => {
    // caches.cache_autotuning → { caches: { cache_autotuning: { … } } }
    const innermost: unknown = Object.fromEntries(names.map((name) => [name, null]));
    const content = path.split('.').reduceRight<unknown>((inner, part) => {
      return part.endsWith('[]') ? { [part.slice(0, -2)]: [inner] } : { [part]: inner };
    }, innermost);
    return problemsOf(t, stringify(content)).filter(({ message }) => message.startsWith('unknown option'));
  });
  assert.deepEqual(unknown, []);
});

test('an option without effect is named in exactly one warning, and no other is warned of', (t) => {
  const text = optionNames
    .filter((name) => name !== 'server_name')
    .map((name) => `${name}:\n`)
    .join('');
  const { warnings } = load(t, text);
  const warned = warnings.map((line) => line.split(/[ :]/, 1)[0] ?? '').sort();
  const withoutEffect = optionNames.filter((name) => allOptions[name]?.note !== undefined).sort();
  assert.deepEqual(warned, withoutEffect);
  assert.ok(warnings.every((line) => /^\w+ \(.*homeserver\.yaml:\d+\): \S/.test(line)));
});

test('a part of an option that has no effect is named in exactly one warning, and the rest of the option in none', (t) => {
  const { warnings } = load(
    t,
    'account_threepid_delegates: {msisdn: "https://id.example.com", email: id.example.com}\npush: {enabled: false, jitter_delay: 5s}\n',
  );
  assert.deepEqual(
    warnings.map((line) => line.split(' ', 1)[0]),
    ['account_threepid_delegates.email'],
  );
});

test('an option whose part of the server is lacking is said to have no effect, and one that is honoured is not', () => {
  const lacking = `allow_public_rooms_over_federation bcrypt_rounds
    caches hs_disabled hs_disabled_message limit_usage_by_mau`;
  const honoured = `account_validity allowed_local_3pids email enable_ephemeral_messages key_refresh_interval old_signing_keys presence rc_federation rc_joins rc_third_party_invite
    max_event_delay_duration registrations_require_3pid max_upload_size media_store_path rc_delayed_event_mgmt rc_media_create redaction_retention_period room_prejoin_state user_directory`;
  const noteOf = (name: string): string | undefined => allOptions[name]?.note;
  assert.deepEqual(
    lacking.split(/\s+/).filter((name) => noteOf(name) === undefined),
    [],
  );
  assert.deepEqual(
    honoured.split(/\s+/).filter((name) => noteOf(name) !== undefined),
    [],
  );
});

test('every option that is not there for old times’ sake stands in one section, described and with a form', () => {
  const seen = new Set<string>();
  for (const options of Object.values(optionSections)) {
    for (const [name, { about, kind }] of Object.entries(options)) {
      assert.ok(!seen.has(name), `${name} stands in two sections`);
      seen.add(name);
      assert.ok(about.length > 5, name);
      assert.ok(kind.form.type.length > 0, name);
      assert.ok(Object.hasOwn(allOptions, name), name);
    }
  }
});

test('an option of an older Synapse comes with the name of its heir', (t) => {
  const { warnings } = load(t, 'use_presence: true\nfederation_ip_range_blacklist: []\n');
  assert.match(warnings.join('\n'), /use_presence \(.*:2\): .*presence: enabled/);
  assert.match(warnings.join('\n'), /federation_ip_range_blacklist \(.*:3\): .*ip_range_blacklist/);
});

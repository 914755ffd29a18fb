import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../server/config/config.ts';
import { tempDir } from './files.ts';

test('a configuration in the shape a conformance suite generates is loaded', (t) => {
  const directory = tempDir(t);
  for (const name of ['tls.crt', 'tls.key', 'ca.crt']) writeFileSync(join(directory, name), 'pem');
  writeFileSync(
    join(directory, 'service.yaml'),
    'id: bridge\nurl: null\nas_token: a\nhs_token: h\nsender_localpart: bridge\nnamespaces: {}\n',
  );
  const most = '{burst_count: 1000000, per_second: 1000000}';
  const file = join(directory, 'homeserver.yaml');
  writeFileSync(
    file,
    `---
allow_guest_access: true
allow_public_rooms_over_federation: true
allow_public_rooms_without_auth: true
app_service_config_files: [${directory}/service.yaml]
bcrypt_rounds: 4
caches:
  sync_response_cache_duration: 0
cas_config:
  enabled: true
  server_url: http://localhost:9001/cas
database:
  args:
    database: ${directory}/homeserver.db
  name: sqlite3
email:
  enable_tls: false
  notif_from: hearth@localhost
  smtp_host: localhost
  smtp_port: 9002
enable_ephemeral_messages: true
enable_registration: true
enable_registration_without_verification: true
federation_custom_ca_list:
- ${directory}/ca.crt
federation_rr_transactions_per_room_per_second: 1000000
form_secret: form secret of 8800
ip_range_blacklist: []
ip_range_whitelist:
- 127.0.0.0/8
- ::1/128
limit_usage_by_mau: true
listeners:
- bind_addresses:
  - localhost
  port: 8801
  resources:
  - names: [client, federation]
  tls: false
  type: http
- bind_addresses:
  - localhost
  port: 8800
  resources:
  - names: [client, federation, keys]
  tls: true
  type: http
macaroon_secret_key: macaroon secret of 8800
max_mau_value: 50000000
media_store_path: ${directory}/media_store
public_baseurl: https://localhost:8800/
rc_federation: {concurrent: 100, reject_limit: 100000, sleep_delay: 1, sleep_limit: 100000, window_size: 1000}
rc_invites: {per_issuer: ${most}, per_room: ${most}, per_user: ${most}}
rc_joins: {local: ${most}, remote: ${most}}
rc_login: {account: ${most}, address: ${most}, failed_attempts: ${most}}
rc_message: ${most}
rc_presence: {per_user: ${most}}
rc_delayed_event_mgmt: ${most}
recaptcha_private_key: private
recaptcha_public_key: public
recaptcha_siteverify_api: http://localhost:9001/recaptcha/api/siteverify
registration_shared_secret: reg_secret
report_stats: false
require_membership_for_aliases: false
room_list_publication_rules:
- action: allow
server_name: localhost:8800
signing_key_path: ${directory}/signing.key
tls_certificate_path: ${directory}/tls.crt
tls_private_key_path: ${directory}/tls.key
trusted_key_servers: []
url_preview_enabled: true
url_preview_ip_range_blacklist: []
url_preview_ip_range_whitelist: [127.0.0.0/8]
use_insecure_ssl_client_just_for_testing_do_not_use: true
`,
  );
  const { config, warnings } = loadConfig({ configPath: file });
  assert.equal(config.serverName, 'localhost:8800');
  assert.deepEqual(
    config.listeners.map(({ port, tls, bindAddresses }) => [port, tls, bindAddresses]),
    [
      [8801, false, ['localhost']],
      [8800, true, ['localhost']],
    ],
  );
  assert.equal(config.log.file, undefined);
  assert.equal(config.sync.responseCacheMs, 0);
  assert.equal(config.roomDirectory.requireMembershipForAliases, false);
  assert.deepEqual(config.rateLimits.joinsLocal, { perSecond: 1e6, burstCount: 1e6 });
  assert.deepEqual(config.trustedKeyServers, []);
  assert.deepEqual(config.registration.captcha, {
    required: false,
    publicKey: 'public',
    privateKey: 'private',
    verifyUrl: 'http://localhost:9001/recaptcha/api/siteverify',
  });
  assert.deepEqual([config.email?.port, config.email?.tls], [9002, 'off']);
  assert.equal(warnings.filter((line) => line.startsWith('report_stats ')).length, 1);
});

test('a configuration as Synapse generates it is loaded', (t) => {
  const directory = tempDir(t);
  writeFileSync(join(directory, 'log.config'), 'version: 1\nroot: {level: INFO, handlers: []}\n');
  const file = join(directory, 'homeserver.yaml');
  writeFileSync(
    file,
    `server_name: "home.example"
pid_file: ${directory}/homeserver.pid
listeners:
  - port: 8008
    tls: false
    type: http
    x_forwarded: true
    bind_addresses: ['::1', '127.0.0.1']
    resources:
      - names: [client, federation]
        compress: false
database:
  name: sqlite3
  args:
    database: ${directory}/homeserver.db
log_config: "${directory}/log.config"
media_store_path: ${directory}/media_store
registration_shared_secret: "secret"
report_stats: true
macaroon_secret_key: "secret"
form_secret: "secret"
signing_key_path: "${directory}/home.example.signing.key"
trusted_key_servers:
  - server_name: "matrix.org"

# vim:ft=yaml
`,
  );
  const { config } = loadConfig({ configPath: file });
  assert.deepEqual(config.listeners[0]?.bindAddresses, ['::1', '127.0.0.1']);
  assert.equal(config.signing.keyPath, join(directory, 'home.example.signing.key'));
});

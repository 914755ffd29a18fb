import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { findPort } from '../clients/server-process.ts';
import type { TestAuthority } from '../kit/certificates.ts';
import type { Setup } from './homeserver.ts';
import { synapsePython } from './places.ts';

const CLI = join(import.meta.dirname, '..', '..', 'server', 'cli.ts');
const UNLIMITED = { per_second: 1_000_000, burst_count: 1_000_000 };

/** A machine's loopback as a server's name may have it. */
export type Host = 'localhost' | '127.0.0.1';

interface Wishes {
  readonly authority: TestAuthority;
  readonly dir: string;
  readonly host: Host;
}

/** Files and ports of a Hearth that is about to be started. */
export async function setUpHearth({ authority, dir, host }: Wishes): Promise<Setup> {
  const { options, clientPort, federationPort } = await common({ authority, dir, host });
  const config = {
    ...options,
    hearth: { log_file: join(dir, 'hearth.log'), log_level: 'debug' },
  };
  const file = join(dir, 'homeserver.yaml');
  writeFileSync(file, stringify(config));
  return {
    kind: 'Hearth',
    serverName: options.server_name,
    baseUrl: `http://127.0.0.1:${clientPort}`,
    federationPort,
    dir,
    command: [process.execPath, CLI, 'serve', '--config', file],
  };
}

/** Files and ports of a Synapse that is about to be started. */
export async function setUpSynapse({ authority, dir, host }: Wishes): Promise<Setup> {
  const { options, clientPort, federationPort } = await common({ authority, dir, host });
  const logConfig = join(dir, 'log.yaml');
  writeFileSync(
    logConfig,
    stringify({
      version: 1,
      formatters: { precise: { format: '%(asctime)s %(name)s %(lineno)d %(levelname)s %(request)s %(message)s' } },
      handlers: { file: { class: 'logging.FileHandler', formatter: 'precise', filename: join(dir, 'synapse.log') } },
      root: { level: 'INFO', handlers: ['file'] },
      disable_existing_loggers: false,
    }),
  );
  const config = {
    ...options,
    log_config: logConfig,
    report_stats: false,
    macaroon_secret_key: randomBytes(16).toString('hex'),
    form_secret: randomBytes(16).toString('hex'),
    // The strength of the passwords of people who do not exist is not worth the time.
    bcrypt_rounds: 4,
    suppress_key_server_warning: true,
    pid_file: join(dir, 'synapse.pid'),
  };
  const file = join(dir, 'homeserver.yaml');
  writeFileSync(file, stringify(config));
  return {
    kind: 'Synapse',
    serverName: options.server_name,
    baseUrl: `http://127.0.0.1:${clientPort}`,
    federationPort,
    dir,
    command: [synapsePython, '-m', 'synapse.app.homeserver', '--config-path', file],
  };
}

/** The options that both understand, certificates and keys written. */
async function common({ authority, dir, host }: Wishes) {
  mkdirSync(dir, { recursive: true });
  const clientPort = await findPort();
  const federationPort = await findPort();
  const files = await authority.issueTo(
    dir,
    host === 'localhost' ? { dnsNames: ['localhost'] } : { ipAddresses: ['127.0.0.1'] },
  );
  const signingKeyPath = join(dir, 'signing.key');
  const seed = randomBytes(32).toString('base64').replace(/=+$/, '');
  writeFileSync(signingKeyPath, `ed25519 a_${randomBytes(2).toString('hex')} ${seed}\n`, { mode: 0o600 });
  const listener = { type: 'http', bind_addresses: ['127.0.0.1'], x_forwarded: false };
  const options = {
    // A name with a port needs no look-up: that is where the server is.
    server_name: `${host}:${federationPort}`,
    listeners: [
      { ...listener, port: clientPort, resources: [{ names: ['client'] }] },
      // Media of other servers and the room list are asked for here too, and nothing else of what is for clients.
      { ...listener, port: federationPort, tls: true, resources: [{ names: ['federation'] }] },
    ],
    tls_certificate_path: files.certPath,
    tls_private_key_path: files.keyPath,
    federation_custom_ca_list: [files.caPath],
    ip_range_blacklist: [],
    trusted_key_servers: [],
    signing_key_path: signingKeyPath,
    database: { name: 'sqlite3', args: { database: join(dir, 'homeserver.db') } },
    media_store_path: join(dir, 'media'),
    enable_registration: true,
    enable_registration_without_verification: true,
    registration_shared_secret: 'shared secret of the tests',
    allow_public_rooms_over_federation: true,
    room_list_publication_rules: [{ action: 'allow' }],
    allow_device_name_lookup_over_federation: true,
    presence: { enabled: true },
    // Nobody should have to wait ten minutes after a server was down for a moment.
    federation: { destination_min_retry_interval: '1s', destination_max_retry_interval: '2s' },
    rc_message: UNLIMITED,
    rc_registration: UNLIMITED,
    rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
    rc_joins: { local: UNLIMITED, remote: UNLIMITED },
    rc_joins_per_room: UNLIMITED,
    rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
    rc_room_creation: UNLIMITED,
    rc_presence: { per_user: UNLIMITED },
    rc_federation: { window_size: 1000, sleep_limit: 100_000, sleep_delay: 1, reject_limit: 100_000, concurrent: 100 },
  };
  return { options, clientPort, federationPort };
}

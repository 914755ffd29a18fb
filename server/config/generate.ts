import { randomString, type Random } from '../util/random.ts';
import { signingKeyFileName } from './build.ts';
import { DEFAULT_CLIENT_PORT } from './listeners.ts';

/** What a new configuration is to say. */
export interface ConfigWishes {
  readonly serverName: string;
  readonly clientPort?: number | undefined;
  readonly federationPort?: number | undefined;
  /** In place of the listeners for these ports. */
  readonly listeners?: readonly ListenerWish[] | undefined;
  /** Ends in a slash. */
  readonly publicBaseUrl?: string | undefined;
  readonly tls?: { readonly certificatePath: string; readonly privateKeyPath: string } | undefined;
  /** Has other servers come by the port of the public address in place of 8448. */
  readonly serveServerWellKnown?: boolean | undefined;
  /** Deals with no other servers. */
  readonly isAlone?: boolean | undefined;
}

export interface ListenerWish {
  /** What it is for, in a sentence. */
  readonly about: string;
  readonly port: number;
  readonly tls: boolean;
  readonly isBehindProxy: boolean;
  readonly bindAddresses: readonly string[];
  readonly resources: readonly ('client' | 'federation')[];
}

const SECRET_LENGTH = 50;

/** What is remarked on the listener of a server that nobody set up yet. */
export const LOCAL_CLIENTS =
  'For clients, on this machine only. To let others in, put a reverse proxy in front of it, or name further addresses.';

/** The listeners of a new configuration: on this machine only. */
function localListeners({ clientPort, federationPort }: ConfigWishes): readonly ListenerWish[] {
  const local = { tls: false, bindAddresses: ['127.0.0.1'] };
  const clients: ListenerWish = {
    ...local,
    about: LOCAL_CLIENTS,
    port: clientPort ?? DEFAULT_CLIENT_PORT,
    isBehindProxy: false,
    resources: ['client', 'federation'],
  };
  if (federationPort === undefined) return [clients];
  const about = 'For other servers: a reverse proxy on this machine passes their requests on to this port.';
  return [clients, { ...local, about, port: federationPort, isBehindProxy: true, resources: ['federation'] }];
}

/** A listener as it stands in a configuration, with its remark. */
export function listenerText({ about, port, tls, isBehindProxy, bindAddresses, resources }: ListenerWish): string {
  const addresses = bindAddresses.map((address) => `'${address}'`).join(', ');
  return `  # ${about}
  - port: ${port}
    type: http
    tls: ${tls}
${isBehindProxy ? '    x_forwarded: true\n' : ''}    bind_addresses: [${addresses}]
    resources:
      - names: [${resources.join(', ')}]
`;
}

/** The text of a new `homeserver.yaml`, with comments. It holds a secret. Its paths start from its own directory. */
export function generateConfig(wishes: ConfigWishes, random: Random): string {
  const { serverName, publicBaseUrl, tls, serveServerWellKnown = false, isAlone = false } = wishes;
  const listeners = (wishes.listeners ?? localListeners(wishes)).map(listenerText).join('\n');
  return `# Configuration of this Matrix homeserver.
#
# The options have the names and meanings they have in Synapse, so that its manual applies here too. After a change run
#     node server/cli.ts check-config --config <this file>
# and restart the server. Paths that are not absolute start from the directory this file is in.

# The name at the end of every user ID and room alias: @you:${serverName}
# Other servers find yours by it. It cannot be changed later: people and rooms would lose their names.
server_name: ${quote(serverName)}

# The address clients reach the server at, if it can be reached from outside.
${publicBaseUrl === undefined ? NO_PUBLIC_URL : `public_baseurl: ${quote(publicBaseUrl)}`}
${serveServerWellKnown ? '\n# Has other servers come by port 443 in place of 8448.\nserve_server_wellknown: true\n' : ''}
listeners:
${listeners}${tls === undefined ? '' : tlsText(tls)}${isAlone ? ALONE : ''}
# Where everything is kept. All of it belongs into a backup, the signing key above all.
database:
  name: sqlite3
  args:
    database: homeserver.db
media_store_path: media
signing_key_path: ${quote(signingKeyFileName(serverName))}

# How far ahead a client may have something sent. Calls take those off who vanished by this; without it they stay on the list.
max_event_delay_duration: 24h

# Holds the number of the process while the server runs.
pid_file: homeserver.pid

# The largest file that can be sent.
#max_upload_size: 50M

# Whoever knows this secret can create accounts, administrators too. The command register-user uses it.
registration_shared_secret: ${quote(randomString(random, SECRET_LENGTH))}

# Whether people may create accounts for themselves, and what they need for it. Tokens are given out by an administrator.
enable_registration: false
#registration_requires_token: true

# What is particular to Hearth.
#hearth:
#  # debug, info, warn or error
#  log_level: info
`;
}

/** The example that stands where no address is given. */
export const NO_PUBLIC_URL = '#public_baseurl: https://matrix.example.com/';

/** What keeps other servers away, and says so. */
export const ALONE = `
# The only other servers to deal with: none at all. Without this line, it is every server there is.
federation_domain_whitelist: []
`;

function tlsText({ certificatePath, privateKeyPath }: NonNullable<ConfigWishes['tls']>): string {
  return `
# What listeners with "tls: true" show: the certificate with those between it and its authority, and its key. PEM files.
tls_certificate_path: ${quote(certificatePath)}
tls_private_key_path: ${quote(privateKeyPath)}
`;
}

// JSON's strings are YAML's double-quoted ones.
function quote(text: string): string {
  return JSON.stringify(text);
}

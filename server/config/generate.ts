import { randomString, type Random } from '../util/random.ts';
import { signingKeyFileName } from './build.ts';
import { DEFAULT_CLIENT_PORT } from './listeners.ts';

/** What a new configuration is to say. */
export interface ConfigWishes {
  readonly serverName: string;
  readonly clientPort?: number | undefined;
  readonly federationPort?: number | undefined;
}

const SECRET_LENGTH = 50;

/** The text of a new `homeserver.yaml`, with comments. It holds a secret. Its paths start from its own directory. */
export function generateConfig({ serverName, clientPort, federationPort }: ConfigWishes, random: Random): string {
  const federationListener =
    federationPort === undefined
      ? ''
      : `
  # For other servers: a reverse proxy on this machine passes their requests on to this port.
  - port: ${federationPort}
    type: http
    tls: false
    x_forwarded: true
    bind_addresses: ['127.0.0.1']
    resources:
      - names: [federation]
`;
  return `# Configuration of this Matrix homeserver.
#
# The options have the names and meanings they have in Synapse, so that its manual applies here too. After a change run
#     node server/cli.ts check-config --config <this file>
# and restart the server. Paths that are not absolute start from the directory this file is in.

# The name at the end of every user ID and room alias: @you:${serverName}
# Other servers find yours by it. It cannot be changed later: people and rooms would lose their names.
server_name: ${quote(serverName)}

# The address clients reach the server at, if it can be reached from outside.
#public_baseurl: https://matrix.example.com/

listeners:
  # For clients, on this machine only. To let others in, put a reverse proxy in front of it, or name further addresses.
  - port: ${clientPort ?? DEFAULT_CLIENT_PORT}
    type: http
    tls: false
    bind_addresses: ['127.0.0.1']
    resources:
      - names: [client, federation]
${federationListener}
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

// JSON's strings are YAML's double-quoted ones.
function quote(text: string): string {
  return JSON.stringify(text);
}

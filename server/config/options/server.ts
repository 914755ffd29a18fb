import { isScalar } from 'yaml';
import { isServerName } from '../../matrix/identifiers.ts';
import {
  type Kind,
  anything,
  choice,
  flag,
  identifier,
  integer,
  list,
  mapOf,
  orNull,
  path,
  secretLike,
  size,
  text,
  textLike,
  url,
} from '../kinds.ts';
import { group, LATER, option, section } from '../option.ts';

const listenerResource = section({
  names: option(
    list(
      choice(
        'client',
        'federation',
        'keys',
        'media',
        'openid',
        'static',
        'consent',
        'metrics',
        'health',
        'replication',
        'webclient',
      ),
    ),
    [],
    'Which APIs are served here. "client" brings media and static with it, "federation" media, keys and openid.',
  ),
  compress: option(flag, false, 'Whether the bodies of these APIs are compressed.'),
});

/** What each entry of `listeners` may say. */
export const listener = section({
  port: option(integer({ min: 0, max: 65535 }), undefined, 'The TCP port; 0 takes any that is free.'),
  path: option(path, undefined, 'A Unix socket file to listen on in place of a port.'),
  mode: option(integer({ min: 0, max: 0o777 }), 0o666, 'File mode of the socket file.'),
  bind_addresses: option(list(text), undefined, 'Local addresses to listen on; all of them if left out.'),
  bind_address: option(text, undefined, 'A single local address, the older form of bind_addresses.'),
  type: option(choice('http', 'metrics', 'manhole', 'replication'), 'http', 'What is served; nearly always http.'),
  tls: option(flag, false, 'Serve HTTPS, with tls_certificate_path and tls_private_key_path.'),
  x_forwarded: option(flag, false, 'Believe the X-Forwarded-For header. Only for use behind a reverse proxy.'),
  request_id_header: option(text, undefined, 'Header of a reverse proxy whose value names the request in the logs.'),
  tag: option(text, undefined, 'Name of this listener in the logs.'),
  resources: option(list(listenerResource), [], 'The APIs served here.'),
  additional_resources: option(anything, undefined, 'Python classes that serve further paths.', {
    note: 'has no effect: Python code cannot be loaded',
  }),
});

/** A path, or a word that isn't one. */
function pathOr(word: string): Kind<string> {
  return {
    ...path,
    read: (place) => (isScalar(place.node) && place.node.value === word ? word : path.read(place)),
  };
}

// It may hold a password, so no message repeats it.
const proxy = secretLike('a proxy such as http://user:password@proxy.example.com:8080, or nothing for none', (value) =>
  /^(?:(?:https?|socks5?h?):\/\/)?(?:[^\s/@]+@)?[^\s/@]+\/?$|^$/i.test(value),
);

// SQLite's name for a database without a file is no path.
const databaseFile = pathOr(':memory:');

const databaseArguments = section({
  database: option(databaseFile, undefined, 'The database file.'),
  check_same_thread: option(flag, false, 'An argument for Python’s SQLite driver.', { note: 'has no meaning here' }),
  cp_min: option(integer(), undefined, 'Connections of Synapse’s pool.', { note: 'has no meaning: there is no pool' }),
  cp_max: option(integer(), undefined, 'Connections of Synapse’s pool.', { note: 'has no meaning: there is no pool' }),
});

const databaseSection = section({
  name: option(choice('sqlite3'), 'sqlite3', 'The kind of database. There is only SQLite.'),
  txn_limit: option(integer(), 0, 'Transactions after which Synapse reconnects.', {
    note: 'has no effect: one connection serves for as long as the server runs',
  }),
  allow_unsafe_locale: option(flag, false, 'A matter of PostgreSQL.', { note: 'has no effect on SQLite' }),
  args: option(databaseArguments, undefined, 'Where the database is.'),
});

/** The database section; one for PostgreSQL is refused as a whole, not option by option. */
const database: typeof databaseSection = {
  ...databaseSection,
  read(place) {
    const name = place.fields().get('name');
    if (isScalar(name?.node) && name.node.value === 'psycopg2') {
      return name.refuse(
        'PostgreSQL is not supported, everything is kept in an SQLite file. Write name: sqlite3 and args: database: FILE, or leave the option database out',
      );
    }
    return databaseSection.read(place);
  },
};

/** Identity, listeners, files. */
export const serverOptions = {
  server_name: option(
    identifier('a server name such as example.com, without https:// or slashes', isServerName),
    undefined,
    'The name after the colon of every user ID and room alias here. It can never be changed.',
  ),
  public_baseurl: option(url, undefined, 'The address clients reach this server at, as seen from outside.'),
  serve_server_wellknown: option(
    flag,
    false,
    'Answer /.well-known/matrix/server and send other servers to port 443 in place of 8448.',
  ),
  extra_well_known_client_content: option(
    mapOf(anything),
    {},
    'Further keys of the file /.well-known/matrix/client, next to the address of this server.',
  ),
  web_client_location: option(url, undefined, 'Where a browser that opens this server’s address is sent.', {
    note: LATER,
  }),
  pid_file: option(path, undefined, 'A file that holds the process ID while the server runs.'),
  listeners: option(list(listener), undefined, 'The ports to listen on, and what each of them serves.'),
  tls_certificate_path: option(
    path,
    undefined,
    'The certificate for listeners with tls: true, in PEM format, followed by those between it and its authority.',
    { reloads: true },
  ),
  tls_private_key_path: option(path, undefined, 'The private key of that certificate, in PEM format.', {
    reloads: true,
  }),
  database: option(database, undefined, 'Where everything but media is stored.'),
  log_config: option(
    path,
    undefined,
    'A log configuration in Python’s format. Levels and the log file are taken over.',
    {
      reloads: true,
    },
  ),
  http_proxy: option(proxy, undefined, 'A proxy for outgoing HTTP requests. Else the environment variable counts.', {
    secret: true,
  }),
  https_proxy: option(proxy, undefined, 'A proxy for outgoing HTTPS requests, those to other servers among them.', {
    secret: true,
  }),
  no_proxy_hosts: option(list(text), undefined, 'Names, addresses and ranges that are reached without a proxy.'),
  admin_contact: option(
    textLike('text', (value) => value.trim() !== ''),
    undefined,
    'How users reach whoever runs the server, as a URI such as mailto:me@example.com.',
  ),
  hs_disabled: option(flag, false, 'Shut all users out, with a reason.', { note: LATER }),
  hs_disabled_message: option(text, 'This server is closed at the moment', 'The reason users are shut out with.', {
    note: LATER,
  }),
  hearth: group(
    {
      log_level: option(choice('debug', 'info', 'warn', 'error'), undefined, 'The least important lines to log.', {
        reloads: true,
      }),
      log_file: option(pathOr('stdout'), undefined, 'The log file, or "stdout" for standard output.'),
      log_file_size: option(size, 10 * 1024 ** 2, 'How large a log file grows before a new one is begun.'),
      log_files_kept: option(integer({ min: 0, max: 1000 }), 5, 'How many full log files are kept.'),
      remote_media_cache_size: option(
        orNull(size),
        10 * 1024 ** 3,
        'How much is kept of media of other servers; all, if null. What was not looked at for longest goes first.',
      ),
      thread_subscriptions: option(
        flag,
        false,
        'Users follow threads one by one (MSC4306): they hear of a thread only if they do, or are mentioned. For clients that know it.',
      ),
      max_delayed_events_per_user: option(
        integer({ min: 0 }),
        100,
        'How many events a user may have scheduled at once, where max_event_delay_duration lets them.',
      ),
    },
    'What Synapse has no option for.',
  ),
};

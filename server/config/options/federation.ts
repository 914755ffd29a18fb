import { isServerName } from '../../matrix/identifiers.ts';
import { duration, flag, identifier, integer, ipRange, list, mapOf, path, scalar, secretLike, text } from '../kinds.ts';
import { group, LATER, option, required, section } from '../option.ts';

const serverName = identifier('a server name such as example.com', isServerName);

// YAML reads 1.2 as a number, of which it should be known how it was written.
const tlsVersions = ['1', '1.0', '1.1', '1.2', '1.3'];
const tlsVersion = scalar('1, 1.1, 1.2 or 1.3', { type: 'choice', values: tlsVersions }, (_, source) =>
  tlsVersions.includes(source) ? source : undefined,
);

const DAY = 86_400_000;

/** Keys, and dealings with other servers. */
export const federationOptions = {
  signing_key_path: option(path, undefined, 'The file with the key this server signs with. Made if it is not there.'),
  signing_key: option(
    secretLike('"ed25519", the key’s version and its seed in base64, with spaces between', (value) =>
      /^ed25519 [0-9A-Za-z_]+ [0-9A-Za-z+/]+={0,2}$/.test(value.trim()),
    ),
    undefined,
    'The key itself, in place of a file.',
    { secret: true },
  ),
  old_signing_keys: option(
    mapOf(
      section({
        key: required(text, 'The public key in base64.'),
        expired_ts: required(integer(), 'When it was last used, in ms since 1970.'),
      }),
    ),
    {},
    'Keys this server once signed with, so that what it signed can still be checked.',
  ),
  key_refresh_interval: option(duration, DAY, 'How long other servers may rely on the keys they fetched from here.'),
  trusted_key_servers: option(
    list(
      section({
        server_name: required(serverName, 'The server.'),
        verify_keys: option(mapOf(text), {}, 'Its public keys, in base64, by their ID.'),
        accept_keys_insecurely: option(flag, false, 'Believe it without any check of who it is.'),
      }),
    ),
    undefined,
    'Servers that know the keys of others.',
  ),
  suppress_key_server_warning: option(flag, false, 'Do not warn of relying on matrix.org.', {
    note: 'has no effect: there is no such warning',
  }),
  key_server_signing_keys_path: option(path, undefined, 'Keys to sign with as a key server for others.'),
  federation_domain_whitelist: option(
    list(serverName),
    undefined,
    'The only servers to have dealings with; all, if left out.',
  ),
  federation_whitelist_endpoint_enabled: option(flag, false, 'Tell users which servers these are.'),
  federation_verify_certificates: option(flag, true, 'Check the certificates of other servers.'),
  federation_client_minimum_tls_version: option(tlsVersion, '1', 'The oldest TLS version to speak to other servers.'),
  federation_certificate_verification_whitelist: option(
    list(text),
    [],
    'Servers, as globs, whose certificates are not checked.',
  ),
  federation_custom_ca_list: option(
    list(path),
    undefined,
    'Files with the authorities whose certificates count for other servers, in place of those the system knows.',
  ),
  federation_metrics_domains: option(list(text), [], 'Servers to measure the delay to.', { note: LATER }),
  allow_device_name_lookup_over_federation: option(flag, false, 'Show the names of devices to other servers.'),
  federation: group(
    {
      client_timeout: option(duration, 60_000, 'How long another server has time to answer.'),
      max_short_retry_delay: option(duration, 2000, 'The longest wait between tries while a user waits.'),
      max_long_retry_delay: option(duration, 60_000, 'The longest wait between tries while nobody waits.'),
      max_short_retries: option(integer(), 3, 'Tries while a user waits.'),
      max_long_retries: option(integer(), 10, 'Tries while nobody waits.'),
      destination_min_retry_interval: option(
        duration,
        600_000,
        'How long a server is left alone after it failed once.',
      ),
      destination_retry_multiplier: option(integer({ min: 1 }), 2, 'How many times longer after each further failure.'),
      destination_max_retry_interval: option(duration, 7 * DAY, 'How long a server is left alone at most.'),
    },
    'How patiently other servers are dealt with.',
  ),
  ip_range_blacklist: option(
    list(ipRange),
    [
      '127.0.0.0/8',
      '10.0.0.0/8',
      '172.16.0.0/12',
      '192.168.0.0/16',
      '100.64.0.0/10',
      '192.0.0.0/24',
      '169.254.0.0/16',
      '192.88.99.0/24',
      '198.18.0.0/15',
      '192.0.2.0/24',
      '198.51.100.0/24',
      '203.0.113.0/24',
      '224.0.0.0/4',
      '::1/128',
      'fe80::/10',
      'fc00::/7',
      '2001:db8::/32',
      'ff00::/8',
      'fec0::/10',
    ],
    'Addresses that requests to other servers, push gateways and identity servers must not go to.',
  ),
  ip_range_whitelist: option(list(ipRange), [], 'Exceptions from these addresses.'),
};

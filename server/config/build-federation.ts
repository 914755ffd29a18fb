import { decodeBase64 } from '../matrix/base64.ts';
import { isServerName } from '../matrix/identifiers.ts';
import type { OptionValues } from './options/all.ts';
import type { Source } from './source.ts';
import type { Config, TrustedKeyServer } from './types.ts';

const KEY_ID = /^ed25519:[0-9A-Za-z_]+$/;
const PUBLIC_KEY_BYTES = 32;
const DEFAULT_KEY_SERVER = 'matrix.org';

function checkPublicKey(
  source: Source,
  option: 'old_signing_keys' | 'trusted_key_servers',
  id: string,
  key: string,
): void {
  if (!KEY_ID.test(id)) source.refuse([option], `${id} is no key ID such as ed25519:a_1b2c`);
  else if (decodeBase64(key)?.length !== PUBLIC_KEY_BYTES) {
    source.refuse([option], `the key ${id} is not 32 bytes in base64`);
  }
}

/** Refuses old signing keys that are none. */
export function checkOldKeys(source: Source): void {
  for (const [id, { key }] of Object.entries(source.values.old_signing_keys)) {
    checkPublicKey(source, 'old_signing_keys', id, key);
  }
}

/** Whom to ask for the keys of others. Refuses a server that could not be told from an impostor. */
export function buildTrustedKeyServers(source: Source): readonly TrustedKeyServer[] {
  const written = source.values.trusted_key_servers;
  if (written === undefined) {
    return isServerName(DEFAULT_KEY_SERVER)
      ? [{ serverName: DEFAULT_KEY_SERVER, verifyKeys: {}, acceptKeysInsecurely: false }]
      : [];
  }
  return written.map(({ server_name, verify_keys, accept_keys_insecurely }) => {
    for (const [id, key] of Object.entries(verify_keys)) checkPublicKey(source, 'trusted_key_servers', id, key);
    const unverifiable = Object.keys(verify_keys).length === 0 && !source.values.federation_verify_certificates;
    if (unverifiable && !accept_keys_insecurely) {
      source.refuse(
        ['trusted_key_servers', 'federation_verify_certificates'],
        `while certificates are not checked, ${server_name} needs verify_keys, or accept_keys_insecurely: true`,
      );
    }
    return { serverName: server_name, verifyKeys: verify_keys, acceptKeysInsecurely: accept_keys_insecurely };
  });
}

const tlsVersions: Readonly<Record<string, Config['federation']['minimumTlsVersion']>> = {
  '1.1': 'TLSv1.1',
  '1.2': 'TLSv1.2',
  '1.3': 'TLSv1.3',
};

/** How other servers are dealt with. */
export function buildFederation(v: OptionValues): Config['federation'] {
  return {
    allowedServers: v.federation_domain_whitelist,
    allowedServersEndpoint: v.federation_whitelist_endpoint_enabled,
    verifyCertificates: v.federation_verify_certificates,
    minimumTlsVersion: tlsVersions[v.federation_client_minimum_tls_version] ?? 'TLSv1',
    unverifiedServers: v.federation_certificate_verification_whitelist,
    customCaPaths: v.federation_custom_ca_list,
    deviceNameLookup: v.allow_device_name_lookup_over_federation,
    clientTimeoutMs: v.federation.client_timeout,
    maxShortRetryDelayMs: v.federation.max_short_retry_delay,
    maxLongRetryDelayMs: v.federation.max_long_retry_delay,
    maxShortRetries: v.federation.max_short_retries,
    maxLongRetries: v.federation.max_long_retries,
    destinationMinRetryMs: v.federation.destination_min_retry_interval,
    destinationRetryMultiplier: v.federation.destination_retry_multiplier,
    destinationMaxRetryMs: v.federation.destination_max_retry_interval,
    receiptTransactionsPerRoomPerSecond: v.federation_rr_transactions_per_room_per_second,
    inbound: {
      windowMs: v.rc_federation.window_size,
      sleepLimit: v.rc_federation.sleep_limit,
      sleepDelayMs: v.rc_federation.sleep_delay,
      rejectLimit: v.rc_federation.reject_limit,
      concurrent: v.rc_federation.concurrent,
    },
  };
}

type OutboundValues = Pick<
  OptionValues,
  'ip_range_blacklist' | 'ip_range_whitelist' | 'http_proxy' | 'https_proxy' | 'no_proxy_hosts' | 'user_agent_suffix'
>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Where requests of this server's own may go, and by which way. */
export function buildOutbound(v: OutboundValues, environment: Environment = process.env): Config['outbound'] {
  const noProxy = fromEnvironment(environment, 'no_proxy')?.split(',');
  return {
    // "This host" and the unspecified address are never a destination, whatever the list says.
    deny: [...new Set(['0.0.0.0/32', '::/128', ...v.ip_range_blacklist])],
    allow: v.ip_range_whitelist,
    httpProxy: v.http_proxy ?? fromEnvironment(environment, 'http_proxy'),
    httpsProxy: v.https_proxy ?? fromEnvironment(environment, 'https_proxy'),
    noProxyHosts: v.no_proxy_hosts ?? noProxy?.map((host) => host.trim()).filter((host) => host !== ''),
    userAgentSuffix: v.user_agent_suffix,
  };
}

/** Variables that name proxies are written in small or in capital letters. */
function fromEnvironment(environment: Environment, name: string): string | undefined {
  return environment[name] || environment[name.toUpperCase()] || undefined;
}

import type { Setting } from '../contract.ts';
import type { Row } from './catalogue-row.ts';
import { machineSettings } from './catalogue-machine.ts';
import { peopleSettings } from './catalogue-people.ts';

/** How an option is shown. Its default, and whether it is a secret, its own definition knows. */
export interface CatalogueEntry extends Pick<Setting, 'path' | 'group' | 'title' | 'help' | 'kind'> {
  readonly choices?: { readonly value: string; readonly title: string }[];
  /** What no limit is called, where that can be chosen. */
  readonly never?: string;
  readonly isRare?: boolean;
  readonly isRequired?: boolean;
}

/** What null means for those to which it is a value. */
const NEVER: Readonly<Record<string, string>> = {
  user_ips_max_age: 'for ever',
  redaction_retention_period: 'for ever',
  'hearth.remote_media_cache_size': 'as much as there is',
};

/** What hardly anybody needs, and nobody should have to look past. */
const RARE: ReadonlySet<string> = new Set([
  'user_directory.enabled',
  'max_avatar_size',
  'include_profile_data_on_invite',
  'exclude_rooms_from_presence',
  'refreshable_access_token_lifetime',
  'ui_auth.session_timeout',
  'rc_login.failed_attempts.burst_count',
  'rc_login.address.burst_count',
  'rc_login.address.per_second',
  'registrations_require_3pid',
  'enable_registration_captcha',
  'recaptcha_public_key',
  'recaptcha_private_key',
  'allow_underscore_prefixed_registration',
  'account_threepid_delegates.msisdn',
  'default_room_version',
  'enable_ephemeral_messages',
  'autocreate_auto_join_rooms',
  'autocreate_auto_join_room_preset',
  'auto_join_mxid_localpart',
  'limit_remote_rooms.complexity',
  'limit_remote_rooms.admins_can_join',
  'hearth.thread_subscriptions',
  'enable_room_list_search',
  'rc_message.per_second',
  'rc_message.burst_count',
  'rc_invites.per_user.burst_count',
  'url_preview_accept_language',
  'max_spider_size',
  'url_preview_ip_range_blacklist',
  'max_pending_media_uploads',
  'dynamic_thumbnails',
  'federation_verify_certificates',
  'federation_certificate_verification_whitelist',
  'federation_custom_ca_list',
  'ip_range_blacklist',
  'ip_range_whitelist',
  'https_proxy',
  'http_proxy',
  'no_proxy_hosts',
  'email.enable_tls',
  'email.tlsname',
  'email.client_base_url',
  'email.notif_for_new_users',
  'email.notif_delay_before_mail',
  'enable_3pid_changes',
  'track_appservice_user_ips',
]);

export const GENERAL = 'General';

const general: readonly Row[] = [
  [
    'public_baseurl',
    'text',
    'Public address',
    'The address apps use from outside, beginning with https://. Leave it empty if the server is only used at home.',
  ],
  ['admin_contact', 'text', 'Contact', 'How people reach you when something is wrong, such as mailto:me@example.com.'],
  [
    'serve_server_wellknown',
    'switch',
    'Other servers come by the web port',
    'Tells other servers to use port 443 in place of 8448. For a reverse proxy or tunnel that passes 443 on.',
  ],
  [
    'tls_certificate_path',
    'text',
    'Certificate file',
    'The certificate with its chain, in PEM format, where this server speaks TLS itself.',
  ],
  [
    'tls_private_key_path',
    'text',
    'Key of the certificate',
    'The file with the private key of the certificate, in PEM format.',
  ],
];

function group([name, rows]: readonly [name: string, rows: readonly Row[]]): CatalogueEntry[] {
  return rows.map(([path, kind, title, help, choices]) => ({
    path,
    group: name,
    title,
    help,
    kind,
    ...(choices === undefined ? {} : { choices }),
    ...(RARE.has(path) ? { isRare: true } : {}),
    ...(NEVER[path] === undefined ? {} : { never: NEVER[path] }),
  }));
}

/** The options that matter to a household, in the order they are shown. All others can be written into the file. */
export const catalogue: readonly CatalogueEntry[] = [
  [GENERAL, general] as const,
  ...peopleSettings,
  ...machineSettings,
].flatMap((each) => group(each));

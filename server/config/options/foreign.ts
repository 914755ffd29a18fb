import type { JsonValue } from '../../matrix/json.ts';
import { anything } from '../kinds.ts';
import { type Option, option } from '../option.ts';

function without(note: string, names: Readonly<Record<string, string>>): Record<string, Option<JsonValue | undefined>> {
  return Object.fromEntries(
    Object.entries(names).map(([name, about]) => [
      name,
      option<JsonValue, undefined>(anything, undefined, about, { note }),
    ]),
  );
}

/** Synapse divides its work among several processes; this server is one. Values are not looked at. */
const workerOptions = without('has no effect: the server is a single process, without workers', {
  worker_app: 'The kind of worker.',
  worker_name: 'The name of a worker.',
  worker_listeners: 'The listeners of a worker.',
  worker_manhole: 'The Python shell of a worker.',
  worker_daemonize: 'Whether a worker goes into the background.',
  worker_pid_file: 'The pid file of a worker.',
  worker_log_config: 'The log configuration of a worker.',
  worker_log_file: 'The log file of a worker.',
  worker_cpu_affinity: 'The processors a worker runs on.',
  worker_replication_host: 'Where a worker finds the main process.',
  worker_replication_port: 'Where a worker finds the main process.',
  worker_replication_http_port: 'Where a worker finds the main process.',
  worker_replication_http_tls: 'How a worker speaks to the main process.',
  worker_main_http_uri: 'Where a worker finds the main process.',
  worker_replication_secret: 'The secret workers share.',
  worker_replication_secret_path: 'A file with that secret.',
  start_pushers: 'Whether the main process sends notifications.',
  pusher_instances: 'The workers that send notifications.',
  send_federation: 'Whether the main process sends to other servers.',
  federation_sender_instances: 'The workers that send to other servers.',
  outbound_federation_restricted_to: 'The workers that speak to other servers.',
  instance_map: 'The addresses of workers.',
  stream_writers: 'The workers that write.',
  run_background_tasks_on: 'The worker for background tasks.',
  update_user_directory_from_worker: 'The worker for the user directory.',
  update_user_directory: 'Whether the main process keeps the user directory.',
  notify_appservices_from_worker: 'The worker for application services.',
  notify_appservices: 'Whether the main process feeds application services.',
  media_instance_running_background_jobs: 'The worker for media.',
  redis: 'What workers speak to each other by.',
  cpu_affinity: 'The processors the server runs on.',
});

/** Options of older Synapses, with what came after them. */
const retired: Readonly<Record<string, string>> = {
  use_presence: 'presence: enabled',
  refresh_access_token_lifetime: 'refreshable_access_token_lifetime',
  custom_template_directory: 'custom_template_directory below templates',
  federation_ip_range_blacklist: 'ip_range_blacklist',
  perspectives: 'trusted_key_servers',
  room_invite_state_types: 'room_prejoin_state',
  oidc_config: 'oidc_providers',
  log_file: 'hearth: log_file',
  no_tls: 'tls: false on a listener',
  bind_port: 'listeners',
  bind_host: 'listeners',
  unsecure_port: 'listeners',
  gzip_responses: 'compress: true on a listener’s resource',
  database_path: 'database',
  rc_messages_per_second: 'rc_message: per_second',
  rc_message_burst_count: 'rc_message: burst_count',
  federation_rc_window_size: 'rc_federation: window_size',
  federation_rc_sleep_limit: 'rc_federation: sleep_limit',
  federation_rc_sleep_delay: 'rc_federation: sleep_delay',
  federation_rc_reject_limit: 'rc_federation: reject_limit',
  federation_rc_concurrent: 'rc_federation: concurrent',
  disable_registration: 'enable_registration',
  restrict_public_rooms_to_local_users: 'allow_public_rooms_without_auth and allow_public_rooms_over_federation',
  expire_access_token: 'session_lifetime',
  saml2_enabled: 'saml2_config',
  ldap_config: 'modules (which have no effect either)',
  password_providers: 'modules (which have no effect either)',
  spam_checker: 'modules (which have no effect either)',
  third_party_event_rules: 'modules (which have no effect either)',
  presence_router: 'modules (which have no effect either)',
  trust_identity_server_for_password_resets: 'email',
  trusted_third_party_id_servers: 'default_identity_server',
  backup_media_store_path: 'a backup of media_store_path',
};

/** Options that older Synapses had and for which there is nothing. */
const gone = without('has no effect: it has gone from Synapse, too', {
  web_client: 'A web client.',
  user_creation_max_duration: 'A limit on guests.',
  invite_3pid_guest: 'Guests for the invited.',
  enable_legacy_metrics: 'Old names of measurements.',
  enable_group_creation: 'Communities.',
  group_creation_prefix: 'Communities.',
  tls_dh_params_path: 'Old ways of encryption.',
  tls_fingerprints: 'Old ways of trust.',
  acme: 'Certificates.',
  verbose: 'How much is logged.',
  full_twisted_stacktraces: 'How errors are logged.',
  no_redirect_stdio: 'Where output goes.',
  uploads_path: 'A directory for uploads in progress.',
  replication_torture_level: 'A tool for developers.',
  dont_notify_new_devices_for: 'Silence for some users.',
  use_account_validity_in_account_status: 'Accounts that expire.',
  synctl_cache_factor: 'The size of caches.',
});

const renamed = Object.entries(retired).map(([name, heir]) =>
  without(`has no effect any more; write ${heir}`, { [name]: `Now: ${heir}.` }),
);

/** What is accepted for the sake of a configuration that has served Synapse. */
export const foreignOptions: Readonly<Record<string, Option<JsonValue | undefined>>> = renamed.reduce(
  (all, one) => ({ ...all, ...one }),
  { ...workerOptions, ...gone },
);

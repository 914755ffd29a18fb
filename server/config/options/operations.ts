import {
  anything,
  choice,
  decimal,
  duration,
  flag,
  integer,
  list,
  mapOf,
  path,
  size,
  text,
  textLike,
  url,
} from '../kinds.ts';
import { group, LATER, option, required, section } from '../option.ts';

const PYTHON = 'has no effect: it is a matter of Python';
const NO_STATISTICS = 'has no effect: nothing is ever reported to anybody';

/** Limits on users, measurements, caches, and what is peculiar to Synapse’s machinery. */
export const operationOptions = {
  limit_usage_by_mau: option(flag, false, 'Limit the number of users active in a month.', { note: LATER }),
  max_mau_value: option(integer(), 0, 'How many there may be.', { note: LATER }),
  mau_trial_days: option(integer(), 0, 'Days a new user does not count.', { note: LATER }),
  mau_appservice_trial_days: option(mapOf(integer()), {}, 'The same for users of application services.', {
    note: LATER,
  }),
  mau_limit_alerting: option(flag, true, 'Tell users of the limit.', { note: LATER }),
  mau_stats_only: option(flag, false, 'Count, but do not limit.', { note: LATER }),
  mau_limit_reserved_threepids: option(
    list(
      section({
        medium: required(choice('email', 'msisdn'), 'email or msisdn.'),
        address: required(text, 'The mail address or phone number.'),
      }),
    ),
    [],
    'Users who are never turned away.',
    { note: LATER },
  ),
  report_stats: option(flag, false, 'Tell the makers of Synapse how the server is used.', { note: NO_STATISTICS }),
  report_stats_endpoint: option(url, undefined, 'Whom to tell.', { note: NO_STATISTICS }),
  server_context: option(text, undefined, 'What the server is told to belong to.', { note: NO_STATISTICS }),
  stats: group({ enabled: option(flag, true, 'Whether to count.') }, 'Statistics on rooms and users.', { note: LATER }),
  enable_metrics: option(flag, false, 'Measure what the server does.', { note: LATER }),
  metrics_flags: group({ known_servers: option(flag, false, 'Count the servers known.') }, 'Costly measurements.', {
    note: LATER,
  }),
  metrics_port: option(integer({ min: 0, max: 65535 }), undefined, 'The port measurements are served on.', {
    note: 'has no effect; write a listener with the resource metrics',
  }),
  metrics_bind_host: option(text, undefined, 'The address measurements are served on.', {
    note: 'has no effect; write a listener with the resource metrics',
  }),
  sentry: group(
    {
      dsn: option(text, undefined, 'The address to report to.', { secret: true }),
      environment: option(text, undefined, 'What the server is called there.'),
    },
    'Report errors to Sentry.',
    { note: 'has no effect: nothing is ever reported to anybody' },
  ),
  opentracing: group(
    {
      enabled: option(flag, false, 'Whether to trace.'),
      homeserver_whitelist: option(list(text), [], 'Patterns of the servers to trace requests with.'),
      force_tracing_for_users: option(list(text), [], 'Users whose requests are always traced.'),
      jaeger_config: option(anything, undefined, 'The configuration of Jaeger.'),
    },
    'Trace requests.',
    { note: LATER },
  ),
  event_cache_size: option(size, 10 * 1024, 'Events kept in memory.', {
    note: 'has no effect: the size of caches is no matter for configuration',
  }),
  caches: group(
    {
      global_factor: option(decimal(), 0.5, 'Makes all of Synapse’s caches larger or smaller.'),
      per_cache_factors: option(mapOf(decimal()), {}, 'The same for single ones.'),
      expire_caches: option(flag, true, 'Drop what is not used.'),
      cache_entry_ttl: option(duration, 1_800_000, 'After how long.'),
      expiry_time: option(duration, undefined, 'The old name of cache_entry_ttl.'),
      sync_response_cache_duration: option(
        duration,
        120_000,
        'How long the answer to a sync request is kept, in case it gets lost on the way.',
      ),
      track_memory_usage: option(flag, false, 'Measure the memory that caches use.'),
      cache_autotuning: option(
        section({
          max_cache_memory_usage: option(size, undefined, 'Memory at which caches are emptied.'),
          target_cache_memory_usage: option(size, undefined, 'Memory at which that ends.'),
          min_cache_ttl: option(duration, undefined, 'How long an entry stays at least.'),
        }),
        undefined,
        'Empty caches by the memory they use.',
      ),
    },
    'Caches in memory.',
    { note: 'has no effect: caches have the sizes they need, and answers are not kept' },
  ),
  background_updates: group(
    {
      background_update_duration_ms: option(integer(), 100, 'Length of a step, in ms.'),
      sleep_enabled: option(flag, true, 'Rest between steps.'),
      sleep_duration_ms: option(integer(), 1000, 'How long, in ms.'),
      min_batch_size: option(integer({ min: 1 }), 1, 'Rows in a step at least.'),
      default_batch_size: option(integer({ min: 1 }), 100, 'Rows in the first step.'),
    },
    'Changes to a large database, step by step.',
    { note: LATER },
  ),
  soft_file_limit: option(integer(), 0, 'How many files may be open.', {
    note: 'has no effect: the system’s limit holds (ulimit -n)',
  }),
  gc_thresholds: option(list(integer()), undefined, 'When memory is cleaned up.', { note: PYTHON }),
  gc_min_interval: option(list(duration), undefined, 'How often memory is cleaned up.', { note: PYTHON }),
  use_frozen_dicts: option(flag, false, 'Guard against mistakes in modules.', { note: PYTHON }),
  user_agent_suffix: option(
    textLike('ordinary characters on one line', (value) => /^[\x20-\x7e]*$/.test(value)),
    undefined,
    'Put at the end of what this server calls itself.',
  ),
  daemonize: option(flag, false, 'Go into the background.', {
    note: 'has no effect: the server stays in the foreground; leave it to systemd or the desktop program',
  }),
  print_pidfile: option(flag, false, 'Print the name of the pid file.', { note: 'has no effect' }),
  manhole: option(integer({ min: 0, max: 65535 }), undefined, 'A port for a Python shell.', {
    note: 'has no effect: there is no Python shell',
  }),
  manhole_settings: group(
    {
      username: option(text, undefined, 'The user name.'),
      password: option(text, undefined, 'The password.', { secret: true }),
      ssh_priv_key_path: option(path, undefined, 'The private key.'),
      ssh_pub_key_path: option(path, undefined, 'The public key.'),
    },
    'The Python shell.',
    { note: 'has no effect: there is no Python shell' },
  ),
  databases: option(anything, undefined, 'Several databases.', {
    note: 'has no effect: there is one SQLite database; write database',
  }),
  experimental_features: option(mapOf(anything), {}, 'Parts of Synapse that are being tried out.', {
    note: 'has no effect: what this server has is always on, and what it has not cannot be switched on',
  }),
  account_validity: group(
    {
      enabled: option(flag, false, 'Accounts last for a time, and have to be renewed.'),
      period: option(duration, undefined, 'How long they last.'),
      renew_at: option(duration, undefined, 'How long before the end people get a mail; none, if left out.'),
      renew_email_subject: option(text, 'Renew your %(app)s account', 'Its subject.'),
      template_dir: option(path, undefined, 'A directory with templates, looked at after custom_template_directory.'),
      account_renewed_html_path: option(text, 'account_renewed.html', 'The template of the page that says thanks.'),
      invalid_token_html_path: option(
        text,
        'invalid_token.html',
        'The template of the page for links that do not work.',
      ),
    },
    'Accounts that expire.',
  ),
  use_insecure_ssl_client_just_for_testing_do_not_use: option(flag, false, 'Check no certificates at all.', {
    note: 'has no effect: certificates are always checked; let the system trust the one you need (NODE_EXTRA_CA_CERTS)',
  }),
};

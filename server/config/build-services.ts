import { findSecret } from './secrets.ts';
import type { Source } from './source.ts';
import type { Config } from './types.ts';

const SMTP_PORT = 25;
const SMTP_TLS_PORT = 465;
const MATRIX_TO = 'https://matrix.to';

/** How mails are sent; undefined where they aren't. */
export function buildEmail(source: Source): Config['email'] {
  const { email } = source.values;
  if (email === undefined) return undefined;
  if (email.notif_from === undefined) source.refuse(['email'], 'needs notif_from, the sender of mails');
  if (email.force_tls && !email.enable_tls) source.refuse(['email'], 'force_tls needs enable_tls');
  if (email.require_transport_security && !email.enable_tls) {
    source.refuse(['email'], 'require_transport_security needs enable_tls');
  }
  const subjects = Object.entries(email.subjects).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    host: email.smtp_host,
    port: email.smtp_port ?? (email.force_tls ? SMTP_TLS_PORT : SMTP_PORT),
    user: email.smtp_user,
    password: email.smtp_pass,
    tls: tlsMode(email),
    tlsName: email.tlsname,
    from: email.notif_from ?? '',
    appName: email.app_name,
    notifications: email.enable_notifs,
    notificationsForNewUsers: email.notif_for_new_users,
    notificationDelayMs: email.notif_delay_before_mail,
    clientBaseUrl: email.client_base_url ?? email.riot_base_url ?? MATRIX_TO,
    inviteClientLocation: email.invite_client_location,
    validationTokenLifetimeMs: email.validation_token_lifetime,
    subjects: Object.fromEntries(subjects),
  };
}

function tlsMode(email: {
  readonly force_tls: boolean;
  readonly require_transport_security: boolean;
  readonly enable_tls: boolean;
}): 'implicit' | 'required' | 'opportunistic' | 'off' {
  if (email.force_tls) return 'implicit';
  if (email.require_transport_security) return 'required';
  return email.enable_tls ? 'opportunistic' : 'off';
}

/** Where an administrator keeps their own templates, the first to be looked at first. */
export function templateDirectories(source: Source): readonly string[] {
  const { templates, email, account_validity: validity } = source.values;
  return [templates.custom_template_directory, email?.template_dir, validity.template_dir].filter(
    (directory) => directory !== undefined,
  );
}

/** The TURN servers clients are told of. */
export function buildTurn(source: Source): Config['turn'] {
  const v = source.values;
  const sharedSecret = findSecret(source, 'turn_shared_secret');
  return {
    uris: v.turn_uris,
    sharedSecret,
    username: v.turn_username,
    password: v.turn_password,
    userLifetimeMs: v.turn_user_lifetime,
    guestsAllowed: v.turn_allow_guests,
  };
}

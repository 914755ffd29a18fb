import { basename, join } from 'node:path';
import { buildUserId, type ServerName, type UserId } from '../matrix/identifiers.ts';
import { findRegistrationSecret, findSecret } from './secrets.ts';
import type { Source } from './source.ts';
import type { Config } from './types.ts';

const DEFAULT_REFRESHABLE_LIFETIME_MS = 300_000;

/** Who may have an account. `makeFiles`: a file for the shared secret is made if it is lacking. */
export function buildRegistration(source: Source, serverName: ServerName, makeFiles: boolean): Config['registration'] {
  const v = source.values;
  checkVerification(source);
  checkThreepids(source);
  const inviter = v.auto_join_mxid_localpart;
  if (v.autocreate_auto_join_room_preset !== 'public_chat' && inviter === undefined) {
    source.refuse(
      ['autocreate_auto_join_room_preset', 'auto_join_mxid_localpart'],
      'rooms that need an invite need auto_join_mxid_localpart, the user who invites',
    );
  }
  return {
    enabled: v.enable_registration,
    withoutVerification: v.enable_registration_without_verification,
    requiresToken: v.registration_requires_token,
    requiredThreepids: v.registrations_require_3pid.filter(
      (medium) => !(medium === 'msisdn' && v.disable_msisdn_registration),
    ),
    msisdnDisabled: v.disable_msisdn_registration,
    allowedThreepids: v.allowed_local_3pids,
    sharedSecret: findRegistrationSecret(source, makeFiles),
    guestsAllowed: v.allow_guest_access,
    inhibitUserInUseError: v.inhibit_user_in_use_error,
    underscorePrefixAllowed: v.allow_underscore_prefixed_registration,
    threepidChangesAllowed: v.enable_3pid_changes,
    threepidLookupAllowed: v.enable_3pid_lookup,
    inhibitThreepidTokenErrors: v.request_token_inhibit_3pid_errors,
    nextLinkDomains: v.next_link_domain_whitelist,
    msisdnDelegate: v.account_threepid_delegates.msisdn,
    defaultIdentityServer: v.default_identity_server,
    bcryptRounds: v.bcrypt_rounds,
    defaultUserType: v.user_types.default_user_type,
    extraUserTypes: v.user_types.extra_user_types,
    autoJoin: {
      rooms: v.auto_join_rooms,
      create: v.autocreate_auto_join_rooms,
      federated: v.autocreate_auto_join_rooms_federated,
      preset: v.autocreate_auto_join_room_preset,
      inviter: inviter === undefined ? undefined : userHere(source, 'auto_join_mxid_localpart', inviter, serverName),
      guests: v.auto_join_rooms_for_guests,
    },
    captcha: buildCaptcha(source),
  };
}

/** The user `localpart` of this server. Refuses what is too long for a user ID. */
export function userHere(
  source: Source,
  option: 'auto_join_mxid_localpart' | 'server_notices',
  localpart: string,
  serverName: ServerName,
): UserId {
  const userId = buildUserId(localpart, serverName);
  if (userId !== undefined) return userId;
  source.refuse([option], 'the user ID would be longer than 255 bytes');
  // Stands in until the refusal ends the start.
  return buildUserId('', serverName) ?? userHere(source, option, '', serverName);
}

// Anybody could make accounts by the thousand: whoever wants that has to say so in so many words.
function checkVerification(source: Source): void {
  const v = source.values;
  if (!v.enable_registration || v.enable_registration_without_verification || v.registration_requires_token) return;
  if (v.enable_registration_captcha || v.registrations_require_3pid.length > 0) return;
  const ways = ['registration_requires_token', 'enable_registration_captcha', 'registrations_require_3pid'];
  source.refuse(
    [
      'enable_registration',
      'enable_registration_without_verification',
      'registration_requires_token',
      'enable_registration_captcha',
      'registrations_require_3pid',
    ],
    `would let anybody in. Add ${ways.join(' or ')}, or, if that is what you want, enable_registration_without_verification: true`,
  );
}

// Nobody could register, and nobody would know why.
function checkThreepids(source: Source): void {
  const v = source.values;
  if (!v.enable_registration) return;
  if (v.registrations_require_3pid.includes('email') && v.email === undefined) {
    source.refuse(['registrations_require_3pid', 'email'], 'asks for mail addresses, which needs the option email');
  }
  const needsText = v.registrations_require_3pid.includes('msisdn') && !v.disable_msisdn_registration;
  if (needsText && v.account_threepid_delegates.msisdn === undefined) {
    source.refuse(
      ['registrations_require_3pid', 'account_threepid_delegates'],
      'asks for phone numbers, which needs account_threepid_delegates: msisdn',
    );
  }
}

function buildCaptcha(source: Source): Config['registration']['captcha'] {
  const publicKey = findSecret(source, 'recaptcha_public_key');
  const privateKey = findSecret(source, 'recaptcha_private_key');
  const required = source.values.enable_registration_captcha;
  if (publicKey !== undefined && privateKey !== undefined) {
    return { required, publicKey, privateKey, verifyUrl: source.values.recaptcha_siteverify_api };
  }
  if (required) {
    source.refuse(
      ['enable_registration_captcha', 'recaptcha_public_key', 'recaptcha_private_key'],
      'needs recaptcha_public_key and recaptcha_private_key',
    );
  }
  return undefined;
}

/** How long logins last. A token that would outlive its session is refused. */
export function buildSessions(source: Source): Config['sessions'] {
  const v = source.values;
  const lifetimeMs = v.session_lifetime;
  for (const name of [
    'refreshable_access_token_lifetime',
    'refresh_token_lifetime',
    'nonrefreshable_access_token_lifetime',
  ] as const) {
    const own = v[name];
    if (own !== undefined && lifetimeMs !== undefined && own > lifetimeMs) {
      source.refuse([name, 'session_lifetime'], 'must not be longer than session_lifetime');
    }
  }
  return {
    lifetimeMs,
    refreshTokenLifetimeMs: v.refresh_token_lifetime,
    refreshableAccessTokenLifetimeMs:
      v.refreshable_access_token_lifetime ?? Math.min(DEFAULT_REFRESHABLE_LIFETIME_MS, lifetimeMs ?? Infinity),
    nonrefreshableAccessTokenLifetimeMs: v.nonrefreshable_access_token_lifetime,
    uiAuthTimeoutMs: v.ui_auth.session_timeout,
    deleteStaleDevicesAfterMs: v.delete_stale_devices_after ?? undefined,
    userIpsMaxAgeMs: v.user_ips_max_age ?? undefined,
    loginViaExistingSession: {
      enabled: v.login_via_existing_session.enabled,
      requireUiAuth: v.login_via_existing_session.require_ui_auth,
      tokenTimeoutMs: v.login_via_existing_session.token_timeout,
    },
  };
}

/** The policy users agree to; undefined where there is none. */
export function buildUserConsent(source: Source): Config['userConsent'] {
  const { user_consent: given } = source.values;
  if (given === undefined) return undefined;
  const formSecret = findSecret(source, 'form_secret');
  const { template_dir: directory, version } = given;
  if (directory === undefined || version === undefined || formSecret === undefined) {
    source.refuse(['user_consent', 'form_secret'], 'needs template_dir and version, and the option form_secret');
    return undefined;
  }
  return {
    policyDirectory: join(directory, 'en'),
    version: String(version),
    policyName: given.policy_name,
    formSecret,
    requiredAtRegistration: given.require_at_registration,
    blockEventsError: given.block_events_error,
    noticeContent: given.server_notice_content,
    noticesToGuests: given.send_server_notice_to_guests,
  };
}

/** Accounts that expire; undefined where they don't. */
export function buildAccountValidity(source: Source): Config['accountValidity'] {
  const { account_validity: given } = source.values;
  if (!given.enabled) return undefined;
  if (given.period === undefined) {
    source.refuse(['account_validity'], 'needs period');
    return undefined;
  }
  return {
    periodMs: given.period,
    renewAtMs: given.renew_at,
    subject: given.renew_email_subject,
    renewedPage: basename(given.account_renewed_html_path),
    invalidPage: basename(given.invalid_token_html_path),
  };
}

import { isRoomAlias, isStrictLocalpart } from '../../matrix/identifiers.ts';
import {
  choice,
  duration,
  flag,
  identifier,
  integer,
  list,
  orNull,
  path,
  pattern,
  text,
  textLike,
  url,
} from '../kinds.ts';
import { group, LATER, option, required, section } from '../option.ts';

const medium = choice('email', 'msisdn');

/** Who may have an account, and how they come by one. */
export const registrationOptions = {
  enable_registration: option(flag, false, 'Let people create accounts for themselves.'),
  enable_registration_without_verification: option(
    flag,
    false,
    'Allow that without captcha, token, mail address or phone number. Invites spam, unless nobody can reach the server.',
  ),
  registration_requires_token: option(flag, false, 'New users need a token that an administrator has given out.'),
  registrations_require_3pid: option(list(medium), [], 'What new users have to prove they own: email, msisdn or both.'),
  disable_msisdn_registration: option(flag, false, 'Never ask new users for a phone number.'),
  allowed_local_3pids: option(
    list(
      section({
        medium: required(medium, 'email or msisdn.'),
        pattern: required(pattern, 'A regular expression, to match from the start.'),
      }),
    ),
    undefined,
    'Mail addresses and phone numbers that accounts may have; all, if left out.',
  ),
  enable_3pid_changes: option(flag, true, 'Users may change their mail addresses and phone numbers.'),
  enable_3pid_lookup: option(flag, true, 'Ask identity servers who is behind a mail address.'),
  account_threepid_delegates: group(
    {
      msisdn: option(url, undefined, 'The identity server that sends text messages to verify phone numbers.'),
      email: option(text, undefined, 'No longer exists.', { note: 'has no effect; set up the option email instead' }),
    },
    'Servers that verify what this one can’t.',
  ),
  default_identity_server: option(url, undefined, 'The identity server that clients are pointed to.'),
  request_token_inhibit_3pid_errors: option(
    flag,
    false,
    'Do not let on whether a mail address or phone number is in use here.',
  ),
  next_link_domain_whitelist: option(
    list(text),
    undefined,
    'Domains that a link may lead to after a mail address was verified; any, if left out.',
  ),
  registration_shared_secret: option(
    text,
    undefined,
    'A password for creating accounts from the command line, even while registration is closed.',
    { secret: true },
  ),
  registration_shared_secret_path: option(path, undefined, 'A file with that password. Made if it is not there.'),
  allow_guest_access: option(flag, false, 'Let people in as guests, without an account, to rooms that allow it.'),
  inhibit_user_in_use_error: option(flag, false, 'Do not tell newcomers early whether a name is taken.'),
  allow_underscore_prefixed_registration: option(flag, false, 'Names of new users may begin with an underscore.'),
  bcrypt_rounds: option(integer({ min: 4, max: 31 }), 12, 'Cost of new password hashes in bcrypt.', {
    note: 'has no effect: passwords are hashed with Argon2id, and bcrypt is only read, from hashes Synapse has made',
  }),
  user_types: group(
    {
      default_user_type: option(text, undefined, 'The type of new accounts.'),
      extra_user_types: option(list(text), [], 'Types there are besides support and bot.'),
    },
    'Kinds of accounts.',
  ),
  auto_join_rooms: option(
    list(identifier('a room alias such as #home:example.com', isRoomAlias)),
    [],
    'Rooms that every new user is put into.',
  ),
  autocreate_auto_join_rooms: option(flag, true, 'Create those rooms if they are not there.'),
  autocreate_auto_join_rooms_federated: option(flag, true, 'Rooms created so are open to users of other servers.'),
  auto_join_mxid_localpart: option(
    textLike('the part of a user ID before the colon, without @', isStrictLocalpart),
    undefined,
    'Who creates those rooms, and invites into them if need be; the first user, if left out.',
  ),
  auto_join_rooms_for_guests: option(flag, true, 'Put guests into them, too.'),
  recaptcha_public_key: option(text, undefined, 'This server’s public key for reCAPTCHA.'),
  recaptcha_public_key_path: option(path, undefined, 'A file with that key.'),
  recaptcha_private_key: option(text, undefined, 'This server’s private key for reCAPTCHA.', {
    secret: true,
  }),
  recaptcha_private_key_path: option(path, undefined, 'A file with that key.'),
  enable_registration_captcha: option(flag, false, 'New users have to solve a captcha.'),
  recaptcha_siteverify_api: option(
    url,
    'https://www.recaptcha.net/recaptcha/api/siteverify',
    'Where solutions are checked.',
  ),
};

/** How long logins last, and how passwords are treated. */
export const sessionOptions = {
  session_lifetime: option(duration, undefined, 'How long a login lasts. For ever, if left out.'),
  refreshable_access_token_lifetime: option(
    duration,
    undefined,
    'How long an access token lasts that comes with a refresh token. 5 minutes, if left out.',
  ),
  refresh_token_lifetime: option(duration, undefined, 'How long a refresh token can be used. For ever, if left out.'),
  nonrefreshable_access_token_lifetime: option(
    duration,
    undefined,
    'How long an access token lasts that comes alone. For ever, if left out.',
  ),
  ui_auth: group(
    {
      session_timeout: option(duration, 0, 'For how long proving one’s identity serves for further actions.'),
    },
    'When users have to enter their password again for delicate actions.',
  ),
  login_via_existing_session: group(
    {
      enabled: option(flag, false, 'Whether a device can let another one in.'),
      require_ui_auth: option(flag, true, 'Only after the password was entered again.'),
      token_timeout: option(duration, 300_000, 'How long the other device has time.'),
    },
    'Log in on a new device with the help of an old one.',
  ),
  delete_stale_devices_after: option(orNull(duration), null, 'Log devices out that have not been seen for this long.'),
  user_ips_max_age: option(
    orNull(duration),
    28 * 86_400_000,
    'How long the addresses users came from are kept. null keeps them for good.',
  ),
  track_puppeted_user_ips: option(flag, false, 'Record the address of an administrator who acts for a user.', {
    note: LATER,
  }),
  password_config: group(
    {
      enabled: option(
        choice(true, false, 'only_for_reauth'),
        true,
        'Whether users log in with passwords. "only_for_reauth": old ones serve, new ones cannot be set.',
      ),
      localdb_enabled: option(flag, true, 'Whether the passwords kept here count.'),
      pepper: option(text, '', 'Text mixed into every password. Must never change once there are passwords.', {
        secret: true,
      }),
      policy: group(
        {
          enabled: option(flag, false, 'Whether passwords have to meet the following.'),
          minimum_length: option(integer(), 0, 'The fewest characters.'),
          require_digit: option(flag, false, 'A digit is needed.'),
          require_symbol: option(flag, false, 'A character that is neither letter nor digit is needed.'),
          require_lowercase: option(flag, false, 'A small letter is needed.'),
          require_uppercase: option(flag, false, 'A capital letter is needed.'),
        },
        'What passwords have to be like.',
      ),
    },
    'Login with passwords.',
  ),
  macaroon_secret_key: option(text, undefined, 'Signs tokens in Synapse.', {
    secret: true,
    note: 'is not needed: tokens are random numbers, of which only a hash is stored',
  }),
  macaroon_secret_key_path: option(path, undefined, 'A file with that key.', {
    note: 'is not needed: tokens are random numbers, of which only a hash is stored',
  }),
  form_secret: option(text, undefined, 'Signs forms of the consent pages.', { secret: true }),
  form_secret_path: option(path, undefined, 'A file with that secret.'),
};

import { isStrictLocalpart } from '../../matrix/identifiers.ts';
import { anything, duration, flag, integer, list, mapOf, path, text, textLike, textOrNumber, url } from '../kinds.ts';
import { group, LATER, option, required, section } from '../option.ts';

const subjects = [
  'message_from_person_in_room',
  'message_from_person',
  'messages_from_person',
  'messages_in_room',
  'messages_in_room_and_others',
  'messages_from_person_and_others',
  'invite_from_person_to_room',
  'invite_from_person',
  'invite_from_person_to_space',
  'password_reset',
  'email_validation',
  'email_already_in_use',
] as const;

const emailSection = section({
  smtp_host: option(text, 'localhost', 'The mail server that takes outgoing mail.'),
  smtp_port: option(integer({ min: 1, max: 65535 }), undefined, 'Its port; 25, or 465 with force_tls, if left out.'),
  smtp_user: option(text, undefined, 'The user name there.'),
  smtp_pass: option(text, undefined, 'The password there.', { secret: true }),
  force_tls: option(flag, false, 'Speak TLS from the first byte on.'),
  require_transport_security: option(flag, false, 'Refuse to go on without STARTTLS.'),
  enable_tls: option(flag, true, 'Use STARTTLS where the mail server offers it.'),
  tlsname: option(text, undefined, 'The name its certificate has to bear, if not smtp_host.'),
  notif_from: option(text, undefined, 'The sender of mails. %(app)s stands for the application’s name.'),
  app_name: option(text, 'Matrix', 'The application’s name.'),
  enable_notifs: option(flag, false, 'Mail users what they missed.'),
  notif_for_new_users: option(flag, true, 'New users get such mails without asking for them.'),
  notif_delay_before_mail: option(duration, 600_000, 'How long a message has to be missed.'),
  client_base_url: option(url, undefined, 'Where links in mails lead; https://matrix.to, if left out.'),
  riot_base_url: option(url, undefined, 'The old name of client_base_url.'),
  validation_token_lifetime: option(duration, 3_600_000, 'How long the link in a mail to verify an address is good.'),
  invite_client_location: option(url, undefined, 'The web client that the invited are sent to.'),
  template_dir: option(path, undefined, 'A directory with templates, looked at after custom_template_directory.'),
  subjects: option(
    section(Object.fromEntries(subjects.map((name) => [name, option(text, undefined, 'Subject of such a mail.')]))),
    {},
    'Subjects of mails.',
  ),
});

/** Mail, calls, push, notices, application services. */
export const serviceOptions = {
  email: option(emailSection, undefined, 'How mails are sent.'),
  templates: group(
    { custom_template_directory: option(path, undefined, 'A directory whose templates go before the built-in ones.') },
    'Templates for mails and pages.',
  ),
  turn_uris: option(
    list(textLike('a turn:, turns:, stun: or stuns: address', (value) => /^(?:turn|stun)s?:./.test(value))),
    [],
    'TURN servers that clients use for calls.',
  ),
  turn_shared_secret: option(text, undefined, 'The secret shared with the TURN server.', { secret: true }),
  turn_shared_secret_path: option(path, undefined, 'A file with that secret.'),
  turn_username: option(text, undefined, 'The user name at a TURN server without a shared secret.'),
  turn_password: option(text, undefined, 'The password there.', { secret: true }),
  turn_user_lifetime: option(duration, 3_600_000, 'How long a client can use what it was given.'),
  turn_allow_guests: option(flag, true, 'Guests may use it, too.'),
  matrix_rtc: group(
    {
      transports: option(
        list(mapOf(anything)),
        [],
        'What carries group calls, such as a LiveKit server with its livekit_service_url.',
      ),
    },
    'Group calls (MSC4143).',
  ),
  push: group(
    {
      enabled: option(flag, true, 'Work out who has to be notified.'),
      include_content: option(flag, true, 'Send what a message says along, if the client wishes.'),
      group_unread_count_by_room: option(flag, true, 'Count rooms with something unread, not messages.'),
      jitter_delay: option(duration, 0, 'The longest time a notification is held back, at random.'),
    },
    'Notifications.',
  ),
  server_notices: option(
    section({
      system_mxid_localpart: required(
        textLike('the part of a user ID before the colon, without @', isStrictLocalpart),
        'The user that notices come from.',
      ),
      system_mxid_display_name: option(text, undefined, 'Its name.'),
      system_mxid_avatar_url: option(text, undefined, 'Its picture, as mxc:// address.'),
      room_name: option(text, 'Server Notices', 'The name of the room.'),
      room_avatar_url: option(text, undefined, 'The picture of the room, as mxc:// address.'),
      room_topic: option(text, undefined, 'The topic of the room.'),
      auto_join: option(flag, false, 'Users are put into the room without being asked.'),
    }),
    undefined,
    'A room for notices of the server to its users.',
    { note: LATER },
  ),
  user_consent: option(
    section({
      template_dir: option(path, undefined, 'The directory with the policy in its languages.'),
      version: option(textOrNumber, undefined, 'The version of the policy that holds.'),
      server_notice_content: option(mapOf(anything), undefined, 'The notice users are asked with.', { note: LATER }),
      send_server_notice_to_guests: option(flag, false, 'Ask guests, too.', { note: LATER }),
      block_events_error: option(text, undefined, 'What users are told who write without having agreed.'),
      require_at_registration: option(flag, false, 'New users have to agree at once.'),
      policy_name: option(text, 'Privacy Policy', 'What the policy is called.'),
    }),
    undefined,
    'A policy that users have to agree to.',
  ),
  app_service_config_files: option(list(path), [], 'Registrations of application services (bridges, bots).'),
  track_appservice_user_ips: option(flag, false, 'Record the addresses application services come from.'),
  use_appservice_legacy_authorization: option(flag, false, 'Send application services their token in the address.'),
  modules: option(
    list(
      section({
        module: required(text, 'The Python class.'),
        config: option(anything, undefined, 'What it wants to know.'),
      }),
    ),
    [],
    'Python code that changes what the server does.',
    { note: 'has no effect: Python code cannot be loaded' },
  ),
};

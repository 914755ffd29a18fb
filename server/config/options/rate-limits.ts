import { integer } from '../kinds.ts';
import { group, option, rateLimit, rateLimitOptions, section } from '../option.ts';

/** How much of what may be asked for. */
export const rateLimitOptionTable = {
  rc_message: rateLimit(0.2, 10, 'Messages of a user.'),
  rc_registration: rateLimit(0.17, 3, 'Registrations from an address.'),
  rc_registration_token_validity: rateLimit(0.1, 5, 'Checks of registration tokens from an address.'),
  rc_login: group(
    {
      address: rateLimit(0.003, 5, 'Logins from an address.'),
      account: rateLimit(0.03, 5, 'Logins to an account.'),
      failed_attempts: rateLimit(0.17, 3, 'Failed logins to an account.'),
    },
    'Logins.',
  ),
  rc_admin_redaction: option(
    section(rateLimitOptions(0.17, 3)),
    undefined,
    'Redactions by those who moderate a room; as for rc_message, if left out.',
  ),
  rc_joins: group(
    {
      local: rateLimit(0.1, 10, 'Rooms this server is in already.'),
      remote: rateLimit(0.01, 10, 'Rooms new to this server.'),
    },
    'Joins of a user.',
  ),
  rc_joins_per_room: rateLimit(1, 10, 'Joins to a room.'),
  rc_3pid_validation: rateLimit(0.003, 5, 'Mails and text messages to verify an address, for a user or an address.'),
  rc_invites: group(
    {
      per_room: rateLimit(0.3, 10, 'Invites into a room.'),
      per_user: rateLimit(0.003, 5, 'Invites a user gets.'),
      per_issuer: rateLimit(0.3, 10, 'Invites a user sends.'),
    },
    'Invites.',
  ),
  rc_third_party_invite: rateLimit(0.2, 10, 'Invites of a user by mail address or phone number.'),
  rc_media_create: rateLimit(10, 50, 'Media a user announces before uploading them.'),
  rc_presence: group({ per_user: rateLimit(0.1, 1, 'Changes of a user’s presence.') }, 'Presence.'),
  rc_delayed_event_mgmt: rateLimit(1, 5, 'Changes a user makes to delayed events.'),
  rc_reports: rateLimit(1, 5, 'Reports of a user about events, rooms and other users.'),
  rc_room_creation: rateLimit(0.016, 10, 'Rooms a user creates.'),
  rc_user_directory: rateLimit(0.016, 200, 'Searches of a user in the user directory.'),
  rc_federation: group(
    {
      window_size: option(integer({ min: 1 }), 1000, 'Length of the window in which requests are counted, in ms.'),
      sleep_limit: option(integer(), 10, 'Requests in a window before further ones are delayed.'),
      sleep_delay: option(integer(), 500, 'How long they are delayed, in ms.'),
      reject_limit: option(integer(), 50, 'Waiting requests before further ones are refused.'),
      concurrent: option(integer({ min: 1 }), 3, 'Requests worked on at once.'),
    },
    'Requests of another server.',
  ),
  federation_rr_transactions_per_room_per_second: option(
    integer({ min: 1 }),
    50,
    'How often read receipts of a room are sent to other servers.',
  ),
};

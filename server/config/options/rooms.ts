import { isSeq } from 'yaml';
import { isRoomId } from '../../matrix/identifiers.ts';
import { roomVersions } from '../../matrix/room-versions.ts';
import {
  anything,
  choice,
  decimal,
  duration,
  either,
  flag,
  identifier,
  integer,
  list,
  mapOf,
  orNull,
  scalar,
  text,
} from '../kinds.ts';
import { group, LATER, option, section } from '../option.ts';

const versions = [...roomVersions.keys()];

const roomVersion = scalar(
  `one of the room versions ${versions.join(', ')}`,
  { type: 'choice', values: versions },
  (_, source) => (roomVersions.has(source) ? source : undefined),
);

/** A state event's type, or its type and the one state key meant. */
const prejoinEntry = either(list(text), text, (place) => isSeq(place.node));

const ruleKind = section({
  user_id: option(text, '*', 'Glob for the user who asks.'),
  alias: option(text, '*', 'Glob for the alias.'),
  room_id: option(text, '*', 'Glob for the room.'),
  action: option(choice('allow', 'deny'), 'allow', 'What happens if all three match.'),
});

const presets = choice('public_chat', 'private_chat', 'trusted_private_chat');

/** Rooms, their aliases and the list of public ones. */
export const roomOptions = {
  default_room_version: option(roomVersion, undefined, 'The version of new rooms, if the client names none.'),
  encryption_enabled_by_default_for_room_type: option(
    choice('all', 'invite', 'off'),
    'off',
    'Which new rooms are end-to-end encrypted from the start: all, those for invited people only, or none.',
  ),
  default_power_level_content_override: option(
    mapOf(orNull(mapOf(anything))),
    {},
    'For each preset of a new room, keys of its power levels that are set differently.',
  ),
  block_non_admin_invites: option(flag, false, 'Only administrators of this server may invite its users.'),
  enable_ephemeral_messages: option(flag, false, 'Delete messages when the time their sender set has come (MSC2228).'),
  redaction_retention_period: option(
    orNull(duration),
    7 * 86_400_000,
    'How long a redacted event keeps its content in the database. null keeps it for good.',
  ),
  forget_rooms_on_leave: option(flag, false, 'Users forget a room as soon as they leave it.'),
  forgotten_room_retention_period: option(
    orNull(duration),
    null,
    'How long a room that all its users here have forgotten is kept. null keeps it for good.',
    { note: LATER },
  ),
  exclude_rooms_from_sync: option(
    list(identifier('a room ID such as !abc:example.com', isRoomId)),
    [],
    'Rooms that no client gets to see in /sync, for broken ones.',
  ),
  allow_per_room_profiles: option(flag, true, 'Users may call themselves differently in each room.'),
  room_prejoin_state: group(
    {
      disable_default_event_types: option(flag, false, 'Show nothing but the types listed below.'),
      additional_event_types: option(
        list(prejoinEntry),
        [],
        'Further state events to show: a type, or a list of a type and a state key.',
      ),
    },
    'What of a room’s state the invited and those who knock get to see.',
  ),
  max_event_delay_duration: option(orNull(duration), null, 'How far ahead clients may schedule an event (MSC4140).'),
  dummy_events_threshold: option(
    integer({ min: 1 }),
    10,
    'How many loose ends the event graph of a room may have before the server ties them up itself.',
  ),
  enable_search: option(flag, true, 'Index messages, so that they can be searched.'),
  auto_accept_invites: group(
    {
      enabled: option(flag, false, 'Users join at once whatever they are invited to.'),
      only_for_direct_messages: option(flag, false, 'Direct chats only.'),
      only_from_local_users: option(flag, false, 'Invites from users of this server only.'),
      worker_to_run_on: option(text, undefined, 'The worker that does it.', {
        note: 'has no effect: there are no workers',
      }),
    },
    'Join rooms without asking when somebody invites.',
    { note: LATER },
  ),
  limit_remote_rooms: group(
    {
      enabled: option(flag, false, 'Whether large rooms are refused.'),
      complexity: option(decimal(), 1, 'How large, in units of 500 state events.'),
      complexity_error: option(
        text,
        'This room is too large for this server.',
        'What users are told who want to join one.',
      ),
      admins_can_join: option(flag, false, 'Administrators may join them all the same.'),
    },
    'Keep rooms out that would be more than this machine can carry.',
  ),
  retention: option(
    section({
      enabled: option(flag, false, 'Whether old messages are deleted.'),
      default_policy: option(
        section({
          min_lifetime: option(orNull(duration), null, 'How long a message is kept at least.'),
          max_lifetime: option(orNull(duration), null, 'How long a message is kept at most.'),
        }),
        undefined,
        'For rooms that have no policy of their own.',
      ),
      allowed_lifetime_min: option(orNull(duration), null, 'The shortest time a room may ask for.'),
      allowed_lifetime_max: option(orNull(duration), null, 'The longest time a room may ask for.'),
      purge_jobs: option(
        list(
          section({
            shortest_max_lifetime: option(orNull(duration), null, 'Rooms that keep messages longer than this.'),
            longest_max_lifetime: option(orNull(duration), null, 'Rooms that keep messages no longer than this.'),
            interval: option(duration, 86_400_000, 'How often the job runs.'),
          }),
        ),
        undefined,
        'When to look for what has to be deleted.',
      ),
    }),
    undefined,
    'Delete messages of a certain age.',
    { note: LATER },
  ),
  enable_room_list_search: option(flag, true, 'The list of public rooms can be searched; otherwise it appears empty.'),
  alias_creation_rules: option(
    list(ruleKind),
    undefined,
    'Who may create which aliases: the first rule that matches decides; if none does, it is refused.',
  ),
  room_list_publication_rules: option(
    list(ruleKind),
    undefined,
    'Who may list which rooms publicly: the first rule that matches decides; if none does, it is refused.',
  ),
  require_membership_for_aliases: option(flag, true, 'Only members of a room may give it aliases.'),
  allow_public_rooms_without_auth: option(flag, false, 'Show the list of public rooms to those who are not logged in.'),
  allow_public_rooms_over_federation: option(flag, false, 'Show the list of public rooms to other servers.', {
    note: LATER,
  }),
  autocreate_auto_join_room_preset: option(
    presets,
    'public_chat',
    'How rooms are set up that are created for auto_join_rooms.',
  ),
};

import { isRoomId } from '../../matrix/identifiers.ts';
import { choice, duration, flag, identifier, integer, list, orNull, size, text } from '../kinds.ts';
import { group, option } from '../option.ts';

/** Profiles, presence, the user directory, and what sync gives. */
export const userOptions = {
  require_auth_for_profile_requests: option(flag, false, 'Show profiles only to those who are logged in.'),
  limit_profile_requests_to_users_who_share_rooms: option(
    flag,
    false,
    'Show profiles only to those who are in a room together.',
  ),
  include_profile_data_on_invite: option(flag, true, 'Show name and picture of the invited in the invite.'),
  allow_profile_lookup_over_federation: option(flag, true, 'Show profiles to other servers.'),
  enable_set_displayname: option(flag, true, 'Users may change their display name once it is set.'),
  enable_set_avatar_url: option(flag, true, 'Users may change their picture once it is set.'),
  max_avatar_size: option(orNull(size), null, 'The largest picture a user may have; any, if left out.'),
  allowed_avatar_mimetypes: option(
    list(text),
    undefined,
    'The kinds of pictures a user may have, such as image/png; any, if left out.',
  ),
  presence: group(
    {
      enabled: option(
        choice(true, false, 'untracked'),
        true,
        'Whether users see who is there. "untracked": it can be set, but is not followed or sent.',
      ),
      include_offline_users_on_sync: option(flag, false, 'The first sync names those who are away, too.'),
      last_active_granularity: option(duration, 60_000, 'How exactly it is told when somebody was last active.'),
      sync_online_timeout: option(duration, 30_000, 'How long after the last sync somebody counts as online.'),
      idle_timeout: option(duration, 300_000, 'How long without activity somebody counts as online.'),
    },
    'Who is online.',
  ),
  exclude_rooms_from_presence: option(
    list(identifier('a room ID such as !abc:example.com', isRoomId)),
    [],
    'Rooms whose members do not see each other’s presence by being in them.',
  ),
  user_directory: group(
    {
      enabled: option(flag, true, 'Whether users can be looked up.'),
      search_all_users: option(flag, false, 'Find everybody, not just those in common or public rooms.'),
      prefer_local_users: option(flag, false, 'Users of this server come first.'),
      exclude_remote_users: option(flag, false, 'Find users of this server only.'),
      show_locked_users: option(flag, false, 'Find locked accounts, too.'),
    },
    'Finding other users.',
  ),
  filter_timeline_limit: option(
    integer({ min: -1 }),
    100,
    'The most messages a client gets of a room in one sync. -1 sets no limit.',
  ),
};

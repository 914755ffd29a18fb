import type { Setting } from '../contract.ts';

/** How an option is shown. Its default, and whether it is a secret, its own definition knows. */
export interface CatalogueEntry extends Pick<Setting, 'path' | 'group' | 'title' | 'help' | 'kind'> {
  readonly choices?: { readonly value: string; readonly title: string }[];
}

type Row = readonly [
  path: string,
  kind: Setting['kind'],
  title: string,
  help: string,
  choices?: CatalogueEntry['choices'],
];

function group(name: string, rows: readonly Row[]): CatalogueEntry[] {
  return rows.map(([path, kind, title, help, choices]) => ({
    path,
    group: name,
    title,
    help,
    kind,
    ...(choices === undefined ? {} : { choices }),
  }));
}

/** The options that matter to a household, in the order they are shown. All others can be written into the file. */
export const catalogue: readonly CatalogueEntry[] = [
  ...group('General', [
    [
      'public_baseurl',
      'text',
      'Public address',
      'The address apps use from outside, beginning with https://. Leave it empty if the server is only used at home.',
    ],
    [
      'admin_contact',
      'text',
      'Contact',
      'How people reach you when something is wrong, such as mailto:me@example.com.',
    ],
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
  ]),
  ...group('People and privacy', [
    [
      'presence.enabled',
      'choice',
      'Show who is online',
      'Whether people see who is there. Turned off, devices use less battery.',
      [
        { value: 'true', title: 'Yes' },
        { value: 'untracked', title: 'Only what people say of themselves' },
        { value: 'false', title: 'No' },
      ],
    ],
    [
      'user_directory.search_all_users',
      'switch',
      'Everybody here can be found',
      'People find all others of this server, not only those they share a room with.',
    ],
    [
      'user_directory.prefer_local_users',
      'switch',
      'People of this server first',
      'In searches for people, those of this server come first.',
    ],
    [
      'allow_profile_lookup_over_federation',
      'switch',
      'Show profiles to other servers',
      'Other servers can ask for the name and picture of anybody here.',
    ],
    [
      'require_auth_for_profile_requests',
      'switch',
      'Profiles only for those who are signed in',
      'Names and pictures are not shown to strangers on the web.',
    ],
    [
      'limit_profile_requests_to_users_who_share_rooms',
      'switch',
      'Profiles only for those one shares a room with',
      'Names and pictures are shown to people in common rooms only.',
    ],
    [
      'enable_set_displayname',
      'switch',
      'People may change their name',
      'The name shown to others, not the one they sign in with.',
    ],
    ['enable_set_avatar_url', 'switch', 'People may change their picture', 'Turned off, only you can change pictures.'],
    [
      'user_ips_max_age',
      'duration',
      'Remember where people signed in from',
      'How long the network addresses of devices are kept.',
    ],
  ]),
  ...group('Signing in', [
    [
      'session_lifetime',
      'duration',
      'Sign everybody out after',
      'How long somebody stays signed in on a device. For ever, if left empty.',
    ],
    [
      'delete_stale_devices_after',
      'duration',
      'Sign out devices that are not used',
      'Devices that have not been seen for this long are signed out. Never, if left empty.',
    ],
    [
      'login_via_existing_session.enabled',
      'switch',
      'Sign in with another device',
      'Somebody who is signed in can let their new device in, by showing a code.',
    ],
    [
      'password_config.policy.enabled',
      'switch',
      'Ask for strong passwords',
      'New passwords have to meet the rules below.',
    ],
    [
      'password_config.policy.minimum_length',
      'number',
      'Shortest password',
      'The fewest characters of a new password.',
    ],
    ['password_config.policy.require_digit', 'switch', 'A digit is needed', 'New passwords need a digit.'],
    [
      'password_config.policy.require_symbol',
      'switch',
      'A symbol is needed',
      'New passwords need something that is neither letter nor digit.',
    ],
    [
      'password_config.policy.require_lowercase',
      'switch',
      'A small letter is needed',
      'New passwords need a small letter.',
    ],
    [
      'password_config.policy.require_uppercase',
      'switch',
      'A capital letter is needed',
      'New passwords need a capital letter.',
    ],
    [
      'allow_guest_access',
      'switch',
      'Let guests in',
      'Anybody who reaches this server may look into rooms that are open to guests, without an account.',
    ],
  ]),
  ...group('Rooms and messages', [
    [
      'encryption_enabled_by_default_for_room_type',
      'choice',
      'Encrypt new rooms',
      'Which new rooms are end-to-end encrypted without being asked. Encryption cannot be turned off again in a room.',
      [
        { value: 'off', title: 'None, unless asked' },
        { value: 'invite', title: 'Private rooms' },
        { value: 'all', title: 'All rooms' },
      ],
    ],
    [
      'redaction_retention_period',
      'duration',
      'Keep what was deleted',
      'How long the text of a deleted message stays in the database before it is really gone.',
    ],
    [
      'enable_search',
      'switch',
      'Search on the server',
      'Messages that are not encrypted can be searched in all rooms.',
    ],
    [
      'forget_rooms_on_leave',
      'switch',
      'Forget rooms when leaving',
      'Rooms somebody leaves vanish from their list at once.',
    ],
    [
      'auto_join_rooms',
      'list',
      'Rooms for newcomers',
      'Addresses of rooms that new people are put into, such as #family:example.com.',
    ],
    [
      'auto_accept_invites.enabled',
      'switch',
      'Accept invitations by itself',
      'Whoever is invited to a room is in it at once.',
    ],
    [
      'auto_accept_invites.only_from_local_users',
      'switch',
      'Only invitations of people here',
      'Invitations of strangers still wait for an answer.',
    ],
    [
      'block_non_admin_invites',
      'switch',
      'Only you may invite',
      'Nobody but those who run this server may invite people of it to rooms.',
    ],
    [
      'limit_remote_rooms.enabled',
      'switch',
      'Refuse very large rooms',
      'Keeps people from joining rooms of other servers that this machine could not cope with.',
    ],
    [
      'limit_remote_rooms.complexity',
      'number',
      'How large is too large',
      'In units of 500 things a room remembers of its members and settings.',
    ],
    [
      'max_event_delay_duration',
      'duration',
      'Messages may be scheduled for',
      'How far ahead an app may have something sent. Calls need an hour or more.',
    ],
  ]),
  ...group('Other servers', [
    [
      'federation_domain_whitelist',
      'list',
      'Only these servers',
      'The only servers to deal with. Left unset, it is all of them; an empty list is none at all.',
    ],
    [
      'allow_device_name_lookup_over_federation',
      'switch',
      'Show the names of devices',
      'Other servers learn what the devices of people here are called.',
    ],
    [
      'allow_public_rooms_without_auth',
      'switch',
      'Public rooms for everybody',
      'The list of public rooms can be read without an account.',
    ],
    [
      'prevent_media_downloads_from',
      'list',
      'No media from these servers',
      'Servers whose pictures and files are not fetched.',
    ],
  ]),
  ...group('Media', [
    [
      'max_upload_size',
      'bytes',
      'Largest file',
      'The largest file that can be sent. A reverse proxy has a limit of its own.',
    ],
    [
      'hearth.remote_media_cache_size',
      'bytes',
      'Room for media of other servers',
      'What was not looked at for longest goes first; it can be fetched again.',
    ],
    [
      'media_retention.remote_media_lifetime',
      'duration',
      'Remove media of other servers after',
      'Counted from when somebody last looked at them. Never, if left empty.',
    ],
    [
      'media_retention.local_media_lifetime',
      'duration',
      'Remove media of people here after',
      'Counted from when somebody last looked at them. They cannot be fetched again. Never, if left empty.',
    ],
    [
      'enable_authenticated_media',
      'switch',
      'Media only for those who are signed in',
      'Pictures and files cannot be had by strangers who know the address.',
    ],
    [
      'url_preview_enabled',
      'switch',
      'Previews of links',
      'The server fetches web pages that people write of, to show what they are. Those pages learn of the server’s address.',
    ],
    [
      'dynamic_thumbnails',
      'switch',
      'Small pictures in any size',
      'Takes more space and work, and looks better in some apps.',
    ],
  ]),
  ...group('Mail', [
    [
      'email.smtp_host',
      'text',
      'Mail server',
      'The server that takes outgoing mail, for forgotten passwords and missed messages.',
    ],
    ['email.smtp_port', 'number', 'Port', 'Mostly 587, or 465 with TLS from the start.'],
    ['email.smtp_user', 'text', 'User name', 'The name to sign in with at the mail server.'],
    ['email.smtp_pass', 'secret', 'Password', 'The password for the mail server.'],
    ['email.force_tls', 'switch', 'TLS from the start', 'For port 465.'],
    [
      'email.require_transport_security',
      'switch',
      'Never without TLS',
      'Rather send no mail than one that others on the way can read.',
    ],
    ['email.notif_from', 'text', 'Sender', 'What mails come from, such as Hearth <hearth@example.com>.'],
    [
      'email.enable_notifs',
      'switch',
      'Mail about missed messages',
      'People who wish so get a mail when they missed something.',
    ],
  ]),
  ...group('Notifications', [
    ['push.enabled', 'switch', 'Notify phones', 'Messages show up on phones while the app is closed.'],
    [
      'push.include_content',
      'switch',
      'With what the message says',
      'The maker of the app then sees messages that are not encrypted. Turned off, apps fetch them themselves.',
    ],
    [
      'push.group_unread_count_by_room',
      'switch',
      'Count rooms, not messages',
      'The number on the app’s icon counts rooms with something unread.',
    ],
  ]),
  ...group('Log', [
    [
      'hearth.log_level',
      'choice',
      'What is logged',
      'More is only needed to find out what goes wrong.',
      [
        { value: 'debug', title: 'Everything' },
        { value: 'info', title: 'What is worth knowing' },
        { value: 'warn', title: 'Only what is odd' },
        { value: 'error', title: 'Only errors' },
      ],
    ],
    ['hearth.log_file_size', 'bytes', 'Size of a log file', 'When a file has grown so large, a new one is begun.'],
    ['hearth.log_files_kept', 'number', 'Log files kept', 'How many full ones are kept.'],
  ]),
];

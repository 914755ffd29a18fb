import type { Row } from './catalogue-row.ts';

/** What the machine does for it. */
export const machineSettings: readonly (readonly [group: string, rows: readonly Row[]])[] = [
  [
    'Other servers',
    [
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
      [
        'federation_verify_certificates',
        'switch',
        'Check certificates of other servers',
        'Without this, anybody on the way can pretend to be another server.',
      ],
      [
        'federation_certificate_verification_whitelist',
        'list',
        'Servers whose certificates are not checked',
        'Names of servers, also such as *.example.com.',
      ],
      [
        'federation_custom_ca_list',
        'list',
        'Authorities to believe',
        'Files in PEM format, in place of those the system knows.',
      ],
      [
        'ip_range_blacklist',
        'list',
        'Addresses not to connect to',
        'Addresses and ranges that nobody gets this server to connect to. Without those of the home network, strangers can reach into it.',
      ],
      [
        'ip_range_whitelist',
        'list',
        'Exceptions from these addresses',
        'Such as the address of a notification server of your own.',
      ],
      [
        'https_proxy',
        'secret',
        'Proxy for outgoing connections',
        'Such as http://user:password@proxy.example.com:8080. For https addresses, other servers among them.',
      ],
      ['http_proxy', 'secret', 'Proxy for unencrypted connections', 'The same for http addresses.'],
      ['no_proxy_hosts', 'list', 'Without the proxy', 'Names, addresses and ranges that are reached directly.'],
    ],
  ],
  [
    'Mail',
    [
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
      ['email.app_name', 'text', 'Name in mails', 'What mails call this server.'],
      ['email.enable_tls', 'switch', 'TLS if it is offered', 'Speaks TLS where the mail server offers it.'],
      ['email.tlsname', 'text', 'Name in its certificate', 'If the certificate of the mail server bears another name.'],
      [
        'email.client_base_url',
        'text',
        'App that links in mails open',
        'An address on the web. It is matrix.to, if left empty.',
      ],
      [
        'email.enable_notifs',
        'switch',
        'Mail about missed messages',
        'People who wish so get a mail when they missed something.',
      ],
      ['email.notif_for_new_users', 'switch', 'From the start', 'New people get such mails without asking for them.'],
      ['email.notif_delay_before_mail', 'duration', 'Wait before a mail', 'How long a message has to be missed.'],
      [
        'enable_3pid_changes',
        'switch',
        'People may change their mail address',
        'Turned off, they keep the one they have.',
      ],
    ],
  ],
  [
    'Bridges',
    [
      [
        'app_service_config_files',
        'list',
        'Bridges and bots',
        'The registration files of bridges, to be given as paths.',
      ],
      [
        'track_appservice_user_ips',
        'switch',
        'Remember addresses of bridges',
        'Where bridges connect from is kept like the addresses of devices.',
      ],
    ],
  ],
  [
    'Log',
    [
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
    ],
  ],
];

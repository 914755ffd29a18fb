/** The people, rooms and worries of a household, as the control API tells them. */
import type {
  AnswerOf,
  CallName,
  DoctorReport,
  Finding,
  Person,
  RoomSummary,
} from '../../server/appliance/contract.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const GB = 1_000_000_000;
const MB = 1_000_000;

/** An answer to every call, for a server that is doing well but for a few things. */
export function household(now = Date.now()): { [C in CallName]: AnswerOf<C> } {
  const started = { jobId: 'job-1' };
  const status = statusOf(now);
  return {
    'POST /session': { token: 'a-token' },
    'DELETE /session': {},
    'POST /links': { link: 'http://127.0.0.1:8010/#/link/another' },
    'GET /status': status,
    'GET /history': historyOf(now, 24),
    'POST /server/pause': { ...status, line: 'paused', reasons: [] },
    'POST /server/resume': status,
    'POST /server/restart': status,
    'POST /server/wake': status,
    'GET /about': {
      version: '0.1.0',
      node: '24.21.0',
      platform: 'Linux (x64)',
      dataDirectory: '/home/nora/.local/share/hearth',
      configFile: '/home/nora/.local/share/hearth/homeserver.yaml',
      specVersions: ['v1.17', 'v1.18', 'v1.19'],
      roomVersions: ['10', '11', '12'],
    },
    'GET /problems': {
      problems: [
        {
          id: 'p1',
          at: now - 2 * HOUR,
          count: 14,
          text: 'The mail server does not take mail from Hearth.',
          nextStep: 'Look at the name and password for mail.',
          page: 'settings',
          detail: '535 5.7.8 Error: authentication failed\n  host: mail.brook.example:587',
        },
        {
          id: 'p2',
          at: now - 9 * HOUR,
          count: 1,
          text: 'A backup was not made because the disk it goes to was not there.',
          nextStep: 'Plug the disk in, then make a backup.',
          page: 'backups',
          detail: 'ENOENT: /media/nora/backup',
        },
      ],
    },
    'POST /problems/{problemId}/dismiss': {},
    'GET /logs': {
      lines: Array.from({ length: 40 }, (_line, at) => ({
        at: now - at * 37_000,
        level: at % 11 === 3 ? ('warn' as const) : at % 17 === 5 ? ('error' as const) : ('info' as const),
        text: ['request answered', 'transaction sent', 'a remote server did not answer', 'media stored'][at % 4] ?? '',
        data: { server: 'mill.example', ms: 12 + at },
      })),
      before: 'older',
    },
    'GET /setup': {
      isDone: true,
      nameIsFinal: true,
      draft: { reach: 'domain', serverName: 'brook.example' },
      suggestions: { homeName: 'hearth.local', addresses: ['192.168.1.20', 'fd00::20'] },
      usernameRules: 'Small letters, digits and . _ = - /, without spaces.',
    },
    'POST /setup/check-name': { verdict: 'good', findings: nameFindings },
    'PUT /setup': {
      isDone: false,
      nameIsFinal: false,
      draft: { reach: 'domain', serverName: 'brook.example' },
      suggestions: { homeName: 'hearth.local', addresses: ['192.168.1.20'] },
      usernameRules: 'Small letters, digits and . _ = - /, without spaces.',
    },
    'POST /setup/check-account': { problems: [] },
    'POST /setup/finish': {
      serverName: 'brook.example',
      userId: '@nora:brook.example',
      clientUrl: 'https://matrix.brook.example',
      clients: [
        {
          name: 'Element X',
          platforms: ['iPhone', 'Android'],
          steps: [
            'Install Element X from the app store.',
            'Press “Sign in manually”, then “Change account provider”.',
            'Type matrix.brook.example and go on.',
            'Sign in as nora.',
          ],
          link: 'https://element.io/download',
        },
        {
          name: 'Element Web',
          platforms: ['Browser'],
          steps: [
            'Open app.element.io.',
            'Press “Sign in”, then “Edit” beside the homeserver.',
            'Type https://matrix.brook.example.',
            'Sign in as nora.',
          ],
          link: 'https://app.element.io',
        },
        {
          name: 'Nheko',
          platforms: ['Windows', 'macOS', 'Linux'],
          steps: ['Start Nheko and press “Login”.', 'Type @nora:brook.example.', 'Sign in with your password.'],
        },
        {
          name: 'FluffyChat',
          platforms: ['iPhone', 'Android', 'Browser'],
          steps: ['Install FluffyChat.', 'Type matrix.brook.example as homeserver.', 'Sign in as nora.'],
        },
      ],
    },
    'PUT /reach': { needsRestart: true },
    'GET /delegation': delegation,
    'POST /doctor': { jobId: 'doctor-1' },
    'GET /doctor': { last: doctorReport(now) },
    'GET /people': { people: people(now) },
    'GET /people/{userId}': {
      ...(people(now)[0] as Person),
      rooms: 12,
      devicesList: [
        {
          deviceId: 'QWERTYUIOP',
          name: 'Element X on Pixel',
          lastSeenAt: now - 3 * 60_000,
          lastSeenIp: '192.168.1.31',
          userAgent: 'Element X/26.10 (Android 16)',
        },
        { deviceId: 'ASDFGHJKLM', name: 'Kitchen tablet', lastSeenAt: now - 6 * DAY, lastSeenIp: '192.168.1.44' },
        { deviceId: 'ZXCVBNMASD', lastSeenAt: now - 90 * DAY },
      ],
    },
    'POST /people/{userId}/password': {},
    'POST /people/{userId}/deactivate': {},
    'PUT /people/{userId}/admin': {},
    'PUT /people/{userId}/locked': {},
    'DELETE /people/{userId}/devices/{deviceId}': {},
    'GET /invitations': {
      invitations: [
        {
          token: 'sunny-garden',
          note: 'For grandmother',
          link: 'https://matrix.brook.example/_hearth/join/sunny-garden',
          qrSvg: TINY_QR,
          usesLeft: 1,
          used: 0,
          expiresAt: now + 6 * DAY,
          createdAt: now - DAY,
        },
        {
          token: 'choir',
          note: 'The choir',
          link: 'https://matrix.brook.example/_hearth/join/choir',
          qrSvg: TINY_QR,
          used: 7,
          createdAt: now - 30 * DAY,
        },
      ],
    },
    'POST /invitations': {
      token: 'fresh',
      link: 'https://matrix.brook.example/_hearth/join/fresh',
      qrSvg: TINY_QR,
      usesLeft: 1,
      used: 0,
      expiresAt: now + 7 * DAY,
      createdAt: now,
    },
    'DELETE /invitations/{token}': {},
    'GET /rooms': { rooms: rooms(now), total: 57, next: 8 },
    'GET /rooms/{roomId}': {
      ...(rooms(now)[0] as RoomSummary),
      topic: 'What is for dinner, and who cooks',
      membersList: [
        { userId: '@nora:brook.example', displayName: 'Nora', membership: 'join', powerLevel: 100 },
        { userId: '@emil:brook.example', displayName: 'Emil', membership: 'join', powerLevel: 50 },
        { userId: '@aunt:mill.example', displayName: 'Aunt Liv', membership: 'invite', powerLevel: 0 },
      ],
      servers: ['brook.example', 'mill.example'],
      events: 18_204,
      stateEvents: 211,
    },
    'POST /rooms/{roomId}/leave': started,
    'POST /rooms/{roomId}/purge': started,
    'PUT /rooms/{roomId}/blocked': {},
    'GET /stranger-invites': {
      invites: [
        {
          userId: '@emil:brook.example',
          roomId: '!prize:lucky.example',
          roomName: 'You have won',
          sender: '@winner:lucky.example',
          senderName: 'Prize Office',
          at: now - 5 * HOUR,
        },
        {
          userId: '@nora:brook.example',
          roomId: '!choir:mill.example',
          roomName: 'Choir',
          sender: '@liv:mill.example',
          senderName: 'Liv',
          at: now - 2 * DAY,
        },
      ],
    },
    'POST /stranger-invites/decline': {},
    'GET /media': {
      media: Array.from({ length: 12 }, (_item, at) => ({
        origin: at % 3 === 2 ? 'mill.example' : 'brook.example',
        mediaId: `media${at}`,
        ...(at % 4 === 3 ? {} : { name: ['summer-at-the-lake.mp4', 'recipe.pdf', 'cat.jpg'][at % 3] ?? '' }),
        type: ['video/mp4', 'application/pdf', 'image/jpeg'][at % 3] ?? '',
        bytes: Math.round((480 * MB) / (at + 1) ** 1.6),
        uploadedBy: '@nora:brook.example',
        createdAt: now - at * 11 * DAY,
        lastAccessAt: now - at * 2 * DAY,
        isQuarantined: at === 7,
        isProtected: at === 1,
      })),
      total: 340,
      next: 12,
    },
    'GET /media/summary': {
      local: { files: 812, bytes: 2.1 * GB },
      remote: { files: 4310, bytes: 5.2 * GB, capBytes: 8 * GB },
      thumbnails: { files: 9200, bytes: 310 * MB },
      freeBytes: 212 * GB,
    },
    'POST /media/remove': { removed: 2, bytes: 480 * MB },
    'POST /media/purge-remote': started,
    'GET /registration': {
      mode: 'closed',
      openIsSafe: false,
      reasons: ['Nothing would keep programs from making accounts by the thousand: set up e-mail or a captcha first.'],
    },
    'PUT /registration': { needsRestart: true },
    'GET /calls': {
      settings: {
        uris: ['turn:turn.brook.example:3478?transport=udp'],
        lifetimeSeconds: 86_400,
        allowGuests: false,
        hasSharedSecret: true,
        hasPassword: false,
      },
    },
    'PUT /calls': { needsRestart: false },
    'POST /calls/credentials': {
      username: '1799999999:hearth',
      password: 'c2VjcmV0IGhtYWM=',
      ttlSeconds: 86_400,
      uris: ['turn:turn.brook.example:3478?transport=udp'],
    },
    'POST /calls/test': started,
    'GET /settings': {
      file: '/home/nora/.local/share/hearth/homeserver.yaml',
      problems: [],
      settings: [
        {
          path: 'public_baseurl',
          group: 'Server',
          title: 'Address for clients',
          help: 'What apps are given as the address of this server.',
          kind: 'text',
          value: 'https://matrix.brook.example',
          default: null,
          isSet: true,
          needsRestart: true,
        },
        {
          path: 'max_upload_size',
          group: 'Media',
          title: 'Largest upload',
          help: 'Files larger than this are refused.',
          kind: 'bytes',
          value: 50 * 2 ** 20,
          default: 50 * 2 ** 20,
          isSet: false,
          needsRestart: false,
        },
        {
          path: 'retention',
          group: 'Media',
          title: 'Keep media of other servers for',
          help: 'What nobody has looked at for this long is fetched again when it is needed.',
          kind: 'duration',
          value: 90 * DAY,
          default: null,
          isSet: true,
          needsRestart: true,
        },
        {
          path: 'presence.enabled',
          group: 'People',
          title: 'Show who is online',
          help: 'Costs a little on every server that people talk with.',
          kind: 'switch',
          value: true,
          default: true,
          isSet: false,
          needsRestart: true,
        },
        {
          path: 'log.level',
          group: 'Logs',
          title: 'How much is logged',
          help: 'More helps when looking for a fault, and fills the disk.',
          kind: 'choice',
          choices: [
            { value: 'info', title: 'The usual' },
            { value: 'debug', title: 'Everything' },
          ],
          value: 'info',
          default: 'info',
          isSet: false,
          needsRestart: false,
        },
        {
          path: 'smtp_pass',
          group: 'E-mail',
          title: 'Password for the mail server',
          help: 'Kept in the configuration file.',
          kind: 'secret',
          value: null,
          default: null,
          isSet: true,
          needsRestart: true,
          problem: 'The mail server does not take this password.',
        },
        {
          path: 'blocked_servers',
          group: 'Server',
          title: 'Servers that are not talked to',
          help: 'Nobody here can join rooms with people of these.',
          kind: 'list',
          value: ['lucky.example'],
          default: [],
          isSet: true,
          needsRestart: false,
        },
        {
          path: 'limit',
          group: 'Server',
          title: 'Largest room to join',
          help: 'Members a room may have.',
          kind: 'number',
          value: 5000,
          default: 5000,
          isSet: false,
          needsRestart: false,
        },
      ],
    },
    'PUT /settings': { needsRestart: true },
    'GET /backups': {
      directory: '/media/nora/backup',
      schedule: { every: 'day', atHour: 3, keep: 7, media: true, hasPassphrase: true, nextAt: now + 9 * HOUR },
      backups: [0, 1, 2].map((at) => ({
        name: `brook.example-${3 - at}.hearth-backup`,
        path: `/media/nora/backup/brook.example-${3 - at}.hearth-backup`,
        bytes: 3.4 * GB - at * 90 * MB,
        madeAt: now - at * DAY - 5 * HOUR,
        serverName: 'brook.example',
        isVerified: at !== 2,
      })),
      freeBytes: 212 * GB,
      estimateBytes: 3.5 * GB,
    },
    'PUT /backups/schedule': {
      directory: '/media/nora/backup',
      schedule: { every: 'week', atHour: 3, keep: 7, media: true, hasPassphrase: true },
      backups: [],
      freeBytes: 212 * GB,
      estimateBytes: 3.5 * GB,
    },
    'POST /backups': started,
    'DELETE /backups/{name}': {},
    'POST /backups/{name}/verify': started,
    'POST /restore': started,
    'GET /recovery-sheet': {
      serverName: 'brook.example',
      signingKey: 'ed25519 a_Kx3f 3xAmpl3',
      keyId: 'ed25519:a_Kx3f',
      passphraseHint: 'the boat',
      madeAt: now,
      html: '<!doctype html><title>Recovery sheet</title><h1>Recovery sheet for brook.example</h1>',
    },
    'GET /jobs': { jobs: [] },
    'POST /jobs/{jobId}/cancel': {},
  };
}

const TINY_QR =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 5 5"><path d="M0 0h2v2H0zM3 0h2v2H3zM0 3h2v2H0zM3 4h1v1H3z"/></svg>';

function statusOf(now: number): AnswerOf<'GET /status'> {
  return {
    line: 'online',
    reasons: [
      { kind: 'reached', text: 'Other servers reached this one 4 minutes ago, and it reaches them.' },
      {
        kind: 'certificate',
        text: 'The certificate is good for another 11 days.',
        nextStep: 'See that it is renewed before then.',
        page: 'reach',
      },
    ],
    serverName: 'brook.example',
    clientUrl: 'https://matrix.brook.example',
    startedAt: now - 3 * DAY - 4 * HOUR,
    version: '0.1.0',
    counts: { people: 5, devices: 11, rooms: 57, messagesToday: 1284 },
    memory: { residentBytes: 164 * MB },
    disk: {
      databaseBytes: 1.4 * GB,
      localMediaBytes: 2.1 * GB,
      remoteMediaBytes: 5.2 * GB,
      backupBytes: 10.1 * GB,
      freeBytes: 212 * GB,
    },
    certificate: { subject: 'matrix.brook.example', expiresAt: now + 11.5 * DAY },
    federation: {
      queued: 38,
      failing: 1,
      catchingUpRooms: 0,
      servers: [
        { name: 'mill.example', state: 'well', lastContactAt: now - 2 * 60_000, queued: 0 },
        {
          name: 'harbour.example',
          state: 'failing',
          lastContactAt: now - 3 * DAY,
          retryAt: now + 40 * 60_000,
          queued: 36,
          reason: 'its certificate has expired',
        },
        {
          name: 'orchard.example:8448',
          state: 'waiting',
          lastContactAt: now - 5 * HOUR,
          retryAt: now + 3 * 60_000,
          queued: 2,
        },
        ...[
          'matrix.org',
          'lighthouse.example',
          'meadow.example',
          'attic.example',
          'a-very-long-name-of-a-server.in-a-village.example',
        ].map((name, at) => ({
          name,
          state: 'well' as const,
          lastContactAt: now - (at + 1) * 17 * 60_000,
          queued: 0,
        })),
      ],
    },
  };
}

/** What went on in the last hours. */
export function historyOf(now: number, hours: number): AnswerOf<'GET /history'> {
  const startsAt = Math.floor(now / HOUR) * HOUR - (hours - 1) * HOUR;
  const busy = (at: number): number => {
    const hour = new Date(startsAt + at * HOUR).getUTCHours();
    return Math.max(0, Math.sin(((hour - 6) / 17) * Math.PI)) * (0.7 + 0.3 * Math.sin(at * 1.7));
  };
  return {
    startsAt,
    messages: Array.from({ length: hours }, (_hour, at) => Math.round(110 * busy(at))),
    activePeople: Array.from({ length: hours }, (_hour, at) => Math.round(5 * busy(at))),
    residentBytes: Array.from({ length: hours }, (_hour, at) => Math.round((140 + 25 * busy(at) + at / 8) * MB)),
  };
}

const nameFindings: Finding[] = [
  { id: 'form', title: 'The name is well formed', verdict: 'good', text: 'brook.example can be a server name.' },
  {
    id: 'dns',
    title: 'The name leads here',
    verdict: 'warning',
    text: 'brook.example has no address yet.',
    nextStep: 'Add an A record for brook.example where your domain is managed; how is shown after setting up.',
  },
];

const delegation: AnswerOf<'GET /delegation'> = {
  serverName: 'brook.example',
  wellKnownServer: '{\n  "m.server": "matrix.brook.example:443"\n}\n',
  wellKnownClient: '{\n  "m.homeserver": {\n    "base_url": "https://matrix.brook.example"\n  }\n}\n',
  records: [
    { type: 'A', name: 'matrix.brook.example', value: '203.0.113.20', why: 'Leads apps and servers to your router.' },
    { type: 'AAAA', name: 'matrix.brook.example', value: '2001:db8::20', why: 'The same for IPv6.' },
    {
      type: 'SRV',
      name: '_matrix-fed._tcp.brook.example',
      value: '10 5 443 matrix.brook.example',
      why: 'Only if you cannot publish the file for servers.',
    },
  ],
  ports: [
    { port: 443, protocol: 'tcp', to: '192.168.1.20:443', why: 'Apps and other servers.' },
    { port: 8448, protocol: 'tcp', to: '192.168.1.20:8448', why: 'Servers that do not read the file.' },
  ],
  snippets: [
    {
      id: 'nginx',
      title: 'nginx',
      where: '/etc/nginx/sites-available/matrix.brook.example',
      language: 'nginx',
      text: 'server {\n  listen 443 ssl;\n  server_name matrix.brook.example;\n  location ~ ^(/_matrix|/_synapse/client) {\n    proxy_pass http://127.0.0.1:8008;\n    proxy_set_header X-Forwarded-For $remote_addr;\n    proxy_set_header X-Forwarded-Proto $scheme;\n    proxy_set_header Host $host:$server_port;\n    client_max_body_size 50M;\n  }\n}\n',
    },
    {
      id: 'caddy',
      title: 'Caddy',
      where: '/etc/caddy/Caddyfile',
      language: 'caddy',
      text: 'matrix.brook.example {\n  reverse_proxy /_matrix/* 127.0.0.1:8008\n}\n',
    },
    {
      id: 'apache',
      title: 'Apache',
      where: '/etc/apache2/sites-available/matrix.conf',
      language: 'apache',
      text: '<VirtualHost *:443>\n  ServerName matrix.brook.example\n  AllowEncodedSlashes NoDecode\n</VirtualHost>\n',
    },
    {
      id: 'haproxy',
      title: 'HAProxy',
      where: '/etc/haproxy/haproxy.cfg',
      language: 'haproxy',
      text: 'backend matrix\n  server matrix 127.0.0.1:8008\n',
    },
    {
      id: 'traefik',
      title: 'Traefik',
      where: 'dynamic.yml',
      language: 'yaml',
      text: 'http:\n  routers:\n    matrix:\n      rule: Host(`matrix.brook.example`)\n',
    },
  ],
};

/** A check that found something of every kind. */
export function doctorReport(now: number): DoctorReport {
  return {
    serverName: 'brook.example',
    startedAt: now - 90_000,
    endedAt: now - 70_000,
    verdict: 'bad',
    summary: 'Apps at home get through; other servers do not.',
    findings: [
      {
        id: 'name',
        title: 'Name',
        verdict: 'good',
        text: 'brook.example leads to 203.0.113.20 and 2001:db8::20.',
        details: ['A 203.0.113.20 (ttl 300)', 'AAAA 2001:db8::20 (ttl 300)'],
      },
      { id: 'well-known', title: 'File for servers', verdict: 'good', text: 'It leads to matrix.brook.example:443.' },
      {
        id: 'port 203.0.113.20:443',
        title: 'Port 443',
        verdict: 'bad',
        text: 'Nobody answers at 203.0.113.20, port 443.',
        nextStep: 'Forward port 443 (TCP) in your router to 192.168.1.20.',
        details: ['connect ETIMEDOUT 203.0.113.20:443'],
      },
      {
        id: 'tls 203.0.113.20:443',
        title: 'Certificate',
        verdict: 'warning',
        text: 'The certificate is good for only 11 more days.',
        nextStep: 'See that it is renewed.',
      },
      { id: 'clock 203.0.113.20:443', title: 'Clock', verdict: 'good', text: 'The clock of this machine is right.' },
      {
        id: 'families',
        title: 'IPv6',
        verdict: 'skipped',
        text: 'This machine has no IPv6, so that way was not tried.',
      },
    ],
  };
}

function people(now: number): Person[] {
  const person = (name: string, at: number, more: Partial<Person> = {}): Person => ({
    userId: `@${name.toLowerCase()}:brook.example`,
    displayName: name,
    isAdmin: false,
    isLocked: false,
    isDeactivated: false,
    isGuest: false,
    createdAt: now - (200 - at) * DAY,
    lastSeenAt: now - at * 7 * HOUR,
    devices: 3 - (at % 3),
    mediaBytes: 900 * MB - at * 130 * MB,
    ...more,
  });
  return [
    person('Nora', 0, { isAdmin: true }),
    person('Emil', 1),
    person('Ida', 2),
    person('Jonas', 3, { isLocked: true }),
    person('Grandmother', 4),
    person('Lodger', 5, { isDeactivated: true, devices: 0 }),
  ];
}

function rooms(now: number): RoomSummary[] {
  const names = [
    'Dinner',
    'Family',
    'Holiday 2026',
    'Choir',
    'School run',
    'Garden',
    'Emil',
    'A room with a rather long name that somebody thought was funny',
  ];
  return names.map((name, at) => ({
    roomId: `!room${at}:brook.example`,
    name,
    ...(at === 3 ? { alias: '#choir:mill.example' } : {}),
    localMembers: [5, 4, 3, 2, 5, 3, 2, 1][at] ?? 1,
    members: [5, 9, 4, 812, 31, 3, 2, 12][at] ?? 2,
    isEncrypted: at !== 3,
    isDirect: at === 6,
    isBlocked: at === 7,
    version: '12',
    bytes: Math.round((220 * MB) / (at + 1)),
    lastActivityAt: now - at * at * 5 * HOUR,
  }));
}

/** What a household consists of: its people, rooms, history and what a check of its server finds. */
import type { AnswerOf, DoctorReport, Finding, Person, RoomSummary } from '../../server/appliance/contract.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const GB = 1_000_000_000;
export const MB = 1_000_000;

export function statusOf(now: number): AnswerOf<'GET /status'> {
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

export const nameFindings: Finding[] = [
  { id: 'form', title: 'The name is well formed', verdict: 'good', text: 'brook.example can be a server name.' },
  {
    id: 'dns',
    title: 'The name leads here',
    verdict: 'warning',
    text: 'brook.example has no address yet.',
    nextStep: 'Add an A record for brook.example where your domain is managed; how is shown after setting up.',
  },
];

export const delegation: AnswerOf<'GET /delegation'> = {
  serverName: 'brook.example',
  wellKnownServer: '{\n  "m.server": "matrix.brook.example:443"\n}\n',
  filesFrom: 'elsewhere',
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

export function people(now: number): Person[] {
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

export function rooms(now: number): RoomSummary[] {
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

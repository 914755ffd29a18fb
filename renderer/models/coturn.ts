const SECRET_BYTES = 32;
/** What coturn relays on. Few enough that a router can forward them. */
export const RELAY_PORTS = { first: 49_152, last: 49_352 } as const;
/** Networks that nobody is to reach through the relay: a TURN server is a way into the house otherwise. */
const INSIDE = [
  '0.0.0.0-0.255.255.255',
  '10.0.0.0-10.255.255.255',
  '100.64.0.0-100.127.255.255',
  '127.0.0.0-127.255.255.255',
  '169.254.0.0-169.254.255.255',
  '172.16.0.0-172.31.255.255',
  '192.168.0.0-192.168.255.255',
  '::1',
  'fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  'fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
];

/** A secret nobody guesses, of letters and digits that no configuration file takes for something else. */
export function makeTurnSecret(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/** The addresses of a TURN server of that name, as apps are given them. */
export function turnUris(host: string): string[] {
  const written = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return [`turn:${written}:3478?transport=udp`, `turn:${written}:3478?transport=tcp`];
}

/** Whether that may be the name or address of a computer. */
export function isHost(host: string): boolean {
  return /^(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)*[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?$|^\[?[0-9a-f:]*:[0-9a-f:.]*\]?$/iu.test(
    host,
  );
}

/** What stands in /etc/turnserver.conf. `behindRouter` is said about the last lines. */
export function coturnConfig({
  realm,
  secret,
  behindRouter,
}: {
  realm: string;
  secret: string;
  behindRouter: string;
}): string {
  return [
    'listening-port=3478',
    `min-port=${RELAY_PORTS.first}`,
    `max-port=${RELAY_PORTS.last}`,
    'fingerprint',
    'use-auth-secret',
    `static-auth-secret=${secret}`,
    `realm=${realm}`,
    'no-multicast-peers',
    ...INSIDE.map((range) => `denied-peer-ip=${range}`),
    `# ${behindRouter}`,
    '# external-ip=203.0.113.5/192.168.1.20',
    // Two callers who both need the relay meet there.
    '# allowed-peer-ip=192.168.1.20',
    '',
  ].join('\n');
}

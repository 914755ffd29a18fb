/** Whether calls can be relayed through a TURN server, found out by having something relayed. */
import { isIP } from 'node:net';
import { DnsError } from '../../../federation/discovery/dns.ts';
import type { Random } from '../../../util/random.ts';
import type { Finding } from '../../contract.ts';
import { placeName, whyNotPublic } from '../../doctor/addresses.ts';
import { isTrusted, judgeCertificate } from '../../doctor/certificate.ts';
import { ConnectError, openTcp, secure } from '../../doctor/connection.ts';
import { bad, findingOf, good, type Remark, skipped, warning } from '../../doctor/finding.ts';
import { explainDns } from '../../doctor/web.ts';
import type { World } from '../../doctor/world.ts';
import { type Credentials, TurnClient, TurnRefusal } from './client.ts';
import type { PeerAddress } from './message.ts';
import { openUdp, overStream, type Transport } from './transport.ts';
import { parseTurnUri, type TurnUri } from './uri.ts';

export interface TurnCheck {
  readonly world: World;
  readonly random: Random;
  readonly credentials: Credentials;
  /** Passwords are made with a secret that this server and the TURN server share. */
  readonly hasSharedSecret: boolean;
  readonly signal: AbortSignal;
}

const MAX_ADDRESSES = 4;
const ECHO_MS = 2_000;

/** Looks at one TURN server. Never rejects for what is wrong with it. */
export async function checkTurn(uri: string, check: TurnCheck): Promise<Finding> {
  const finding = (remark: Remark): Finding => findingOf(`turn ${uri}`, uri, remark);
  const parsed = parseTurnUri(uri);
  if (parsed === undefined) {
    return finding(
      bad(
        `"${uri.slice(0, 200)}" is no address of a TURN server.`,
        'Write it like turn:turn.example.com:3478?transport=udp, or turns:turn.example.com:5349 for TLS.',
      ),
    );
  }
  let addresses: readonly string[];
  try {
    addresses = await addressesOf(parsed.host, check.world);
  } catch (error) {
    if (error instanceof DnsError) return finding(explainDns(parsed.host, error));
    throw error;
  }
  const remarks = await Promise.all(
    addresses
      .slice(0, MAX_ADDRESSES)
      .map(async (address) => ({ address, remark: await checkAddress(parsed, address, check) })),
  );
  const [first] = remarks.toSorted((a, b) => RANK[a.remark.verdict] - RANK[b.remark.verdict]);
  if (first === undefined) return finding(skipped(`${parsed.host} has no address.`));
  const others = remarks.filter((one) => one !== first).map(({ address, remark }) => `${address}: ${remark.text}`);
  return finding({ ...first.remark, details: [...(first.remark.details ?? []), ...others] });
}

/** Phones try all addresses: one that works is enough. */
const RANK = { good: 0, warning: 1, bad: 2, skipped: 3 } as const;

async function addressesOf(host: string, world: World): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const { ipv4, ipv6 } = await world.dns.host(host);
  return [...ipv4, ...ipv6];
}

async function checkAddress(turn: TurnUri, address: string, check: TurnCheck): Promise<Remark> {
  const { world, random, credentials, signal } = check;
  const { port, transport: way, host } = turn;
  let transport: Transport;
  try {
    if (way === 'udp') transport = await openUdp(address, port);
    else {
      const tcp = await openTcp(address, port, world, signal);
      if (way === 'tcp') transport = overStream(tcp);
      else {
        const { socket, tls } = await secure(tcp, host, world, signal);
        if (!isTrusted(tls)) {
          socket.destroy();
          return judgeCertificate(tls, world.clock.now());
        }
        transport = overStream(socket);
      }
    }
  } catch (error) {
    if (error instanceof ConnectError) return explainNoAnswer(error, turn, address);
    throw error;
  }
  const client = new TurnClient({ transport, world, random, credentials });
  const giveUp = (): void => client.close();
  signal.addEventListener('abort', giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return turn.kind === 'stun' ? await tryBinding(client) : await tryRelay(client, check);
  } catch (error) {
    if (error instanceof ConnectError) return explainNoAnswer(error, turn, address);
    if (error instanceof TurnRefusal) return explainRefusal(error, check);
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
    client.close();
  }
}

async function tryBinding(client: TurnClient): Promise<Remark> {
  const mapped = await client.bind();
  if (mapped === undefined) {
    return bad('It answers, but does not say from where we are seen.', 'Check which program answers there.');
  }
  return warning(
    `It tells callers their address (${placeName(mapped.address, mapped.port)}), but relays nothing.`,
    'Where two people cannot reach each other directly, as in mobile networks, calls need a turn: server.',
  );
}

async function tryRelay(client: TurnClient, { world, random }: TurnCheck): Promise<Remark> {
  const startedAt = world.clock.monotonic();
  const { relayed, mapped, isOpen } = await client.allocate();
  const tookMs = Math.round(world.clock.monotonic() - startedAt);
  if (relayed === undefined) {
    return bad(
      'It grants a relay but does not say where.',
      'Tell it which address of its machine to relay from (coturn: relay-ip=<address>), or check which program answers there.',
    );
  }
  const details = [
    `Relay: ${placeName(relayed.address, relayed.port)}`,
    ...(mapped === undefined ? [] : [`We are seen as ${placeName(mapped.address, mapped.port)}`]),
    ...(client.software === undefined ? [] : [`Program: ${client.software}`]),
    `Answered within ${tookMs} ms`,
  ];
  if (isIP(relayed.address) === 6)
    details.push('It relays from IPv6 addresses only, which phones in some networks cannot reach');
  const passed = await tryPassing(client, relayed, random);
  details.push(PASSED[passed]);
  await client.release().catch((error: unknown) => {
    // It ends by itself after ten minutes.
    if (!(error instanceof TurnRefusal) && !(error instanceof ConnectError)) throw error;
    details.push(`Giving the relay back failed: ${error.message}`);
  });
  if (isOpen) {
    return warning(
      'It relays for everybody, without a password: strangers can send their traffic through it.',
      'Switch authentication on. coturn: use-auth-secret and static-auth-secret, and no line with no-auth.',
      details,
    );
  }
  const inside = whyNotPublic(relayed.address);
  if (inside !== undefined) {
    return warning(
      `It relays, but the address it gives out, ${relayed.address}, ${inside}.`,
      'Tell the TURN server its public address. coturn: external-ip=<public address>/<private address>.',
      details,
    );
  }
  if (passed === 'lost') {
    return warning(
      'It grants a relay, but nothing that was sent through it came back.',
      'Open the ports it relays on (UDP 49152 to 65535 unless min-port and max-port say otherwise) in its firewall, and forward them if it is behind a router. From inside the same network this may also be the router.',
      details,
    );
  }
  return good(
    passed === 'through'
      ? 'Calls can be relayed: what was sent through it came back.'
      : 'It grants relays to people of this server. (It does not relay to itself, so that nothing could be sent through.)',
    details,
  );
}

const PASSED = {
  through: 'What was sent through it came back',
  lost: 'What was sent through it did not come back',
  'not-allowed':
    'It does not relay to its own address, where two callers meet who both need it (coturn: allowed-peer-ip=<its address>)',
} as const;

/** Sends something to our own relay, from where it has to come back to us. */
async function tryPassing(client: TurnClient, relayed: PeerAddress, random: Random): Promise<keyof typeof PASSED> {
  try {
    await client.permit(relayed);
  } catch (error) {
    if (error instanceof TurnRefusal) return 'not-allowed';
    throw error;
  }
  return (await client.echo(relayed, random.bytes(24), ECHO_MS)) ? 'through' : 'lost';
}

function explainNoAnswer({ kind, message }: ConnectError, turn: TurnUri, address: string): Remark {
  const place = placeName(address, turn.port);
  const way = turn.transport === 'udp' ? 'UDP' : 'TCP';
  const details = [message];
  switch (kind) {
    case 'refused':
      return bad(
        `Nothing listens on ${place} (${way}).`,
        `Start the TURN server, and check that it listens on port ${turn.port} by ${way}.`,
        details,
      );
    case 'no-way':
      return skipped(`${place} could not be tried: this computer has no way there.`, 'Try from another network.');
    case 'not-tls':
    case 'old-tls':
    case 'tls-alert':
      return bad(
        `${place} does not come to terms about TLS.`,
        'Check that this is the port for TLS (5349 mostly), and that the TURN server has a certificate (coturn: cert and pkey). Without TLS the address begins with turn: instead of turns:.',
        details,
      );
    case 'timeout':
      return bad(
        `${place} does not answer (${way}).`,
        `Open port ${turn.port} for ${way} in the firewall, forward it on the router, and check that the TURN server runs. If it stands in your own network, the router may not lead there from inside: then try a call from mobile data.`,
        details,
      );
    default:
      return bad(
        `What answers on ${place} (${way}) is no TURN server.`,
        'Check the port, and that transport=tcp is only written where the server offers it.',
        details,
      );
  }
}

function explainRefusal({ code, message }: TurnRefusal, { hasSharedSecret }: TurnCheck): Remark {
  const details = [`The server said: ${message}`];
  switch (code) {
    case 401:
    case 431:
    case 441:
      return bad(
        'The TURN server does not accept our name and password.',
        hasSharedSecret
          ? 'Make the shared secret here and on the TURN server the same (coturn: static-auth-secret, with use-auth-secret), and check the clocks of both.'
          : 'Make user name and password here and on the TURN server the same (coturn: user=name:password, with lt-cred-mech).',
        details,
      );
    case 403:
      return bad('The TURN server forbids it.', 'Check which addresses and people it lets in.', details);
    case 300:
      return warning('The TURN server sends us to another one.', 'Name that one here.', details);
    case 437:
    case 486:
    case 508:
      return warning(
        'The TURN server is used to capacity.',
        'Raise its limits (coturn: user-quota, total-quota), or try again later.',
        details,
      );
    case 440:
      return bad(
        'The TURN server has no address to relay from.',
        'Give it the addresses of its machine to relay from (coturn: relay-ip=<address>, once for IPv4 and once for IPv6).',
        details,
      );
    case 442:
      return bad(
        'The TURN server does not relay by UDP, which calls need.',
        'Switch UDP relaying on (coturn: no line with no-udp-relay).',
        details,
      );
    case 0:
      return bad(
        'The TURN server answers with another password than ours.',
        'Check that it is the right server.',
        details,
      );
    default:
      return bad('The TURN server refuses to relay.', 'Look at its log.', details);
  }
}

import { createSocket } from 'node:dgram';
import type { Resolver } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import type { Answer, DecodedPacket } from 'dns-packet';
import type { Clock } from '../../util/clock.ts';
import type { Random } from '../../util/random.ts';
import type { Found } from './timed-cache.ts';

/** A place where a service is offered (RFC 2782). */
export interface SrvRecord {
  readonly priority: number;
  readonly weight: number;
  /** Without a dot at the end; empty: the service is decidedly not offered. */
  readonly target: string;
  readonly port: number;
}

interface QueryNeeds {
  readonly random: Random;
  readonly clock: Clock;
  /** Addresses of name servers, with an optional port. */
  readonly servers: readonly string[];
  /** Asked where a question in our own words gets no answer: it knows more ways, but not how long an answer holds. */
  readonly resolver: Pick<Resolver, 'resolveSrv'>;
}

const ANSWER_TIMEOUT_MS = 2000;
const TRIES = 2;
const MAX_RECORDS = 32;
/** How long it holds that there are none, where the answer does not say, and for answers without a time, ms. */
const NONE_TTL_MS = 300_000;
const UNKNOWN_TTL_MS = 60_000;

/**
 * The SRV records of a name and for how long they hold. Rejects with an error with a `code`, as Node's are, where nobody gives
 * an answer.
 */
export async function querySrv(name: string, needs: QueryNeeds): Promise<Found<readonly SrvRecord[]>> {
  const servers = needs.servers.slice(0, TRIES);
  // A packet may be lost: the only server there is gets asked twice.
  const tries = servers.length === 1 ? [...servers, ...servers] : servers;
  let isSilent = tries.length > 0;
  for (const server of tries) {
    const answer = await ask(server, name, needs);
    if (answer === 'silence') continue;
    const found = answer === 'unusable' ? undefined : readAnswer(answer, name);
    if (found !== undefined) return found;
    isSilent = false;
  }
  // Another way of asking would wait for the same silence again.
  if (isSilent) throw Object.assign(new Error('no name server answers'), { code: 'ETIMEOUT' });
  try {
    const records = await needs.resolver.resolveSrv(name);
    return {
      value: records.slice(0, MAX_RECORDS).map((record) => toRecord({ ...record, target: record.name })),
      ttlMs: UNKNOWN_TTL_MS,
    };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENODATA' || code === 'ENOTFOUND') return { value: [], ttlMs: UNKNOWN_TTL_MS };
    throw error;
  }
}

/** One question to one name server over UDP; `unusable` where the answer is cut off or the server cannot be asked so. */
async function ask(
  server: string,
  name: string,
  { random, clock }: QueryNeeds,
): Promise<DecodedPacket | 'silence' | 'unusable'> {
  const at = readServer(server);
  if (at === undefined) return 'unusable';
  const { decode, encode, RECURSION_DESIRED } = await import('dns-packet');
  const id = random.bytes(2).readUInt16BE();
  const question = { type: 'SRV', name } as const;
  const query = encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [question] });
  const { promise, resolve } = Promise.withResolvers<DecodedPacket | 'silence' | 'unusable'>();
  const socket = createSocket(isIPv6(at.host) ? 'udp6' : 'udp4');
  const timer = clock.after(ANSWER_TIMEOUT_MS, () => resolve('silence'));
  socket.on('error', () => resolve('unusable'));
  socket.on('message', (bytes) => {
    const packet = tryDecode(decode, bytes);
    const [asked] = packet?.questions ?? [];
    // Anybody may send to our port: it must be the answer to this question.
    if (packet?.id !== id || packet.type !== 'response' || asked?.name.toLowerCase() !== name.toLowerCase()) return;
    resolve(packet.flag_tc ? 'unusable' : packet);
  });
  // Connected, the socket takes packets from this server only.
  socket.connect(at.port, at.host, () => socket.send(query));
  try {
    return await promise;
  } finally {
    timer.cancel();
    socket.close();
  }
}

function tryDecode(decode: (bytes: Buffer) => DecodedPacket, bytes: Buffer): DecodedPacket | undefined {
  try {
    return decode(bytes);
  } catch {
    // Whatever it is, it is not the answer; the real one may still come.
    return undefined;
  }
}

function readServer(server: string): { host: string; port: number } | undefined {
  const [, bracketed, plain, port = '53'] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(server) ?? [];
  const host = bracketed ?? plain ?? server;
  return isIP(host) === 0 ? undefined : { host, port: Number(port) };
}

/** Undefined where the name server could not answer. */
function readAnswer(packet: DecodedPacket, name: string): Found<readonly SrvRecord[]> | undefined {
  const { rcode } = packet as { rcode?: string };
  if (rcode !== 'NOERROR' && rcode !== 'NXDOMAIN') return undefined;
  const records: SrvRecord[] = [];
  let ttl = Infinity;
  const aliases = aliasesOf(packet.answers ?? [], name);
  for (const answer of packet.answers ?? []) {
    if (answer.type !== 'SRV' || !aliases.has(answer.name.toLowerCase()) || records.length === MAX_RECORDS) continue;
    const { priority = 0, weight = 0, port, target } = answer.data;
    records.push(toRecord({ priority, weight, port, target }));
    ttl = Math.min(ttl, answer.ttl ?? 0);
  }
  return { value: records, ttlMs: ttl === Infinity ? negativeTtl(packet) : ttl * 1000 };
}

/** The name and those it is an alias of. */
function aliasesOf(answers: readonly Answer[], name: string): ReadonlySet<string> {
  const names = new Set([name.toLowerCase()]);
  for (const answer of answers) {
    if (answer.type === 'CNAME' && names.has(answer.name.toLowerCase())) names.add(answer.data.toLowerCase());
  }
  return names;
}

/** How long it holds that there is nothing (RFC 2308, section 5), ms. */
function negativeTtl({ authorities }: DecodedPacket): number {
  for (const record of authorities ?? []) {
    if (record.type === 'SOA') return Math.min(record.ttl ?? Infinity, record.data.minimum ?? Infinity) * 1000;
  }
  return NONE_TTL_MS;
}

function toRecord({ priority, weight, target, port }: SrvRecord): SrvRecord {
  return { priority, weight, target: target.replace(/\.$/, ''), port };
}

/**
 * The places in the order in which to try them (RFC 2782, "Usage rules"): by priority, those of one priority by chance
 * according to their weight. Empty where none is offered.
 */
export function orderServices(records: readonly SrvRecord[], random: Random): SrvRecord[] {
  const byPriority = Map.groupBy(
    records.filter(({ target, port }) => target !== '' && port > 0),
    ({ priority }) => priority,
  );
  const ordered: SrvRecord[] = [];
  for (const [, group] of [...byPriority].sort(([a], [b]) => a - b)) {
    // Those without a weight come first, so that they have a small chance too.
    const left = group.sort((a, b) => a.weight - b.weight);
    while (left.length > 0) {
      const total = left.reduce((sum, { weight }) => sum + weight, 0);
      let pick = Math.floor((random.bytes(4).readUInt32BE() / 2 ** 32) * (total + 1));
      let index = left.findIndex(({ weight }) => (pick -= weight) <= 0);
      if (index === -1) index = left.length - 1;
      ordered.push(...left.splice(index, 1));
    }
  }
  return ordered;
}

/** One address under which other servers look for a server, from the connection to its signing keys. */
import { isIPv6 } from 'node:net';
import { readServerKeys, type ServerKeysAnswer } from '../../federation/key-ring/server-keys.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import type { Finding } from '../contract.ts';
import { placeName, whyNotPublic } from './addresses.ts';
import { isTrusted, judgeCertificate, type TlsFacts } from './certificate.ts';
import { ConnectError, openTcp, type Secured, secure } from './connection.ts';
import { type Answer, AnswerError, exchange } from './exchange.ts';
import { explainAnswer, explainConnect, explainTls, mayCall } from './explain.ts';
import { bad, findingOf, good, type Remark, warning } from './finding.ts';
import type { Look } from './web.ts';

export interface Place {
  readonly address: string;
  readonly port: number;
  /** What the certificate must be for, and SNI asks for. */
  readonly tlsName: string;
  readonly hostHeader: string;
  /** Whose address it is: the name's own, or one that records or a file lead to. */
  readonly host: string;
}

export interface PlaceReport {
  readonly place: Place;
  readonly findings: readonly Finding[];
  /** Somebody there takes connections. */
  readonly isReached: boolean;
  /** Other servers can use it: a certificate that counts, and the right server with its keys. */
  readonly isUsable: boolean;
  readonly keys: ServerKeysAnswer | undefined;
  readonly tls: TlsFacts | undefined;
}

const MINUTE_MS = 60_000;
/** A server whose clock is this far off makes trouble: its keys and events seem to be of another time. */
const SKEW_MS = 2 * MINUTE_MS;
/** A room ID with a slash in it: what a proxy that decodes paths takes apart. */
export const TELLING_PATH = '/_matrix/federation/v1/state/%21doctor%2Fcheck%3Ahearth.invalid?event_id=%24none';

const SPLIT =
  ' If only your own router gives this answer, and others get another, look from outside: on a phone with Wi-Fi switched off.';

/** Looks at one address. Never rejects for what is wrong there. */
export async function examinePlace(server: ServerName, place: Place, look: Look): Promise<PlaceReport> {
  const { address, port, tlsName } = place;
  const { world, signal, view } = look;
  const name = placeName(address, port);
  const family = isIPv6(address) ? 'IPv6' : 'IPv4';
  const findings: Finding[] = [];
  const note = (kind: string, title: string, remark: Remark): Remark => {
    findings.push(findingOf(`${kind} ${name}`, title, remark));
    return remark;
  };
  const report = (rest: Partial<PlaceReport>): PlaceReport => ({
    place,
    findings,
    isReached: false,
    isUsable: false,
    keys: undefined,
    tls: undefined,
    ...rest,
  });

  const inside = whyNotPublic(address);
  if (inside !== undefined) {
    note(
      'scope',
      `Address ${address}`,
      bad(
        `${address} ${inside}.`,
        family === 'IPv4'
          ? `Have the name point to the address that your router has on the internet (any "what is my IP" page shows it) and forward the port to this computer. Where the provider gives no such address, use IPv6 or a tunnel.${SPLIT}`
          : `Have the name point to the public IPv6 address of the server, one that begins with 2 or 3.${SPLIT}`,
      ),
    );
  }

  if (!mayCall(address, place.host, view)) return report({});

  let secured: Secured;
  try {
    const tcp = await openTcp(address, port, world, signal, place.host);
    note('port', `Port ${port} of ${address}`, good(`${name} takes connections.`));
    secured = await secure(tcp, tlsName, world, signal);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const isReached = findings.some(({ id }) => id.startsWith('port '));
    if (isReached) note('tls', `Certificate at ${name}`, explainTls(error, place, tlsName));
    else note('port', `Port ${port} of ${address}`, explainConnect(error, place, view));
    return report({ isReached });
  }
  const { tls } = secured;
  note('tls', `Certificate at ${name}`, judgeCertificate(tls, world.clock.now()));

  let version: Answer;
  try {
    version = await askSecured(secured, place, '/_matrix/federation/v1/version', look);
  } catch (error) {
    if (!(error instanceof AnswerError)) throw error;
    note('answer', `Server at ${name}`, explainAnswer(error, name));
    return report({ isReached: true, tls });
  }
  const answers = note('answer', `Server at ${name}`, judgeVersion(version, name));
  if (answers.verdict === 'bad') return report({ isReached: true, tls });

  const keys = await askAgain(place, '/_matrix/key/v2/server', look);
  const read = await judgeKeys(keys, server, name, world.clock.now());
  note('keys', `Signing keys at ${name}`, read.remark);
  const skew = judgeClock(version, world.clock.now(), view.isOwn);
  if (skew !== undefined) note('clock', `Clock at ${name}`, skew);
  const path = await askAgain(place, TELLING_PATH, look);
  note('path', `Addresses of requests at ${name}`, judgePath(path));
  return report({ isReached: true, isUsable: isTrusted(tls) && read.keys !== undefined, keys: read.keys, tls });
}

/** A request over a connection of its own. */
export async function askPlace(
  place: Place,
  path: string,
  look: Look,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const { world, signal } = look;
  const tcp = await openTcp(place.address, place.port, world, signal, place.host);
  return askSecured(await secure(tcp, place.tlsName, world, signal), place, path, look, headers);
}

/** The same; what went wrong, where it went wrong. */
async function askAgain(place: Place, path: string, look: Look): Promise<Answer | AnswerError | ConnectError> {
  try {
    return await askPlace(place, path, look);
  } catch (error) {
    if (error instanceof AnswerError || error instanceof ConnectError) return error;
    throw error;
  }
}

function askSecured(
  { socket }: Secured,
  { hostHeader }: Place,
  path: string,
  { world, signal }: Look,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return exchange(socket, { path, host: hostHeader, headers }, world, signal);
}

function judgeVersion({ status, json, headers }: Answer, name: string): Remark {
  const server = json?.['server'];
  if (status === 200 && typeof server === 'object' && server !== null && !Array.isArray(server)) {
    const { name: program, version } = server as { name?: unknown; version?: unknown };
    const called = [program, version].filter((part) => typeof part === 'string').join(' ');
    return good(`A Matrix server answers at ${name}${called === '' ? '' : ` (${called.slice(0, 100)})`}.`);
  }
  const details = [`Status ${status}, ${headers['content-type'] ?? 'no content type'}`];
  if (status === 502 || status === 503 || status === 504) {
    return bad(
      `A proxy answers at ${name}, but it does not get through to the Matrix server behind it.`,
      'Look whether Hearth runs, and whether the proxy passes requests on to the port that Hearth listens on.',
      details,
    );
  }
  if (status >= 300 && status < 400) {
    return bad(
      `${name} redirects other servers elsewhere, which they do not follow.`,
      'Have the proxy pass /_matrix on instead of redirecting it.',
      [...details, `To ${headers['location'] ?? 'nowhere'}`],
    );
  }
  if (status === 401 || status === 403) {
    return bad(
      `${name} keeps other servers out (status ${status}).`,
      'Except /_matrix from passwords, country blocks, bot checks and the like in the proxy.',
      details,
    );
  }
  return bad(
    `A web server answers at ${name}, but it is no Matrix server.`,
    'Have the proxy pass everything below /_matrix on to Hearth, unchanged; the delegation page has the text for it.',
    details,
  );
}

async function judgeKeys(
  answer: Answer | AnswerError | ConnectError,
  server: ServerName,
  name: string,
  now: number,
): Promise<{ remark: Remark; keys: ServerKeysAnswer | undefined }> {
  const failed = (remark: Remark): { remark: Remark; keys: undefined } => ({ remark, keys: undefined });
  if (answer instanceof AnswerError) return failed(explainAnswer(answer, `The key page of ${name}`));
  if (answer instanceof Error) {
    return failed(
      bad(
        `${name} took one connection and not the next.`,
        'Look whether something there limits how many connections may come from one address.',
        [answer.message],
      ),
    );
  }
  const { status, json } = answer;
  if (status !== 200 || json === undefined) {
    return failed(
      bad(
        `${name} does not show its signing keys (status ${status}), so nobody can check what it says.`,
        'Have the proxy pass /_matrix/key on to Hearth as well; passing on all of /_matrix is simplest.',
      ),
    );
  }
  const named = json['server_name'];
  if (typeof named === 'string' && named !== server) {
    return failed(
      bad(
        `Another server answers there: it calls itself ${named.slice(0, 255)}, not ${server}.`,
        `Either the records of ${server} lead to the wrong place, or the proxy passes its requests on to the wrong server, or the server there was set up with another server name.`,
      ),
    );
  }
  const read = await readServerKeys(json, server, now);
  if (typeof read === 'string') {
    return failed(
      bad(
        `The signing keys shown at ${name} are not valid: ${read}.`,
        'Nothing in between may change what the server says: switch off filters of the proxy that rewrite JSON. If that is not it, the server’s signing key file is damaged.',
      ),
    );
  }
  const ids = read.keys.filter(({ expired }) => !expired).map(({ keyId }) => keyId);
  if (read.validUntil <= now) {
    return failed(
      bad(
        `The signing keys shown at ${name} are out of date since ${new Date(read.validUntil).toISOString()}.`,
        'Check the clock of the server, and that no proxy keeps an old copy of /_matrix/key (caching has to be off for it).',
      ),
    );
  }
  const until = `Good until ${new Date(read.validUntil).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  return { keys: read, remark: good(`It is ${server}, with valid signing keys.`, [`Keys: ${ids.join(', ')}`, until]) };
}

function judgeClock({ headers }: Answer, now: number, isOwn: boolean): Remark | undefined {
  const at = Date.parse(headers['date'] ?? '');
  if (Number.isNaN(at)) return undefined;
  const off = at - now;
  if (Math.abs(off) <= SKEW_MS) {
    return good(
      isOwn
        ? 'The clock of what answers there and the one of this computer agree. (If both are one, that does not say that it is right: look at another server to compare.)'
        : 'Its clock and the one of this computer agree.',
    );
  }
  const minutes = Math.round(Math.abs(off) / MINUTE_MS);
  return warning(
    `Its clock is ${minutes} minutes ${off > 0 ? 'ahead of' : 'behind'} the one of this computer.`,
    'Have both computers set their clocks by the internet (NTP). Messages with a wrong time end up in the wrong order, and keys seem to be out of date.',
  );
}

/** Whether a path arrives as it was sent: signatures cover it, so that a proxy that "cleans it up" breaks every request. */
function judgePath(answer: Answer | AnswerError | ConnectError): Remark {
  if (answer instanceof Error) {
    return warning('It could not be seen whether addresses of requests arrive unchanged.', 'Run the check again.', [
      answer.message,
    ]);
  }
  const { status, json } = answer;
  const errcode = json?.['errcode'];
  if (typeof errcode === 'string' && errcode !== 'M_UNRECOGNIZED') {
    return good('Addresses of requests arrive unchanged, escaped slashes too.');
  }
  const sign = [`Status ${status}${typeof errcode === 'string' ? `, ${errcode}` : ''}`];
  return bad(
    'The proxy changes the addresses of requests on the way: one with an escaped slash (%2F) does not arrive.',
    'Switch that off. nginx: no path after the port in proxy_pass. Apache: AllowEncodedSlashes NoDecode, and nocanon after ProxyPass. Traefik: allow encoded slashes at the entry point.',
    sign,
  );
}

/** What can only be seen of one's own server: whether what answers outside is this one, and how requests arrive here. */
import { isIP } from 'node:net';
import { encodeBase64 } from '../../matrix/base64.ts';
import type { Finding } from '../contract.ts';
import { placeName } from './addresses.ts';
import { ConnectError, openTcp, secure } from './connection.ts';
import { askPlace, type Place, type PlaceReport } from './endpoint.ts';
import { type Answer, AnswerError, exchange } from './exchange.ts';
import { bad, findingOf, good, type Remark, skipped, warning } from './finding.ts';
import type { Echo, OwnListener, OwnServer } from './port.ts';
import type { Look } from './web.ts';

/** Our own server, asked on this machine. */
export async function examineListeners(own: OwnServer, look: Look): Promise<Finding[]> {
  if (own.listeners.length === 0 && own.isBySocket) {
    const text = 'Hearth listens on a Unix socket, for a proxy on this computer; it was not asked there.';
    return [findingOf('local', 'Hearth on this computer', skipped(text))];
  }
  if (own.listeners.length === 0) {
    const remark = bad(
      'Hearth listens on no port for other servers.',
      'Add "federation" to the names of a listener in the settings (listeners), and start it again.',
    );
    return [findingOf('local', 'Hearth on this computer', remark)];
  }
  return Promise.all(
    own.listeners.map(async (listener) => {
      const place = placeName(listener.address, listener.port);
      return findingOf(`local ${place}`, `Hearth on this computer (${place})`, await askListener(listener, own, look));
    }),
  );
}

async function askListener(listener: OwnListener, own: OwnServer, look: Look): Promise<Remark> {
  const { address, port, tls } = listener;
  const place = placeName(address, port);
  let answer: Answer;
  try {
    const tcp = await openTcp(address, port, look.world, look.signal);
    const socket = tls ? (await secure(tcp, own.serverName.replace(/:\d+$/, ''), look.world, look.signal)).socket : tcp;
    const asked = { path: '/_matrix/key/v2/server', host: own.serverName };
    answer = await exchange(socket, asked, look.world, look.signal);
  } catch (error) {
    if (!(error instanceof ConnectError) && !(error instanceof AnswerError)) throw error;
    return bad(
      `Hearth does not answer on ${place}.`,
      'Start it, or continue it if it is paused; if it says that it runs, look at its log.',
      [error.message],
    );
  }
  const { status, json } = answer;
  if (status !== 200 || json?.['server_name'] !== own.serverName || !showsKeys(json['verify_keys'], own)) {
    return bad(
      `Another program answers on ${place}, not this Hearth.`,
      `Find out what listens on port ${port} and stop it, or give Hearth another port in the settings.`,
      [`Status ${status}`],
    );
  }
  return good(`Hearth answers on ${place} with its own signing key.`);
}

function showsKeys(shown: unknown, own: OwnServer): boolean {
  if (typeof shown !== 'object' || shown === null) return false;
  const entries = shown as Readonly<Record<string, { key?: unknown } | null>>;
  return Object.entries(own.keys).every(([keyId, key]) => entries[keyId]?.key === key);
}

/** Whether the places that others are led to belong to this server. */
export async function examineOwnPlaces(own: OwnServer, places: readonly PlaceReport[], look: Look): Promise<Finding[]> {
  const usable = places.filter(({ keys }) => keys !== undefined);
  const findings = usable.map(({ place, keys }) => {
    const name = placeName(place.address, place.port);
    const shown = new Map(keys?.keys.map(({ keyId, publicKey }) => [keyId as string, encodeBase64(publicKey)]));
    const isOurs = Object.entries(own.keys).every(([keyId, key]) => shown.get(keyId) === key);
    return findingOf(
      `same ${name}`,
      `This server at ${name}`,
      isOurs
        ? good(`What answers at ${name} has the signing key of this server.`)
        : bad(
            `At ${name} a server answers to the name ${own.serverName} that is not this one: it has another signing key.`,
            'If there was a server of that name before, switch it off, or bring its signing key over (settings, signing_key_path). Two servers of one name break both.',
          ),
    );
  });
  const [first] = usable;
  if (first === undefined) return findings;
  findings.push(...(await examineArrival(own, first.place, look)));
  return findings;
}

async function examineArrival(own: OwnServer, place: Place, look: Look): Promise<Finding[]> {
  const name = placeName(place.address, place.port);
  const title = `How requests arrive through ${name}`;
  if (own.echo === undefined) {
    return [
      findingOf(
        'arrival',
        title,
        skipped('How requests arrive could not be seen.', 'Run the check in Hearth itself while the homeserver runs.'),
      ),
    ];
  }
  const prepared = own.echo.prepare();
  const { path } = prepared;
  const authorization = own.sign({ method: 'GET', uri: path, destination: own.serverName });
  let answer: Answer;
  try {
    answer = await askPlace(place, path, look, { authorization });
  } catch (error) {
    if (!(error instanceof AnswerError) && !(error instanceof ConnectError)) throw error;
    return [
      findingOf(
        'arrival',
        title,
        warning(`A request through ${name} did not come back.`, 'Run the check again.', [error.message]),
      ),
    ];
  } finally {
    prepared.forget();
  }
  const echo = readEcho(answer);
  if (echo === undefined) {
    const remark = bad(
      `A request to ${name} does not arrive at this Hearth as it was sent.`,
      'Have the proxy pass /_matrix on unchanged. nginx: no path after the port in proxy_pass. Apache: AllowEncodedSlashes NoDecode, and nocanon after ProxyPass. If another Hearth answers there with the same key, switch one of the two off.',
      [`Status ${answer.status}`],
    );
    return [findingOf('arrival', title, remark)];
  }
  const arrival =
    echo.uri === path
      ? good('Requests arrive as they were sent.', [`Host: ${echo.host}`])
      : bad(
          'The proxy rewrites the addresses of requests, so that no signature of another server is right.',
          'Switch that off. nginx: no path after the port in proxy_pass. Apache: nocanon after ProxyPass.',
          [`Sent: ${path.slice(-30)}`, `Arrived: ${echo.uri.slice(-30)}`],
        );
  const proof =
    echo.authorization === authorization
      ? good('The signatures of other servers arrive.')
      : bad(
          `The proxy ${echo.authorization === undefined ? 'takes away' : 'changes'} the header in which other servers sign their requests (Authorization), so that none of them gets in.`,
          'Have the proxy ask for no password below /_matrix, and leave the header Authorization as it is. nginx: no auth_basic and no proxy_set_header Authorization there.',
          [`Arrived: ${echo.authorization?.slice(0, 20) ?? 'nothing'}`],
        );
  return [
    findingOf('arrival', title, arrival),
    findingOf('signatures', 'Signatures of requests', proof),
    findingOf('forwarded', 'Who is asking', judgeForwarded(echo, own)),
  ];
}

function readEcho({ status, json }: Answer): Echo | undefined {
  if (status !== 200 || json === undefined) return undefined;
  const { uri, host, ip, forwardedFor, forwardedProto, authorization } = json as Partial<Echo>;
  return typeof uri === 'string' && typeof host === 'string' && typeof ip === 'string'
    ? { uri, host, ip, forwardedFor, forwardedProto, authorization }
    : undefined;
}

/** Behind a proxy every request seems to come from it, unless it says otherwise and is believed. */
function judgeForwarded({ ip, forwardedFor, forwardedProto }: Echo, { listeners }: OwnServer): Remark {
  const isPlain = listeners.every(({ tls }) => !tls);
  const details = [`Seen as ${ip}`, `X-Forwarded-For: ${forwardedFor ?? 'none'}`];
  if (!isPlain && forwardedFor === undefined) return good('Hearth sees who is asking.', details);
  if (forwardedFor === undefined) {
    return warning(
      'The proxy does not say who is asking: everybody seems to come from the proxy, and limits meant for one hit all.',
      'Have the proxy set the header X-Forwarded-For to the address of the caller, and X-Forwarded-Proto to https.',
      details,
    );
  }
  if (isIP(ip) !== 0 && !forwardedFor.includes(ip)) {
    return warning(
      'The proxy says who is asking, but Hearth is not told to believe it.',
      'Set x_forwarded: true for that listener in the settings, and have it listen for the proxy only (bind_addresses).',
      details,
    );
  }
  if (forwardedProto !== undefined && forwardedProto !== 'https') {
    return warning(
      `The proxy says that requests came by ${forwardedProto.slice(0, 20)}, though they came by https.`,
      'Have the proxy set the header X-Forwarded-Proto to https.',
      details,
    );
  }
  return good('Hearth learns from the proxy who is asking.', details);
}

/** Whether another server takes a request of ours: it fetches our keys for that, so it is a look from outside. */
export async function examineAcceptance(
  own: OwnServer,
  server: OwnServer['serverName'],
  place: Place,
  look: Look,
): Promise<Finding> {
  const uri = `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(`@hearth-doctor:${server}`)}`;
  const finding = (remark: Remark): Finding => findingOf('accepted', 'Requests of this server', remark);
  let answer: Answer;
  try {
    const authorization = own.sign({ method: 'GET', uri, destination: server });
    answer = await askPlace(place, uri, look, { authorization });
  } catch (error) {
    if (!(error instanceof AnswerError) && !(error instanceof ConnectError)) throw error;
    return finding(warning(`${server} did not answer a request of ours.`, 'Run the check again.', [error.message]));
  }
  const { status, json } = answer;
  const details = [`Status ${status}`, ...(typeof json?.['error'] === 'string' ? [json['error'].slice(0, 300)] : [])];
  if (status === 200 || status === 404) {
    return finding(good(`${server} takes requests of ${own.serverName}, so it can reach and check us.`, details));
  }
  if (status === 401) {
    return finding(
      bad(
        `${server} cannot check that we are ${own.serverName}.`,
        `Most likely it does not reach our server to fetch its keys: run this check for ${own.serverName}.`,
        details,
      ),
    );
  }
  if (status === 403) {
    return finding(
      warning(
        `${server} wants nothing to do with ${own.serverName}.`,
        'Whoever runs it has closed it to us, or to most servers; only they can change that.',
        details,
      ),
    );
  }
  return finding(warning(`${server} answers a request of ours with status ${status}.`, 'Try again later.', details));
}

/** The way of clients: `.well-known/matrix/client`, and the client API it leads to. */
import type { ServerName } from '../../matrix/identifiers.ts';
import type { Finding } from '../contract.ts';
import { type Remark, bad, findingOf, good, skipped, warning } from './finding.ts';
import { askUpload } from './upload.ts';
import type { OwnServer } from './port.ts';
import { hostOf, type Look, lookEverywhere, type Page, PageError, type Wanted, wellKnownUrl } from './web.ts';
import { BYTE_ORDER_MARKS } from './well-known.ts';

/** As a web client asks: from a page of another origin. */
const FROM_A_PAGE = { origin: 'https://app.element.io' };
const SLIDING_SYNC = 'org.matrix.simplified_msc3575';
/** What a browser asks before it sends a request with an access token. */
const BEFOREHAND: Wanted = {
  method: 'OPTIONS',
  headers: {
    ...FROM_A_PAGE,
    'access-control-request-method': 'PUT',
    'access-control-request-headers': 'authorization,content-type',
  },
};

/**
 * How clients find the server of a name (spec: client-server API, "Well-known URIs"). Where the file leads nowhere, what our
 * own server says of where it is is tried.
 */
export async function examineClients(
  name: ServerName,
  host: string,
  own: OwnServer | undefined,
  look: Look,
): Promise<Finding[]> {
  const file = await readFile(host, look);
  const findings = [findingOf('client-file', 'Address for clients', file.remark)];
  const baseUrl = file.baseUrl ?? own?.clientUrl;
  if (baseUrl === undefined) return findings;
  const base = baseUrl.replace(/\/+$/, '');
  const url = URL.parse(`${base}/_matrix/client/versions`);
  if (url === null) return findings;
  const versions = await askVersions(url, look);
  findings.push(findingOf('client-api', 'Client connections', versions));
  if (versions.verdict === 'bad' || versions.verdict === 'skipped') return findings;
  const [browsers, path, upload] = await Promise.all([
    askBeforehand(new URL(`${base}/_matrix/client/v3/account/whoami`), look),
    askAlias(new URL(`${base}/_matrix/client/v3/directory/room/${encodeURIComponent(`#doctor/check:${name}`)}`), look),
    own === undefined ? undefined : askUpload(new URL(`${base}/_matrix/media/v3/upload`), own.maxUploadBytes, look),
  ]);
  if (browsers !== undefined) findings.push(findingOf('client-browser', 'Apps in a browser', browsers));
  if (path !== undefined) findings.push(findingOf('client-path', 'Addresses of requests of apps', path));
  if (upload !== undefined) findings.push(findingOf('client-upload', 'Sending files', upload));
  return findings;
}

/** Whether browsers let web apps send requests with an access token (the "preflight" of CORS). */
async function askBeforehand(url: URL, look: Look): Promise<Remark | undefined> {
  const page = await seeFirst(url, look, BEFOREHAND);
  if (page instanceof PageError) return undefined;
  const { status, headers } = page.answer;
  const named = (header: string): string[] =>
    (headers[header] ?? '').split(',').map((each) => each.trim().toLowerCase());
  const isAllowed =
    status >= 200 &&
    status < 300 &&
    headers['access-control-allow-origin'] === '*' &&
    named('access-control-allow-headers').includes('authorization');
  if (isAllowed) return good('Apps that run in a browser can sign in and send.');
  return warning(
    `Apps that run in a browser cannot sign in at ${url.origin}: the question that browsers ask beforehand (OPTIONS) is not answered as it must be.`,
    'Have the proxy pass requests with the method OPTIONS on below /_matrix, as all others, and take out what it does to headers that begin with Access-Control.',
    [
      `Status ${status}`,
      ...['origin', 'headers', 'methods'].map(
        (what) => `Access-Control-Allow-${what}: ${headers[`access-control-allow-${what}`] ?? 'none'}`,
      ),
    ],
  );
}

/** Whether an address with an escaped slash and an escaped # arrives: room names and IDs of events hold such. */
async function askAlias(url: URL, look: Look): Promise<Remark | undefined> {
  const page = await seeFirst(url, look);
  if (page instanceof PageError) return undefined;
  const { status, json } = page.answer;
  const errcode = json?.['errcode'];
  if (typeof errcode === 'string' && errcode !== 'M_UNRECOGNIZED') {
    return good('Addresses of requests of apps arrive unchanged, escaped slashes too.');
  }
  return bad(
    `The proxy at ${url.host} changes the addresses of requests: one with an escaped slash (%2F) does not arrive, so that some rooms and messages cannot be opened.`,
    'Switch that off. nginx: no path after the port in proxy_pass. Apache: AllowEncodedSlashes NoDecode, and nocanon after ProxyPass. Traefik: allow encoded slashes at the entry point.',
    [`Status ${status}${typeof errcode === 'string' ? `, ${errcode}` : ''}`],
  );
}

async function readFile(host: string, look: Look): Promise<{ baseUrl: string | undefined; remark: Remark }> {
  const url = wellKnownUrl(host, 'client');
  if (url === undefined) {
    const remark = skipped(
      `No web address begins with ${host}, so apps cannot look there; people have to type the address.`,
    );
    return { baseUrl: undefined, remark };
  }
  const page = await seeFirst(url, look);
  if (page instanceof PageError) {
    const { text, verdict, nextStep, details = [] } = page.remark;
    const serve = `Serve the file at ${url.href}. Without it people have to type the address of the server when they sign in.`;
    // That nobody answers there may be meant; a certificate or a redirect that is wrong is not.
    const step = page.isAboutTheWay && verdict === 'bad' ? serve : (nextStep ?? serve);
    const remark =
      verdict === 'bad'
        ? warning(`Clients do not learn where the server is: ${text}`, step, details)
        : warning(`Whether clients learn where the server is could not be seen: ${text}`, step, details);
    return { baseUrl: undefined, remark };
  }
  const { status, headers, json, body } = page.answer;
  const nothing = (text: string, nextStep: string): { baseUrl: undefined; remark: Remark } => ({
    baseUrl: undefined,
    remark: warning(text, nextStep),
  });
  if (status === 404) {
    return nothing(
      `${host} does not tell clients where the server is.`,
      `Serve the file that the delegation page shows at ${url.href}. Without it people have to type the address of the server when they sign in.`,
    );
  }
  if (BYTE_ORDER_MARKS.some((mark) => body.subarray(0, mark.length).equals(mark))) {
    return nothing(
      `${url.href} begins with invisible bytes (a byte order mark) that JSON may not begin with.`,
      'Save it once more as UTF-8 without byte order mark: in the Windows editor choose the encoding "UTF-8", not "UTF-8 with BOM".',
    );
  }
  if (status !== 200 || json === undefined) {
    return nothing(
      `${url.href} should tell clients where the server is, but does not (status ${status}${json === undefined ? ', no JSON' : ''}).`,
      'Serve exactly the file that the delegation page shows. Clients that meet a broken file refuse to go on.',
    );
  }
  const section = json['m.homeserver'];
  const named =
    typeof section === 'object' && section !== null && !Array.isArray(section)
      ? (section as { base_url?: unknown }).base_url
      : undefined;
  const parsed = typeof named === 'string' ? URL.parse(named) : null;
  if (typeof named !== 'string' || parsed === null || !/^https?:$/.test(parsed.protocol)) {
    return nothing(
      `${url.href} names no address for clients: "m.homeserver" has no proper "base_url".`,
      'Write it as {"m.homeserver": {"base_url": "https://matrix.example.com"}}.',
    );
  }
  const details = [`Content type: ${headers['content-type'] ?? 'none'}`];
  if (headers['access-control-allow-origin'] !== '*') {
    return {
      baseUrl: named,
      remark: warning(
        `Clients that run in a browser may not read ${url.href}.`,
        'Have the web server send the header "Access-Control-Allow-Origin: *" with the file.',
        details,
      ),
    };
  }
  if (!/^application\/json\b/i.test(headers['content-type'] ?? '')) {
    return {
      baseUrl: named,
      remark: warning(
        `${url.href} is not marked as JSON, and some clients do not take it then.`,
        'Have the web server send the header "Content-Type: application/json" with the file.',
        details,
      ),
    };
  }
  if (parsed.protocol === 'http:') {
    return {
      baseUrl: named,
      remark: warning(
        `Clients are sent to ${named}, where anybody on the way can read along.`,
        'Give the server a certificate and name it with https://.',
        details,
      ),
    };
  }
  return { baseUrl: named, remark: good(`Clients are sent to ${named}.`, details) };
}

async function askVersions(url: URL, look: Look): Promise<Remark> {
  const page = await seeFirst(url, look);
  if (page instanceof PageError) {
    const { remark } = page;
    return remark.verdict === 'bad' ? { ...remark, text: `Clients cannot connect: ${remark.text}` } : remark;
  }
  const { status, headers, json } = page.answer;
  const versions = json?.['versions'];
  if (status !== 200 || !Array.isArray(versions)) {
    return bad(
      `At ${url.origin} no Matrix server answers clients (status ${status}).`,
      'Have the proxy pass everything below /_matrix on to Hearth, unchanged, and check that the address in the file is the right one.',
    );
  }
  if (headers['access-control-allow-origin'] !== '*') {
    const sent = headers['access-control-allow-origin'];
    return warning(
      sent === undefined
        ? `Clients that run in a browser may not talk to ${url.origin}.`
        : `${url.origin} sends "Access-Control-Allow-Origin: ${sent}", which browsers do not take.`,
      'Take out what the proxy does to headers that begin with Access-Control: Hearth sends the right ones itself, and twice is once too often.',
    );
  }
  const newest = versions.filter((version) => typeof version === 'string').at(-1);
  const features = json?.['unstable_features'];
  const isFast =
    typeof features === 'object' && features !== null && SLIDING_SYNC in features && features[SLIDING_SYNC] === true;
  return good(`Clients can connect at ${url.origin}${newest === undefined ? '' : ` (Matrix ${newest})`}.`, [
    `Sliding sync, which Element X needs: ${isFast ? 'yes' : 'not announced'}`,
  ]);
}

/** The page from any address; the first failure where no address has it. */
async function seeFirst(url: URL, look: Look, wanted: Wanted = { headers: FROM_A_PAGE }): Promise<Page | PageError> {
  try {
    const sights = await lookEverywhere(url, wanted, look);
    const pages = sights.flatMap((sight) => ('page' in sight ? [sight.page] : []));
    const errors = sights.flatMap((sight) => ('error' in sight ? [sight.error] : []));
    return pages[0] ?? errors[0] ?? new PageError(skipped(`${hostOf(url)} has no address`), true);
  } catch (error) {
    if (error instanceof PageError) return error;
    throw error;
  }
}

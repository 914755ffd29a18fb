/** The way of clients: `.well-known/matrix/client`, and the client API it leads to. */
import type { Finding } from '../contract.ts';
import { placeName } from './addresses.ts';
import { type Remark, bad, findingOf, good, skipped, warning } from './finding.ts';
import { hostOf, type Look, lookEverywhere, type Page, PageError } from './web.ts';

/** As a web client asks: from a page of another origin. */
const FROM_A_PAGE = { origin: 'https://app.element.io' };

/**
 * How clients find the server (spec: client-server API, "Well-known URIs"). `known` is where our own server says it is, tried
 * where the file leads nowhere.
 */
export async function examineClients(host: string, known: string | undefined, look: Look): Promise<Finding[]> {
  const file = await readFile(host, look);
  const findings = [findingOf('client-file', 'Address for clients', file.remark)];
  const baseUrl = file.baseUrl ?? known;
  if (baseUrl === undefined) return findings;
  const url = URL.parse(`${baseUrl.replace(/\/$/, '')}/_matrix/client/versions`);
  if (url !== null) findings.push(findingOf('client-api', 'Client connections', await askVersions(url, look)));
  return findings;
}

async function readFile(host: string, look: Look): Promise<{ baseUrl: string | undefined; remark: Remark }> {
  const url = new URL(`https://${placeName(host, 443).replace(/:443$/, '')}/.well-known/matrix/client`);
  const page = await seeFirst(url, look);
  if (page instanceof PageError) {
    const { text, details = [] } = page.remark;
    return {
      baseUrl: undefined,
      remark: warning(
        `Clients do not learn where the server is: ${text}`,
        `Serve the file at ${url.href}. Without it people have to type the address of the server when they sign in.`,
        details,
      ),
    };
  }
  const { status, headers, json } = page.answer;
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
  return good(`Clients can connect at ${url.origin}${newest === undefined ? '' : ` (Matrix ${newest})`}.`);
}

/** The page from any address; the first failure where no address has it. */
async function seeFirst(url: URL, look: Look): Promise<Page | PageError> {
  try {
    const sights = await lookEverywhere(url, FROM_A_PAGE, look);
    const pages = sights.flatMap((sight) => ('page' in sight ? [sight.page] : []));
    const errors = sights.flatMap((sight) => ('error' in sight ? [sight.error] : []));
    return pages[0] ?? errors[0] ?? new PageError(skipped(`${hostOf(url)} has no address`), true);
  } catch (error) {
    if (error instanceof PageError) return error;
    throw error;
  }
}

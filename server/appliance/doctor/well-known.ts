import { readFreshness } from '../../federation/discovery/well-known.ts';
import { isServerName, type ServerName } from '../../matrix/identifiers.ts';
import { parseServerAddress } from '../../federation/discovery/server-address.ts';
import { bad, good, type Remark, skipped, warning } from './finding.ts';
import { lookEverywhere, type Look, type Page, PageError, wellKnownUrl } from './web.ts';

export interface Delegated {
  /** Where other servers are sent; undefined: they go on with the name itself. */
  readonly to: ServerName | undefined;
  readonly remark: Remark;
  readonly pages: readonly Page[];
}

/** What some editors put before a text: UTF-8, UTF-16 of either order. */
export const BYTE_ORDER_MARKS = [Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from([0xff, 0xfe]), Buffer.from([0xfe, 0xff])];
const HOUR_MS = 3_600_000;
const GO_ON = 'Other servers go on as if there were none, with SRV records and port 8448.';

/** What `/.well-known/matrix/server` of a host says, as each of its addresses serves it (spec: "Resolving server names", 3). */
export async function readDelegation(host: string, look: Look): Promise<Delegated> {
  const url = wellKnownUrl(host, 'server');
  if (url === undefined)
    return { to: undefined, pages: [], remark: good(`No web address begins with ${host}. ${GO_ON}`) };
  let sights;
  try {
    sights = await lookEverywhere(url, {}, look);
  } catch (error) {
    if (!(error instanceof PageError)) throw error;
    return { to: undefined, pages: [], remark: absent(error.remark) };
  }
  const pages = sights.flatMap((sight) => ('page' in sight ? [sight.page] : []));
  const failures = sights.flatMap((sight) =>
    'error' in sight ? [`${sight.address}: ${sight.error.remark.text}`] : [],
  );
  const [first] = pages;
  if (first === undefined) {
    const [failed] = sights;
    const error = failed !== undefined && 'error' in failed ? failed.error : undefined;
    if (error === undefined) return { to: undefined, pages, remark: good(`${host} has no such file. ${GO_ON}`) };
    const remark = error.isAboutTheWay ? absent(error.remark) : wrong(error.remark);
    return { to: undefined, pages, remark: { ...remark, details: [...failures, ...(remark.details ?? [])] } };
  }
  const readings = pages.map((page) => ({ page, ...readPage(page, look.world.clock.now()) }));
  const chosen = readings.find(({ to }) => to !== undefined) ?? readings[0];
  const to = chosen?.to;
  const differing = readings.filter((reading) => reading.to !== to);
  if (differing.length > 0) {
    const told = readings.map((reading) => `${reading.page.address}: ${reading.to ?? reading.remark.text}`);
    return {
      to,
      pages,
      remark: bad(
        `The addresses of ${host} do not serve the same file: which server somebody finds is a matter of chance.`,
        'Serve the file alike over IPv4 and IPv6; often a second site of the web server answers on one of them.',
        told,
      ),
    };
  }
  const { remark } = chosen ?? { remark: good(GO_ON) };
  const details = [...(remark.details ?? []), ...failures];
  if (failures.length === 0 || remark.verdict === 'bad') return { to, pages, remark: { ...remark, details } };
  return {
    to,
    pages,
    remark: warning(
      `${remark.text} But not every address of ${host} serves it.`,
      'Remove the addresses that do not answer from DNS, or make the web server answer there.',
      details,
    ),
  };
}

/** No web server is to be had: nothing is wrong if the server is found without, or nobody can tell from here. */
function absent(remark: Remark): Remark {
  if (remark.verdict !== 'bad') return skipped(`Whether there is such a file could not be seen: ${remark.text}`);
  return good(`No such file can be had. ${GO_ON}`, [remark.text, ...(remark.details ?? [])]);
}

function wrong(remark: Remark): Remark {
  return {
    ...remark,
    verdict: 'warning',
    text: `The file cannot be read: ${remark.text} ${GO_ON}`,
  };
}

function readPage({ answer, url, redirects }: Page, now: number): { to: ServerName | undefined; remark: Remark } {
  const { status, headers, json, body } = answer;
  const way = redirects.map((step) => `Redirected to ${step}`);
  if (status === 404 || status === 410) {
    return { to: undefined, remark: good(`There is no such file. ${GO_ON}`, way) };
  }
  if (status !== 200) {
    return {
      to: undefined,
      remark: warning(
        `${url.href} answers with status ${status}. ${GO_ON}`,
        status >= 500
          ? 'Look why the web server fails there; servers that have asked meanwhile come back in an hour.'
          : 'Serve the file to everybody, with status 200, or answer 404 if there is to be none.',
        way,
      ),
    };
  }
  const broken = (text: string, nextStep: string): { to: undefined; remark: Remark } => ({
    to: undefined,
    remark: bad(`${text} ${GO_ON}`, nextStep, [...way, `It begins with: ${beginningOf(body)}`]),
  });
  const mark = BYTE_ORDER_MARKS.find((start) => body.subarray(0, start.length).equals(start));
  if (mark !== undefined) {
    return broken(
      `${url.href} begins with invisible bytes (a byte order mark) that JSON may not begin with.`,
      'Save it once more as UTF-8 without byte order mark: in the Windows editor choose the encoding "UTF-8", not "UTF-8 with BOM".',
    );
  }
  if (json === undefined) {
    return broken(
      `${url.href} is not the JSON file it should be.`,
      'Serve exactly the file that the delegation page shows. If a web page comes instead, the web server has no rule of its own for /.well-known/matrix/.',
    );
  }
  const named = json['m.server'];
  if (typeof named !== 'string') {
    return broken(
      `${url.href} names no server: it lacks "m.server".`,
      'Write it as {"m.server": "matrix.example.com:443"}.',
    );
  }
  if (/^[a-z]+:\/\//i.test(named)) {
    return broken(
      `${url.href} says "${named.slice(0, 255)}", which is a web address and no server name.`,
      `Leave out ${named.split('//')[0] ?? ''}// and whatever follows the host and the port.`,
    );
  }
  if (!isServerName(named) || parseServerAddress(named) === undefined) {
    return broken(
      `${url.href} names "${named.slice(0, 255)}", which is no server name.`,
      'Write a name and a port, such as matrix.example.com:443.',
    );
  }
  const port = parseServerAddress(named)?.port;
  const fresh = readFreshness(headers, now);
  const details = [
    ...way,
    `Content type: ${headers['content-type'] ?? 'none'} (other servers do not mind)`,
    fresh === undefined
      ? 'It does not say how long it may be kept; others keep it for a day'
      : `It may be kept for ${Math.round(fresh / HOUR_MS) || 'less than one'} hours (others keep it between 5 minutes and 2 days)`,
  ];
  const text =
    port === undefined
      ? `Other servers are sent to ${named}, and look there for an SRV record or port 8448.`
      : `Other servers are sent to ${named}.`;
  return { to: named, remark: good(text, details) };
}

function beginningOf(body: Buffer): string {
  const text = body.toString('utf8', 0, 120).replaceAll(/\s+/g, ' ').trim();
  return text === '' ? '(nothing)' : text;
}

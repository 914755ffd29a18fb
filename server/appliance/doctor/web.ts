/** Pages of the web, as somebody sees them who looks at every address of a host. */
import { isIP, isIPv6 } from 'node:net';
import { DnsError } from '../../federation/discovery/dns.ts';
import { isTrusted, judgeCertificate, type TlsFacts } from './certificate.ts';
import { ConnectError, findProxy, openTcp, secure } from './connection.ts';
import { type Answer, AnswerError, exchange } from './exchange.ts';
import { explainAnswer, explainConnect, explainTls, mayCall, type Viewpoint } from './explain.ts';
import { bad, type Remark, skipped, warning } from './finding.ts';
import { placeName, whyNotPublic } from './addresses.ts';
import { type HostRecords, NameError, type World } from './world.ts';

export interface Page {
  readonly address: string;
  /** Where it was in the end. */
  readonly url: URL;
  /** The addresses on the way there. */
  readonly redirects: readonly string[];
  readonly answer: Answer;
  readonly tls: TlsFacts | undefined;
}

/** A page could not be had; `remark` says why. */
export class PageError extends Error {
  readonly remark: Remark;
  /** Nobody could be asked, which is not the same as a wrong answer. */
  readonly isAboutTheWay: boolean;

  constructor(remark: Remark, isAboutTheWay: boolean) {
    super(remark.text);
    this.name = 'PageError';
    this.remark = remark;
    this.isAboutTheWay = isAboutTheWay;
  }
}

export type Sight =
  | { readonly address: string; readonly page: Page }
  | { readonly address: string; readonly error: PageError };

/** What is asked of a page. */
export interface Wanted {
  readonly method?: 'GET' | 'OPTIONS';
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Look {
  readonly world: World;
  readonly signal: AbortSignal;
  readonly view: Viewpoint;
}

const MAX_REDIRECTS = 5;
const MAX_ADDRESSES = 6;

/**
 * `url` as each address of its host serves it. Rejects with a `PageError` where the host has none; never for a single address.
 */
export async function lookEverywhere(url: URL, wanted: Wanted, look: Look): Promise<Sight[]> {
  const addresses = await addressesOf(hostOf(url), look.world);
  return Promise.all(
    addresses.slice(0, MAX_ADDRESSES).map(async (address): Promise<Sight> => {
      try {
        return { address, page: await getFrom(url, address, wanted, look, []) };
      } catch (error) {
        if (error instanceof PageError) return { address, error };
        throw error;
      }
    }),
  );
}

/** `url` from the first of its host's addresses that has it. Rejects with the first address's `PageError`. */
async function getAnywhere(url: URL, wanted: Wanted, look: Look, before: readonly string[]): Promise<Page> {
  let first: PageError | undefined;
  for (const address of (await addressesOf(hostOf(url), look.world)).slice(0, MAX_ADDRESSES)) {
    try {
      return await getFrom(url, address, wanted, look, before);
    } catch (error) {
      if (!(error instanceof PageError)) throw error;
      first ??= error;
    }
  }
  throw first ?? new PageError(skipped(`${url.host} has no address`), true);
}

async function getFrom(
  url: URL,
  address: string,
  wanted: Wanted,
  look: Look,
  before: readonly string[],
): Promise<Page> {
  const { world, signal, view } = look;
  const isSecure = url.protocol === 'https:';
  const port = Number(url.port) || (isSecure ? 443 : 80);
  const host = hostOf(url);
  const place = { address, port };
  if (!mayCall(address, host, view)) throw new PageError(explainInside(host, address), true);
  try {
    const tcp = await openTcp(address, port, world, signal, host).catch((error: unknown) => {
      throw error instanceof ConnectError ? new PageError(explainConnect(error, place, view), true) : error;
    });
    const secured = isSecure
      ? await secure(tcp, host, world, signal).catch((error: unknown) => {
          throw error instanceof ConnectError ? new PageError(explainTls(error, place, host), true) : error;
        })
      : undefined;
    if (secured !== undefined && !isTrusted(secured.tls)) {
      secured.socket.destroy();
      throw new PageError(judgeCertificate(secured.tls, world.clock.now()), false);
    }
    const asked = { ...wanted, path: `${url.pathname}${url.search}`, host: url.host };
    const answer = await exchange(secured?.socket ?? tcp, asked, world, signal);
    // Nobody follows a redirect of the question that browsers ask before the real one.
    if (!isRedirect(answer.status) || wanted.method === 'OPTIONS') {
      return { address, url, redirects: before, answer, tls: secured?.tls };
    }
    return await follow(url, answer, wanted, look, before);
  } catch (error) {
    if (error instanceof AnswerError) throw new PageError(explainAnswer(error, placeName(address, port)), false);
    throw error;
  }
}

async function follow(
  from: URL,
  { headers: answered }: Answer,
  wanted: Wanted,
  look: Look,
  before: readonly string[],
): Promise<Page> {
  const to = URL.parse(answered['location'] ?? '', from.href);
  if (to === null || (to.protocol !== 'https:' && to.protocol !== from.protocol)) {
    throw new PageError(
      bad(
        `${from.href} redirects to ${answered['location'] ?? 'nowhere'}, where nobody may follow.`,
        'Serve the file itself at that address, or redirect to an https:// address.',
      ),
      false,
    );
  }
  if (before.length >= MAX_REDIRECTS || before.includes(to.href)) {
    throw new PageError(
      bad(
        `${from.href} redirects again and again and never arrives.`,
        'Find the two rules of the web server that send it back and forth, and leave /.well-known/matrix/ out of them.',
        [...before, to.href],
      ),
      false,
    );
  }
  return getAnywhere(to, wanted, look, [...before, to.href]);
}

function explainInside(host: string, address: string): Remark {
  return warning(
    `${host} leads to ${address}, which ${whyNotPublic(address) ?? 'is not called'}.`,
    'Name an address there that everybody can reach.',
  );
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

export function hostOf({ hostname }: URL): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

/** Where a host's file of that name is; undefined where the host is none that a web address can have, such as `nas.1`. */
export function wellKnownUrl(host: string, file: 'server' | 'client'): URL | undefined {
  const url = URL.parse(`https://${isIPv6(host) ? `[${host}]` : host}/.well-known/matrix/${file}`);
  return url === null || (isIP(hostOf(url)) !== 0 && isIP(host) === 0) ? undefined : url;
}

/** The addresses of a host, in no order. Rejects with a `PageError`. */
async function addressesOf(host: string, world: World): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    const { ipv4, ipv6 }: HostRecords = await world.dns.host(host);
    return [...ipv4, ...ipv6];
  } catch (error) {
    if (!(error instanceof DnsError)) throw error;
    // A proxy may know what this machine does not.
    if (findProxy(host, host, 443, world)?.looksUpNames === true) return [host];
    throw new PageError(explainDns(host, error), true);
  }
}

/** Why a name leads to no address. */
export function explainDns(host: string, error: DnsError): Remark {
  const { message } = error;
  if (error instanceof NameError) {
    if (error.why === 'dangling') {
      const alias = error.alias ?? '';
      return bad(
        `${host} is an alias (CNAME) of ${alias}, and that has no address.`,
        `Correct the CNAME record of ${host} where your domain is managed, or put an A record in its place.`,
        [message],
      );
    }
    if (error.why === 'server-error') {
      return warning(
        `The name servers answer the question for ${host} with an error (SERVFAIL): those of the domain fail, or their signatures (DNSSEC) are wrong.`,
        'See where the domain is managed whether its name servers are entered rightly. If DNSSEC is switched on there, its DS record may be an old one: switch it off and on again.',
        [message],
      );
    }
    if (error.why === 'refused') {
      return warning(
        `The name server that this computer asks refuses to tell where ${host} is.`,
        'Have this computer or the router ask another name server, such as the one of the internet provider; then run the check again.',
        [message],
      );
    }
  }
  return error.isDefinite
    ? bad(
        `The name ${host} has no address.`,
        `Add an A record (and an AAAA record, if there is IPv6) for ${host} where your domain is managed. It can take an hour until everybody sees it.`,
        [message],
      )
    : warning(
        `No name server tells where ${host} is: either this computer is not connected to the internet, or those of the domain fail.`,
        'Try again in a moment. If it stays so, check the internet connection, then the name servers that are set for the domain.',
        [message],
      );
}

import { isIPv6 } from 'node:net';

type UrlPart = 'scheme' | 'netloc' | 'path' | 'query' | 'fragment' | 'username' | 'password' | 'hostname' | 'port';

/** What an address has to be like in all these parts to be left alone. */
export type BlockedUrl = readonly { readonly part: UrlPart; readonly pattern: RegExp }[];

/** Addresses that are not asked for, by the rules of whoever runs the server. */
export class BlockList {
  readonly #rules: readonly BlockedUrl[];

  constructor(rules: readonly BlockedUrl[]) {
    this.#rules = rules;
  }

  holds(url: URL): boolean {
    if (this.#rules.length === 0) return false;
    const parts = partsOf(url);
    return this.#rules.some((rule) =>
      rule.every(({ part, pattern }) => {
        const value = parts[part];
        return value !== undefined && pattern.test(value);
      }),
    );
  }
}

/** The parts as Python's urlsplit gives them, of an address in its normal form: `127.1` has become `127.0.0.1`. */
function partsOf(url: URL): Readonly<Record<UrlPart, string | undefined>> {
  const { username, password, host } = url;
  const hostname = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const user = password === '' ? username : `${username}:${password}`;
  return {
    scheme: url.protocol.slice(0, -1),
    netloc: user === '' ? host : `${user}@${host}`,
    path: url.pathname,
    query: url.search.slice(1),
    fragment: url.hash.slice(1),
    username: username === '' && password === '' ? undefined : username,
    password: password === '' ? undefined : password,
    hostname: isIPv6(hostname) ? hostname : hostname.toLowerCase(),
    port: url.port === '' ? undefined : url.port,
  };
}

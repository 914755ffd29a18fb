/** A site that describes its pages in the oEmbed format. */
export interface OembedProvider {
  /** Where it answers. */
  readonly endpoint: string;
  /** Addresses of its pages, with `*` for any text. */
  readonly schemes: readonly string[];
}

/** Sites whose pages say little, or show a question about cookies, to whoever is no browser. */
const providers: readonly OembedProvider[] = [
  {
    endpoint: 'https://publish.twitter.com/oembed',
    schemes: [
      'https://twitter.com/*/status/*',
      'https://*.twitter.com/*/status/*',
      'https://x.com/*/status/*',
      'https://*.x.com/*/status/*',
    ],
  },
  {
    endpoint: 'https://www.youtube.com/oembed',
    schemes: [
      'https://*.youtube.com/watch*',
      'https://*.youtube.com/shorts/*',
      'https://*.youtube.com/live/*',
      'https://*.youtube.com/playlist?list=*',
      'https://youtube.com/watch*',
      'https://youtube.com/shorts/*',
      'https://youtube.com/live/*',
      'https://youtube.com/playlist?list=*',
      'https://youtu.be/*',
    ],
  },
  {
    endpoint: 'https://vimeo.com/api/oembed.json',
    schemes: ['https://vimeo.com/*', 'https://player.vimeo.com/video/*'],
  },
  {
    endpoint: 'https://www.tiktok.com/oembed',
    schemes: ['https://www.tiktok.com/*/video/*', 'https://vm.tiktok.com/*'],
  },
  { endpoint: 'https://open.spotify.com/oembed', schemes: ['https://open.spotify.com/*'] },
  { endpoint: 'https://soundcloud.com/oembed', schemes: ['https://soundcloud.com/*', 'https://on.soundcloud.com/*'] },
  {
    endpoint: 'https://www.flickr.com/services/oembed/',
    schemes: ['https://*.flickr.com/photos/*', 'https://flic.kr/p/*'],
  },
  {
    endpoint: 'https://www.reddit.com/oembed',
    schemes: ['https://reddit.com/r/*/comments/*', 'https://www.reddit.com/r/*/comments/*'],
  },
];

interface Pattern {
  readonly protocol: RegExp;
  readonly host: RegExp;
  readonly rest: RegExp;
  readonly endpoint: string;
}

/** Knows which sites to ask for their pages in the oEmbed format. */
export class OembedProviders {
  readonly #patterns: readonly Pattern[];

  constructor({
    oembedDefaultProviders: hasDefaults,
    oembedProviders: own,
  }: {
    readonly oembedDefaultProviders: boolean;
    readonly oembedProviders: readonly OembedProvider[];
  }) {
    const all = hasDefaults ? [...own, ...providers] : own;
    this.#patterns = all.flatMap(({ endpoint, schemes }) =>
      schemes.map((scheme) => readPattern(scheme, endpoint)).filter((pattern) => pattern !== undefined),
    );
  }

  /** Where to ask for a page; undefined where nobody can be asked. */
  find(page: URL): URL | undefined {
    const rest = page.pathname + page.search;
    const found = this.#patterns.find(
      (pattern) => pattern.protocol.test(page.protocol) && pattern.host.test(page.host) && pattern.rest.test(rest),
    );
    const url = found === undefined ? null : URL.parse(found.endpoint.replaceAll('{format}', 'json'));
    if (url === null) return undefined;
    url.searchParams.set('url', page.href);
    url.searchParams.set('format', 'json');
    return url;
  }
}

/** Undefined for what could match no web page, or any host there is. */
function readPattern(scheme: string, endpoint: string): Pattern | undefined {
  const [, protocol, host = '', rest = ''] = /^(https?|\*):\/\/([^/?#]+)([^#]*)$/.exec(scheme) ?? [];
  if (protocol === undefined || /^[*.]+$/.test(host)) return undefined;
  return {
    protocol: globToRegExp(protocol === '*' ? 'http*:' : `${protocol}:`),
    host: globToRegExp(host.toLowerCase()),
    rest: globToRegExp(rest === '' ? '/' : rest),
    endpoint,
  };
}

function globToRegExp(glob: string): RegExp {
  const escaped = glob.replaceAll(/[.+^${}()|[\]\\?]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll(/\*+/g, '.*')}$`);
}

import { readFileSync } from 'node:fs';
import { isJsonObject, type JsonValue } from '../matrix/json.ts';
import { fileError, type Source } from './source.ts';
import type { Config, OembedProvider, UrlPart } from './types.ts';

const parts: readonly UrlPart[] = [
  'scheme',
  'netloc',
  'path',
  'query',
  'fragment',
  'username',
  'password',
  'hostname',
  'port',
];

/** How previews of web pages are made. */
export function buildUrlPreviews(source: Source): Config['urlPreviews'] {
  const v = source.values;
  if (v.url_preview_enabled && v.url_preview_ip_range_blacklist === undefined) {
    source.refuse(
      ['url_preview_enabled', 'url_preview_ip_range_blacklist'],
      'needs url_preview_ip_range_blacklist, the addresses that must not be fetched (an empty list for none)',
    );
  }
  return {
    enabled: v.url_preview_enabled,
    deny: v.url_preview_ip_range_blacklist ?? [],
    allow: v.url_preview_ip_range_whitelist,
    blockedUrls: v.url_preview_url_blacklist.map((rule) => buildRule(source, rule)),
    maxPageBytes: v.max_spider_size,
    acceptLanguage: v.url_preview_accept_language,
    oembedDefaultProviders: !v.oembed.disable_default_providers,
    oembedProviders: v.oembed.additional_providers.flatMap((path) => readProviders(source, path)),
  };
}

function buildRule(
  source: Source,
  rule: Readonly<Record<string, string>>,
): Config['urlPreviews']['blockedUrls'][number] {
  return Object.entries(rule).flatMap(([name, written]) => {
    const part = parts.find((known) => known === name);
    const pattern = part === undefined ? undefined : readPattern(written);
    if (part !== undefined && pattern !== undefined) return [{ part, pattern }];
    const message =
      part === undefined
        ? `${name} is no part of an address; there are ${parts.join(', ')}`
        : `${written} is no regular expression`;
    source.refuse(['url_preview_url_blacklist'], message);
    return [];
  });
}

/** A regular expression where it begins with ^, or else a pattern for file names; undefined for what is neither. */
function readPattern(written: string): RegExp | undefined {
  try {
    return new RegExp(written.startsWith('^') ? written : globToSource(written), 's');
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** `*` is any text, `?` any character, `[abc]` one of them, `[!abc]` none of them. */
function globToSource(glob: string): string {
  // Stars in a row would make the expression backtrack without end.
  const source = glob.replaceAll(/\*+|\?|\[!?\]?[^\]]*\]|[^*?]/g, (piece) => {
    if (piece.startsWith('*')) return '.*';
    if (piece === '?') return '.';
    if (piece.length === 1) return escape(piece);
    const isNegated = piece.startsWith('[!');
    const set = piece.slice(isNegated ? 2 : 1, -1);
    return `[${isNegated ? '^' : ''}${set.replaceAll(/[\\^[\]]/g, '\\$&')}]`;
  });
  return `^${source}$`;
}

function escape(char: string): string {
  return /[.+^${}()|[\]\\/]/.test(char) ? `\\${char}` : char;
}

/** Reads a file in the form of the list of oembed.com: providers with their endpoints. */
function readProviders(source: Source, path: string): OembedProvider[] {
  const refuse = (message: string): OembedProvider[] => {
    source.refuse(['oembed'], `${path} ${message}`);
    return [];
  };
  let list: JsonValue;
  try {
    list = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    return refuse(error instanceof SyntaxError ? 'is not JSON' : `cannot be read: ${fileError(error)}`);
  }
  if (!Array.isArray(list)) return refuse('is no list of oEmbed providers');
  const found: OembedProvider[] = [];
  for (const provider of list) {
    const endpoints = isJsonObject(provider) ? provider['endpoints'] : undefined;
    if (!Array.isArray(endpoints)) return refuse('has a provider without endpoints');
    for (const endpoint of endpoints) {
      const read = readEndpoint(endpoint);
      if (read === undefined) return refuse('has an endpoint without an http:// or https:// url');
      found.push(...read);
    }
  }
  return found;
}

/** Nothing for an endpoint that is no use here; undefined for what is none. */
function readEndpoint(endpoint: JsonValue): OembedProvider[] | undefined {
  if (!isJsonObject(endpoint)) return undefined;
  const { url, schemes = [], formats = ['json'] } = endpoint;
  if (typeof url !== 'string' || !/^https?:\/\/[^/]/.test(url) || URL.parse(url) === null) return undefined;
  if (!Array.isArray(schemes) || !Array.isArray(formats)) return undefined;
  const patterns = schemes.filter((scheme) => typeof scheme === 'string');
  return formats.includes('json') && patterns.length > 0 ? [{ endpoint: url, schemes: patterns }] : [];
}

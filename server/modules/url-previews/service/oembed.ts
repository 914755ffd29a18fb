import { isJsonObject, type JsonValue } from '../../../matrix/json.ts';
import { type OpenGraph, summarize } from './describe.ts';
import { readFragment } from './read-page.ts';

/** What a site says of a page of its own in the oEmbed format, version 1.0. */
export interface OembedAnswer {
  readonly og: OpenGraph;
  readonly author: string | undefined;
  /** For how long it is true, ms. */
  readonly lifetimeMs: number | undefined;
}

/** Undefined for what is no such answer. */
export async function readOembed(
  answer: JsonValue,
  page: URL,
  clock: { monotonic(): number },
): Promise<OembedAnswer | undefined> {
  if (!isJsonObject(answer)) return undefined;
  const { version = '1.0', type } = answer;
  if (Number(version) !== 1 || typeof type !== 'string') return undefined;
  const og: OpenGraph = new Map([['og:url', page.href]]);
  const set = (name: string, value: JsonValue | undefined): void => {
    if (typeof value === 'string' && value.trim() !== '') og.set(name, value.trim());
  };
  set('og:title', answer['title']);
  set('og:site_name', answer['provider_name']);
  set('og:image', answer['thumbnail_url']);
  switch (type) {
    case 'link':
      og.set('og:type', 'website');
      break;
    case 'photo':
      set('og:image', answer['url']);
      break;
    case 'video':
    case 'rich': {
      const html = answer['html'];
      if (typeof html !== 'string') break;
      const facts = await readFragment(html, clock);
      set('og:description', summarize(facts.paragraphs));
      if (!og.has('og:image')) set('og:image', facts.pictures[0]);
      if (type === 'video') {
        og.set('og:type', 'video.other');
        const player = URL.parse(facts.player ?? '', page.href);
        if (facts.player !== undefined && player !== null && /^https?:$/.test(player.protocol)) {
          og.set('og:video', player.href);
        }
      }
      break;
    }
    default:
      return undefined;
  }
  const author = answer['author_name'];
  const seconds = Number(answer['cache_age'] ?? Number.NaN);
  return {
    og,
    author: typeof author === 'string' && author.trim() !== '' ? author.trim() : undefined,
    lifetimeMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined,
  };
}

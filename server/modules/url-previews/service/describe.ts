import type { PageFacts } from './page-reader.ts';

/** What is told of a page, by names of Open Graph (spec: GET /media/preview_url). */
export type OpenGraph = Map<string, string | number>;

/** Longer names and values are left out, and so is all of a page with more of them. */
const MAX_NAME = 50;
const MAX_VALUE = 1_000;
const MAX_TAGS = 50;
/** A description has at most so many characters. */
const MAX_DESCRIPTION = 500;

/** What a page says of itself, or else what can be told from its text. The picture is an address as it is written. */
export function describePage(facts: PageFacts): OpenGraph {
  const og: OpenGraph = new Map(facts.openGraph.size > MAX_TAGS ? [] : facts.openGraph);
  for (const [name, value] of facts.twitter.size > MAX_TAGS ? [] : facts.twitter) {
    const same = sameInOpenGraph(name);
    if (same !== undefined && !og.has(same)) og.set(same, value);
  }
  fill(og, 'og:image', facts.pictures[0]);
  fill(og, 'og:title', facts.title ?? facts.heading);
  fill(og, 'og:description', facts.description ?? summarize(facts.paragraphs));
  return og;
}

/** The beginning of a text, cut between words; undefined where there is none. */
export function summarize(paragraphs: readonly string[]): string | undefined {
  const text = paragraphs.join('\n\n');
  if (text === '') return undefined;
  if (text.length <= MAX_DESCRIPTION) return text;
  const cut = text.slice(0, MAX_DESCRIPTION);
  // Languages without spaces have words all the same; a character is never cut in two.
  const whole = /^([\s\S]{250,})\s\S*$/.exec(cut)?.[1] ?? cut.replace(/[\ud800-\udbff]$/, '');
  return `${whole.trimEnd()}…`;
}

/** What is told in the end: nothing of endless length. */
export function bounded(og: OpenGraph): Record<string, string | number> {
  const kept = [...og].filter(
    ([name, value]) => name.length <= MAX_NAME && String(value).length <= MAX_VALUE && value !== '',
  );
  return Object.fromEntries(kept);
}

function sameInOpenGraph(name: string): string | undefined {
  switch (name) {
    case 'twitter:card':
    case 'twitter:creator':
      return undefined;
    case 'twitter:site':
      return 'og:site_name';
    case 'twitter:image:src':
      return 'og:image';
    default:
      return `og:${name.slice('twitter:'.length)}`;
  }
}

function fill(og: OpenGraph, name: string, value: string | undefined): void {
  if (value !== undefined && !og.has(name)) og.set(name, value);
}

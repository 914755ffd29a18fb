import { fold, wordsOf } from '../../../util/words.ts';
import { type EventText, type Field, FIELDS, indexedWords } from './documents.ts';

/** Words that have to stand side by side. */
interface Phrase {
  /** Folded, with single spaces. */
  readonly words: string;
  /** Whether the last of them may be the beginning of a longer word. */
  readonly open: boolean;
}

/** What somebody searches for: any one of the alternatives, of which all phrases have to be there. */
export interface Query {
  readonly alternatives: readonly (readonly Phrase[])[];
  readonly excluded: readonly Phrase[];
}

/** The start of a search term, in UTF-16 units, that is read, and the most parts of it. */
const MOST_TEXT = 1_024;
const MOST_PHRASES = 24;
/** Shorter words are searched for as they are: too much begins with them. */
const SHORTEST_BEGINNING = 3;

const PARTS = /(-?)(?:"([^"]*)"?|([^\s"]+))/gu;
const SINGLE_CHARACTERS = /^(?:\S )+\S$|^\S$/u;

/**
 * Reads a search term: words, all of which have to be there; "words in quotes" as they stand; `-word` for what must not
 * be there; `or` between alternatives. Whatever else it holds is text without words, not syntax.
 */
export function parseQuery(term: string): Query {
  const alternatives: Phrase[][] = [[]];
  const excluded: Phrase[] = [];
  let left = MOST_PHRASES;
  for (const [whole, minus, quoted, bare] of term.slice(0, MOST_TEXT).matchAll(PARTS)) {
    if (left === 0) break;
    if (whole.toLowerCase() === 'or') {
      alternatives.push([]);
      continue;
    }
    const words = wordsOf(fold(quoted ?? bare ?? ''));
    if (words === '') continue;
    left -= 1;
    const phrase = { words, open: quoted === undefined && mayBeBeginning(words) };
    if (minus === '-') excluded.push({ ...phrase, open: false });
    else alternatives.at(-1)?.push(phrase);
  }
  return { alternatives: alternatives.filter((phrases) => phrases.length > 0), excluded };
}

function mayBeBeginning(words: string): boolean {
  const last = words.slice(words.lastIndexOf(' ') + 1);
  return last.length >= SHORTEST_BEGINNING;
}

/**
 * The query in the language of the index, on some fields. Undefined if nothing can match. All that comes from the user is
 * words, of letters and digits only, in quotes.
 */
export function toExpression({ alternatives, excluded }: Query, fields: readonly Field[]): string | undefined {
  if (alternatives.length === 0 || fields.length === 0) return undefined;
  const all = (phrases: readonly Phrase[], operator: 'AND' | 'OR'): string =>
    `(${phrases.map(({ words, open }) => (open ? `"${words}" *` : `"${words}"`)).join(` ${operator} `)})`;
  const wanted = alternatives.map((phrases) => all(phrases, 'AND')).join(' OR ');
  const unwanted = excluded.length === 0 ? '' : ` NOT ${all(excluded, 'OR')}`;
  const columns = fields.length === FIELDS.length ? '' : `{${fields.join(' ')}} : `;
  return `${columns}((${wanted})${unwanted})`;
}

/** Words of a text of ordinary length: longer ones have to say more about what is searched for. */
const ORDINARY_WORDS = 12;
/** How soon it stops to matter that a phrase comes once more, and how much the length of a text counts: as in BM25. */
const SATURATION = 1.2;
const LENGTH_WEIGHT = 0.75;
/** What the beginning of a longer word counts for, beside the word itself. */
const BEGINNING_WEIGHT = 0.6;

/**
 * How closely a text matches: as BM25 has it, but that all words count as equally rare; what matches has all of them
 * anyway.
 */
export function rankOf({ alternatives }: Query, text: EventText): number {
  const words = ` ${indexedWords(text)} `;
  const length = words.split(' ').length - 2;
  const norm = SATURATION * (1 - LENGTH_WEIGHT + (LENGTH_WEIGHT * length) / ORDINARY_WORDS);
  let rank = 0;
  for (const { words: phrase, open } of alternatives.flat()) {
    const whole = count(words, ` ${phrase} `);
    const times = whole + (open ? BEGINNING_WEIGHT * (count(words, ` ${phrase}`) - whole) : 0);
    rank += (times * (SATURATION + 1)) / (times + norm);
  }
  return Math.round(rank * 1e6) / 1e6;
}

/** How often a part that has a space at one end at least is there; two may share the space between them. */
function count(text: string, part: string): number {
  let found = 0;
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length - 1)) found += 1;
  return found;
}

const MOST_HIGHLIGHTS = 100;
const LETTERS = /[\p{L}\p{N}\p{M}]+/gu;

/** The words of the texts that were searched for, as they are written there. */
export function highlightsOf({ alternatives }: Query, texts: readonly EventText[]): string[] {
  const phrases = alternatives.flat();
  const ends = phrases.flatMap(({ words, open }) => {
    const parts = words.split(' ');
    return parts.map((word, n) => ({ word, open: open && n === parts.length - 1 }));
  });
  const highlights = new Set<string>();
  for (const { text } of texts) {
    // In scripts without spaces what is searched for is a part of what stands together.
    const words = ` ${wordsOf(fold(text))} `;
    for (const { words: phrase } of phrases) {
      if (SINGLE_CHARACTERS.test(phrase) && words.includes(` ${phrase} `)) highlights.add(phrase.replaceAll(' ', ''));
    }
    for (const [written] of text.matchAll(LETTERS)) {
      const word = wordsOf(fold(written));
      if (ends.some((end) => end.word === word || (end.open && word.startsWith(end.word)))) highlights.add(written);
    }
    if (highlights.size >= MOST_HIGHLIGHTS) break;
  }
  return [...highlights].slice(0, MOST_HIGHLIGHTS);
}

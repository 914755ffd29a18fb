/*
 * How names and search terms are compared. Both go through the same folding, so that case, accents and compatibility
 * forms do not matter in any script, and through the same splitting into words.
 */

/**
 * Scripts that put no spaces between words, syllables people search by, and pictures: each character is a word of its own
 * there, so that any part of a name can be found.
 */
const SINGLE =
  '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}\\p{Script=Bopomofo}\\p{Script=Yi}' +
  '\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}\\p{Script=Tibetan}\\p{So}\\p{Extended_Pictographic}';
const WORDS = new RegExp(`[${SINGLE}]|(?:(?![${SINGLE}])[\\p{L}\\p{N}\\p{M}])+`, 'gu');

/** Accents that are written apart after decomposition, and what is never seen: joiners, directions, variants of pictures. */
const MARKS = /[\u0300-\u036F\uFE00-\uFE0F\p{Cf}]/gu;

/** Longest name, in UTF-16 units, that is taken into the index whole. */
const INDEXED_LENGTH = 512;
/** Most words of a search term that count. */
const MAX_PHRASES = 16;

/** Text without case, accents and compatibility forms, and with single spaces. */
export function fold(text: string): string {
  return (
    text
      .normalize('NFKD')
      .replace(MARKS, '')
      // Upper case first makes one of what has several small forms: ß is ss then.
      .toUpperCase()
      .toLowerCase()
      .replaceAll('ς', 'σ')
      .normalize('NFKC')
      .replace(/\s+/gu, ' ')
      .trim()
  );
}

/** The words of folded text, as the index takes them. */
export function wordsOf(folded: string): string {
  return (folded.slice(0, INDEXED_LENGTH).match(WORDS) ?? []).join(' ');
}

/** What somebody searches for. */
export interface Term {
  /** Folded, without the sigil of a user ID. */
  readonly text: string;
  /** Runs of words all of which have to be found, the last word of each as the beginning of one. */
  readonly phrases: readonly string[];
  /** The user IDs it names exactly: from the first up to, and without, the second. */
  readonly userIds: readonly [string, string];
}

/** Reads a search term. */
export function parseTerm(input: string): Term {
  const text = fold(input.slice(0, INDEXED_LENGTH)).replace(/^@/, '');
  // The parts of a user ID are indexed apart, so they are searched for apart.
  const phrases = text.split(/[\s:]+/u).map(wordsOf);
  const userIds = text.includes(':') ? ([`@${text}`, `@${text}\0`] as const) : ([`@${text}:`, `@${text};`] as const);
  return { text, phrases: phrases.filter((phrase) => phrase !== '').slice(0, MAX_PHRASES), userIds };
}

/** How well words match a phrase: as whole words, as the beginning of words, or not. */
export function matchPhrase(words: string, phrase: string): 'whole' | 'beginning' | undefined {
  if (` ${words} `.includes(` ${phrase} `)) return 'whole';
  return ` ${words}`.includes(` ${phrase}`) ? 'beginning' : undefined;
}

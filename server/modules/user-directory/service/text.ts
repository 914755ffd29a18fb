import { fold, wordsOf } from '../../../util/words.ts';

/** Longest name, in UTF-16 units, that is taken into the index whole. */
const INDEXED_LENGTH = 512;
/** Most words of a search term that count. */
const MAX_PHRASES = 16;

/** The words of a name, as the index takes them. */
export function wordsOfName(folded: string): string {
  return wordsOf(folded.slice(0, INDEXED_LENGTH));
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
  const phrases = text.split(/[\s:]+/u).map(wordsOfName);
  const userIds = text.includes(':') ? ([`@${text}`, `@${text}\0`] as const) : ([`@${text}:`, `@${text};`] as const);
  return { text, phrases: phrases.filter((phrase) => phrase !== '').slice(0, MAX_PHRASES), userIds };
}

/** How well words match a phrase: as whole words, as the beginning of words, or not. */
export function matchPhrase(words: string, phrase: string): 'whole' | 'beginning' | undefined {
  if (` ${words} `.includes(` ${phrase} `)) return 'whole';
  return ` ${words}`.includes(` ${phrase}`) ? 'beginning' : undefined;
}

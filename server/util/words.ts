/*
 * How text is compared by those who search: without regard to case, accents and compatibility forms in any script, and
 * word by word.
 */

/**
 * Scripts that put no spaces between words, syllables people search by, and pictures: each character is a word of its own
 * there, so that any part of a text can be found.
 */
const SINGLE =
  '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}\\p{Script=Bopomofo}\\p{Script=Yi}' +
  '\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}\\p{Script=Tibetan}\\p{So}\\p{Extended_Pictographic}';
const WORDS = new RegExp(`[${SINGLE}]|(?:(?![${SINGLE}])[\\p{L}\\p{N}\\p{M}]){1,64}`, 'gu');

/**
 * Accents that are written apart after decomposition, the vowels that Hebrew and Arabic may leave out, and what is never
 * seen: joiners, directions, variants of pictures.
 */
const MARKS = /[\u0300-\u036F\u0591-\u05BD\u05BF\u05C1-\u05C7\u0640\u064B-\u0652\u0670]|[\uFE00-\uFE0F\p{Cf}]/gu;

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

/** The words of folded text, one space between them. What is longer than 64 characters is cut into several. */
export function wordsOf(folded: string): string {
  return (folded.match(WORDS) ?? []).join(' ');
}

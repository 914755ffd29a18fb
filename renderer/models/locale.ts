/**
 * The language of the catalogue as it is written where the reader is: dates, numbers and the clock are theirs even where
 * the words are not. `languages` are the reader's, the preferred one first (BCP 47).
 */
export function localeFor(language: string, languages: readonly string[]): string {
  const [first = language] = languages;
  if (first === language || first.startsWith(`${language}-`)) return first;
  const region = regionOf(first);
  return region === undefined ? language : `${language}-${region}`;
}

function regionOf(language: string): string | undefined {
  try {
    return new Intl.Locale(language).maximize().region;
  } catch {
    // Some systems call their plain language by names that are none, such as "C".
    return undefined;
  }
}

/** Letters of scripts that are written from right to left. */
const RIGHT_TO_LEFT =
  /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;
const ISOLATE = { begin: '\u2068', end: '\u2069' } as const;

/** A name in a sentence, kept from turning what stands around it (Unicode bidirectional algorithm, isolates). */
export function isolated(name: string): string {
  return RIGHT_TO_LEFT.test(name) ? `${ISOLATE.begin}${name}${ISOLATE.end}` : name;
}

/** What somebody typed or pasted, without what only steers how it is shown. */
export function withoutMarks(typed: string): string {
  return typed.replaceAll(/[\u200e\u200f\u2066-\u2069]/g, '');
}

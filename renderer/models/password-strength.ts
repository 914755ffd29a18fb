/** From 0 (guessed at once) to 4 (not worth trying). */
export type Strength = 0 | 1 | 2 | 3 | 4;

const COMMON =
  /(password|passwort|letmein|welcome|qwert[yz]|asdf|iloveyou|admin|hearth|matrix|monkey|dragon|abc|football|sunshine|princess)/gi;

/**
 * How hard a password is to guess, roughly: what is repeated, in a row, well known or the person's own name counts little.
 * The server has the last word on what it takes.
 */
export function passwordStrength(password: string, own: readonly string[] = []): Strength {
  let rest = password.toLowerCase().replaceAll(COMMON, 'a');
  for (const word of own) if (word.length > 2) rest = rest.replaceAll(word.toLowerCase(), 'a');
  const alphabet =
    (/[a-z]/.test(password) ? 26 : 0) +
    (/[A-Z]/.test(password) ? 26 : 0) +
    (/\d/.test(password) ? 10 : 0) +
    (/[^\p{L}\d]/u.test(password) ? 20 : 0) +
    (/[^\P{L}a-zA-Z]/u.test(password) ? 40 : 0);
  const bits = usefulLength(rest) * Math.log2(Math.max(2, alphabet));
  if (bits < 28) return 0;
  if (bits < 42) return 1;
  if (bits < 56) return 2;
  return bits < 72 ? 3 : 4;
}

/** Characters that do not follow from the one before. */
function usefulLength(password: string): number {
  let length = 0;
  let before = Number.NaN;
  for (const character of password) {
    const code = character.codePointAt(0) ?? 0;
    length += Math.abs(code - before) <= 1 ? 0.3 : 1;
    before = code;
  }
  return length;
}

/** What guessing programs try before all else, without the digits and signs that people put at the ends. */
const FIRST_GUESSES = new Set([
  'password',
  'passwort',
  'passw0rd',
  'qwerty',
  'qwertyui',
  'qwertyuiop',
  'qwertz',
  'qwertzui',
  'qwertzuiop',
  'azertyui',
  'azertyuiop',
  'asdfghjk',
  'asdfghjkl',
  'iloveyou',
  'letmein',
  'welcome',
  'admin',
  'administrator',
  'changeme',
  'trustno',
  'sunshine',
  'princess',
  'football',
  'baseball',
  'superman',
  'whatever',
  'starwars',
  'matrix',
  'secret',
  'hearth',
]);

const TOO_EASY = 'This password is guessed at once. A few words in a row are easy to keep and hard to guess.';

/**
 * Why a password is none for the account that runs a server; undefined where nothing is obviously wrong. `own`: what
 * everybody knows of the account.
 */
export function findWeakness(password: string, own: readonly string[]): string | undefined {
  const plain = password.trim().toLowerCase();
  if (new Set(plain).size < 4) return TOO_EASY;
  // A date, a telephone number.
  if (/^[\d ./-]{1,12}$/.test(plain)) return TOO_EASY;
  const core = plain.replace(/^\P{L}+|\P{L}+$/gu, '');
  const isKnown = FIRST_GUESSES.has(core) || own.some((each) => each.length > 2 && core === each.toLowerCase());
  return isKnown ? TOO_EASY : undefined;
}

/** Without those that are easily taken for each other. */
const LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';
const GROUPS = 4;
const GROUP_SIZE = 4;

/** A password that is easy to read out: groups of letters and digits, 80 bits of chance. */
export function makeUpPassword(): string {
  const chance = crypto.getRandomValues(new Uint8Array(GROUPS * GROUP_SIZE));
  // 32 letters: every one is as likely as the others.
  const letters = [...chance].map((byte) => LETTERS[byte % LETTERS.length] ?? '');
  return Array.from({ length: GROUPS }, (_group, at) =>
    letters.slice(at * GROUP_SIZE, (at + 1) * GROUP_SIZE).join(''),
  ).join('-');
}

import { MailError } from './index.ts';

/*
 * RFC 5321 allows quoted local parts with spaces and worse in them. Nobody has one; everybody who writes one means harm.
 */
const ADDRESS = /^[^\s@<>()[\]\\,;:"\p{Cc}]+@[^\s@<>()[\]\\,;:"\p{Cc}]+$/u;
/** RFC 5321, 4.5.3.1.3, less the angle brackets. */
const LONGEST_ADDRESS = 254;

/** Whether that is one mail address, and nothing that a mail server could read as several, or as a header. */
export function isMailAddress(text: string): boolean {
  const at = text.lastIndexOf('@');
  return text.length <= LONGEST_ADDRESS && at <= 64 && ADDRESS.test(text);
}

/** `Hearth at home <mail@example.org>`, or the address alone. Throws `MailError` for what is neither. */
export function parseSender(text: string): { readonly name: string; readonly address: string } {
  const named = /^\s*(.*?)\s*<([^<>]*)>\s*$/su.exec(text);
  const address = (named?.[2] ?? text).trim();
  if (!isMailAddress(address)) throw new MailError('the sender of mails is no mail address', { permanent: true });
  return { name: oneLine((named?.[1] ?? '').replace(/^"(.*)"$/s, '$1')), address };
}

/** Text that cannot leave the line of a header. */
export function oneLine(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
    .slice(0, 500);
}

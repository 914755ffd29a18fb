import { invalidParam, MatrixError } from '../../../matrix/errors.ts';
import type { Medium } from '../store.ts';
import type { ThirdPartySettings } from './needs.ts';

const LONGEST_ADDRESS = 254;
const ADDRESS = /^[^\s@<>()[\]\\,;:"\p{Cc}]{1,64}@[^\s@<>()[\]\\,;:"\p{Cc}]+$/u;

/** The one form of an address that counts: people do not mind the case of theirs (spec: "Adding account contact information"). */
export function canonicalAddress(medium: string, address: string): string {
  if (medium !== 'email') return address;
  // Case folding knows one letter that grows.
  return address.trim().toLowerCase().replaceAll('ß', 'ss');
}

/** A mail address in its canonical form. Throws M_INVALID_PARAM for what is none. */
export function readEmail(text: string): string {
  const address = canonicalAddress('email', text);
  if (address.length > LONGEST_ADDRESS || !ADDRESS.test(address)) throw invalidParam('This is no e-mail address');
  return address;
}

/** Throws M_THREEPID_DENIED where accounts here may not have that address. */
export function checkAllowed(
  { allowedThreepids }: Pick<ThirdPartySettings, 'allowedThreepids'>,
  medium: Medium,
  address: string,
): void {
  if (allowedThreepids === undefined) return;
  const allowed = allowedThreepids.some(({ medium: its, pattern }) => its === medium && pattern.test(address));
  if (!allowed) throw new MatrixError('M_THREEPID_DENIED', 'Accounts on this server may not have that address');
}

/** Spec: identity service API, "client_secret": 1 to 255 of `0-9a-zA-Z.=_-`. Throws M_INVALID_PARAM. */
export function checkClientSecret(secret: string): void {
  if (!/^[0-9a-zA-Z.=_-]{1,255}$/.test(secret)) throw invalidParam('The key client_secret is malformed');
}

/** A link that a browser is led to after a validation. Throws M_INVALID_PARAM where it must not be. */
export function checkNextLink(link: string, domains: readonly string[] | undefined): void {
  const url = link.length > 2_000 ? null : URL.parse(link);
  if (
    url === null ||
    (url.protocol !== 'https:' && url.protocol !== 'http:') ||
    url.username !== '' ||
    url.password !== ''
  ) {
    throw invalidParam('The key next_link is no web address');
  }
  if (domains !== undefined && !domains.some((domain) => domain.toLowerCase() === url.hostname)) {
    throw invalidParam('The key next_link leads to a domain that is not on the list of this server');
  }
}

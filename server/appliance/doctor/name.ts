import { isIPv6 } from 'node:net';
import type { ServerAddress } from '../../federation/discovery/server-address.ts';
import { scopeOf } from './addresses.ts';
import { bad, good, type Remark, warning } from './finding.ts';
import { wellKnownUrl } from './web.ts';

/** Names that nobody can own on the internet (RFC 6761, 6762, 8375, ICANN's .internal), and what home routers make up. */
const NOT_PUBLIC =
  /(?:^|\.)(?:localhost|local|lan|home|internal|intranet|corp|private|home\.arpa|test|example|invalid|onion)$/i;

/** Whether a host's name only means something on one computer or in one home. */
export function isHomeName(host: string): boolean {
  return NOT_PUBLIC.test(host) || !/[.:]/.test(host);
}

/** What is to be said of a server name by itself. `address`: its parts; undefined where it is none. */
export function judgeName(name: string, address: ServerAddress | undefined): Remark {
  if (address === undefined) return bad(`"${name.slice(0, 255)}" is no server name.`, hintFor(name));
  const { host, isIpLiteral, port } = address;
  if (isIpLiteral) {
    return warning(
      `${name} is an address and no name: if the address ever changes, nobody finds the server again.`,
      scopeOf(host) === 'public'
        ? 'For a server that is to stay, use a domain name.'
        : 'Nobody outside can reach such an address. For a server that others are to reach, use a domain name.',
    );
  }
  if (isHomeName(host)) {
    return warning(
      `${host} is a name for this computer or this home only; on the internet nobody can find it.`,
      'That is fine for a server of the house alone. To talk with people elsewhere, a new server with a domain of its own is needed.',
    );
  }
  if (wellKnownUrl(host, 'server') === undefined) {
    return bad(
      `${host} cannot be a name on the internet: browsers and apps take it for a number.`,
      'Choose a domain name that ends in letters, such as example.com.',
    );
  }
  if (/[A-Z]/.test(host)) {
    return warning(
      `${name} has capital letters in it: not everybody takes it for the same name as in small letters.`,
      'Use small letters for a new server. One that is in use has to stay as it is.',
    );
  }
  if (port !== undefined) {
    return good(`${name} is a server name; the port is part of it, in every address of a person too.`);
  }
  return good(`${name} is a server name.`);
}

function hintFor(name: string): string {
  if (isIPv6(name)) return `An IPv6 address stands in brackets: [${name}].`;
  if (name.includes('@')) return 'Only the part after the colon is meant: example.com of @you:example.com.';
  if (/^[a-z]+:\/\//i.test(name)) return 'Leave out https:// and whatever follows the name.';
  if (name.includes('/')) return 'Leave out the slash and what follows it.';
  if (name.includes('_')) return 'An underscore may not be in such a name.';
  if (/[^\p{ASCII}]/u.test(name))
    return 'Write names with special letters as domain registries do, beginning with xn--.';
  return 'It is written like example.com, or example.com:8448: letters, digits, dots and hyphens.';
}

import { isIP, isIPv6 } from 'node:net';
import { buildList, listHolds } from '../../federation/outbound/address-guard.ts';

/** Where an address can be reached from. */
export type Scope = 'public' | 'this-machine' | 'home' | 'carrier' | 'link' | 'unusable';

const SCOPES: readonly { readonly scope: Scope; readonly list: ReturnType<typeof buildList> }[] = [
  { scope: 'this-machine', list: buildList(['127.0.0.0/8', '::1']) },
  { scope: 'link', list: buildList(['169.254.0.0/16', 'fe80::/10']) },
  { scope: 'home', list: buildList(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10']) },
  { scope: 'carrier', list: buildList(['100.64.0.0/10']) },
  {
    scope: 'unusable',
    list: buildList([
      '0.0.0.0/8',
      '192.0.0.0/24',
      '192.0.2.0/24',
      '198.18.0.0/15',
      '198.51.100.0/24',
      '203.0.113.0/24',
      '224.0.0.0/3',
      '::',
      '100::/64',
      '2001:db8::/32',
      'ff00::/8',
    ]),
  },
];

/** `address` is an IP literal, or a name that only a proxy can look up. */
export function scopeOf(address: string): Scope {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const [bare = ''] = (mapped ?? address).split('%', 1);
  if (isIP(bare) === 0) return 'public';
  return SCOPES.find(({ list }) => listHolds(list, bare))?.scope ?? 'public';
}

/** Why nobody from outside gets to an address, in words that go after the address. Undefined for public ones. */
export function whyNotPublic(address: string): string | undefined {
  return WHY_NOT[scopeOf(address)];
}

const WHY_NOT: Readonly<Record<Scope, string | undefined>> = {
  public: undefined,
  'this-machine': 'is this computer speaking to itself: nobody else can reach it',
  home: 'is an address of a home network: nobody outside can reach it',
  carrier: 'is an address inside the network of an internet provider (CGNAT): nobody outside can reach it',
  link: 'is an address that only holds on one network cable: nobody outside can reach it',
  unusable: 'is an address that is set aside for documentation or other purposes: nobody can reach it',
};

/** `192.0.2.1:8448`, `[2001:db8::1]:8448`. */
export function placeName(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

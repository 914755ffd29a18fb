import { BlockList, isIP, isIPv4 } from 'node:net';

/** Which addresses this server's own requests may go to. */
export class AddressGuard {
  readonly #deny: BlockList;
  readonly #allow: BlockList;

  /**
   * `deny` and `allow` are addresses and CIDR ranges; what is in both is allowed. Throws RangeError for what is neither
   * an address nor a range.
   */
  constructor({ deny, allow }: { readonly deny: readonly string[]; readonly allow: readonly string[] }) {
    this.#deny = buildList(deny);
    this.#allow = buildList(allow);
  }

  /**
   * Whether `address`, an IP literal, may be connected to. An IPv6 address that only leads on to an IPv4 address counts
   * as that one too. What is no IP literal is not allowed.
   */
  isAllowed(address: string): boolean {
    // "%eth0" says over which interface; the list is about addresses.
    const [bare = ''] = address.split('%', 1);
    if (isIP(bare) === 0) return false;
    const forms = [bare, ...embeddedIpv4(bare)];
    return !forms.some((form) => listHolds(this.#deny, form)) || forms.some((form) => listHolds(this.#allow, form));
  }
}

/** Whether `address`, an IP literal, is in `list`. */
export function listHolds(list: BlockList, address: string): boolean {
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/** A list of addresses and CIDR ranges. Throws RangeError for what is neither. */
export function buildList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) addRange(list, range);
  return list;
}

function addRange(list: BlockList, range: string): void {
  const [address = '', prefix] = range.split('/');
  const version = isIP(address);
  const longest = version === 4 ? 32 : 128;
  const length = prefix === undefined ? longest : Number(prefix);
  if (version === 0 || !Number.isInteger(length) || length < 0 || length > longest) {
    throw new RangeError(`${range} is no IP address and no CIDR range`);
  }
  list.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
}

/** The IPv4 addresses that packets to an IPv6 address end up at: mapped, compatible, NAT64 (RFC 6052), 6to4 (RFC 3056). */
function embeddedIpv4(address: string): readonly string[] {
  if (isIPv4(address)) return [];
  const groups = expand(address);
  const first = groups.slice(0, 6);
  const isZero = (from: number, to: number): boolean => first.slice(from, to).every((group) => group === 0);
  const found: string[] = [];
  const isMapped = isZero(0, 5) && (first[5] === 0xffff || first[5] === 0);
  const isNat64 = first[0] === 0x64 && first[1] === 0xff9b && isZero(2, 6);
  if (isMapped || isNat64) found.push(toIpv4(groups[6], groups[7]));
  if (first[0] === 0x2002) found.push(toIpv4(groups[1], groups[2]));
  return found;
}

function toIpv4(high = 0, low = 0): string {
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`;
}

/** The eight groups of an IPv6 address. */
function expand(address: string): readonly number[] {
  // The URL parser writes the last four bytes in hexadecimal, whatever they were written in.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const read = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const before = read(head);
  if (tail === undefined) return before;
  const after = read(tail);
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

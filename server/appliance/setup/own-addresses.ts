import { isIPv4 } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

type Interfaces = Readonly<Record<string, readonly Pick<NetworkInterfaceInfo, 'address' | 'internal'>[] | undefined>>;

/** Interfaces of containers, virtual machines and VPNs: phones in the home network do not get to their addresses. */
const VIRTUAL = [
  /^(?:docker|br-|veth|virbr|vmnet|vnet|vboxnet|lxc|lxd|cni|flannel|cali|kube|podman|tun|tap|wg|utun|ppp|ipsec|zt|tailscale|nordlynx|awdl|llw|ap\d|anpi)/i,
  /^bridge\d{3}/,
  /vEthernet|VirtualBox|VMware|Hyper-V|WSL|Loopback|Tailscale|ZeroTier|WireGuard|OpenVPN|TAP-|Npcap|Bluetooth/i,
];

const IN_HOMES = /^(?:192\.168\.|10\.|172\.(?:1[6-9]|2\d|3[01])\.)/;

/** Addresses of this machine that others in its network can use, the likeliest first; those of IPv4 before those of IPv6. */
export function listOwnAddresses(interfaces: Interfaces = networkInterfaces()): string[] {
  const usable = (isWanted: (name: string) => boolean): string[] =>
    Object.entries(interfaces)
      .filter(([name]) => isWanted(name))
      .flatMap(([, each]) => each ?? [])
      .filter(({ internal, address }) => !internal && !/^(?:fe80:|169\.254\.)/i.test(address))
      .map(({ address }) => address);
  const real = usable((name) => !VIRTUAL.some((pattern) => pattern.test(name)));
  // Somebody whose only network is a VPN means that one.
  const found = real.length > 0 ? real : usable(() => true);
  return found.toSorted((a, b) => rank(a) - rank(b));
}

function rank(address: string): number {
  return IN_HOMES.test(address) ? 0 : isIPv4(address) ? 1 : 2;
}

/** All addresses of this machine, whoever can use them. */
export function listEveryAddress(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address));
}

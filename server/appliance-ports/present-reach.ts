import { isHomeName } from '../appliance/doctor/name.ts';
import type { Reach } from '../appliance/contract.ts';
import type { PresentReach } from '../appliance/setup/port.ts';
import type { Config } from '../config/types.ts';

/** From where a server is reached, as its configuration has it, whoever wrote that. */
export function presentReach(config: Config): PresentReach {
  const { serverName, publicBaseUrl, publicBaseUrlGiven, tls } = config;
  const reaches = reachesOf(config);
  const usual = reaches[0] === 'domain' && speaksTls(config) ? `https://${serverName}:8448` : `https://${serverName}`;
  const publicUrl = publicBaseUrl.replace(/\/$/, '');
  return {
    serverName,
    reaches,
    // What it would be without being said needs not be asked about.
    publicUrl: publicBaseUrlGiven && publicUrl !== usual ? publicUrl : undefined,
    certificatePath: tls?.certificatePath,
    privateKeyPath: tls?.privateKeyPath,
  };
}

/** Whether the listeners of a configuration do for this way: then they stay as somebody may have adjusted them. */
export function suitsReach(config: Config, reach: Reach, wantsTls: boolean): boolean {
  if (reach === 'home') return !speaksTls(config) && isOpen(config) && !isTrusting(config);
  if (reach === 'domain' && wantsTls) return speaksTls(config);
  return !speaksTls(config) && isTrusting(config);
}

function reachesOf(config: Config): readonly [Reach, ...Reach[]] {
  const { serverName, federation, publicBaseUrlGiven } = config;
  if (speaksTls(config)) return ['domain'];
  if (isTrusting(config)) return ['proxy', 'domain'];
  if (federation.allowedServers?.length === 0 && isOpen(config)) return ['home'];
  return isHomeName(serverName.replace(/:\d+$/, '')) && !publicBaseUrlGiven ? ['home'] : ['domain', 'proxy'];
}

function speaksTls({ listeners }: Config): boolean {
  return listeners.some(({ tls, resources }) => tls && resources.includes('federation'));
}

/** Whether something in front of it is believed. */
function isTrusting(config: Config): boolean {
  return plainForClients(config).some(({ trustForwarded }) => trustForwarded);
}

/** Whether others than this machine get to it. */
function isOpen(config: Config): boolean {
  return plainForClients(config).some(({ bindAddresses }) =>
    bindAddresses.some((address) => address !== '::1' && !address.startsWith('127.')),
  );
}

function plainForClients({ listeners }: Config): Config['listeners'] {
  return listeners.filter(({ tls, port, resources }) => !tls && port !== undefined && resources.includes('client'));
}

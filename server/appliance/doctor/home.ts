/** A server that is meant for the home alone: whether the devices there get to it. */
import { isIPv6 } from 'node:net';
import type { DoctorReport, Finding } from '../contract.ts';
import { placeName, scopeOf } from './addresses.ts';
import { ConnectError, openTcp, secure } from './connection.ts';
import { type Answer, AnswerError, exchange } from './exchange.ts';
import { bad, findingOf, good, type Remark, warning, worst } from './finding.ts';
import type { OwnListener, OwnServer } from './port.ts';
import type { Look } from './web.ts';

const EVERYWHERE = new Set(['::', '0.0.0.0']);

/** Looks at a server as the devices of a home would, and not at what others outside would need. */
export async function examineHome(own: OwnServer, look: Look): Promise<Finding[]> {
  const note = findingOf(
    'home',
    'Other servers',
    good('This server is for this home only: other servers are not meant to find it, and were not looked for.'),
  );
  const open = own.forClients.filter(({ address }) => scopeOf(address) !== 'this-machine');
  if (open.length === 0) {
    const remark = warning(
      'Only this computer itself can connect: Hearth does not listen in the home network.',
      'Choose "this home network" in the setup, or add the address 0.0.0.0 to bind_addresses of the listener for clients in the settings.',
    );
    return [note, findingOf('devices', 'Devices in the home', remark)];
  }
  const places = open.flatMap((listener) =>
    addressesOf(listener, look.view.localAddresses).map((address) => ({ ...listener, address })),
  );
  if (places.length === 0) {
    const remark = warning('This computer is in no network right now.', 'Connect it by cable or Wi-Fi.');
    return [note, findingOf('devices', 'Devices in the home', remark)];
  }
  const findings = places.map(async (place) => {
    const name = placeName(place.address, place.port);
    return findingOf(`devices ${name}`, `Devices in the home (${name})`, await askListener(place, own, look));
  });
  return [note, ...(await Promise.all(findings))];
}

/** Where a listener is found in the home network. Addresses that change from cable to cable are of no use to anybody. */
function addressesOf({ address }: OwnListener, localAddresses: readonly string[]): string[] {
  if (!EVERYWHERE.has(address)) return [address];
  return localAddresses.filter(
    (local) => scopeOf(local) !== 'link' && scopeOf(local) !== 'this-machine' && (address === '::' || !isIPv6(local)),
  );
}

async function askListener({ address, port, tls }: OwnListener, own: OwnServer, look: Look): Promise<Remark> {
  const name = placeName(address, port);
  let answer: Answer;
  try {
    const tcp = await openTcp(address, port, look.world, look.signal);
    const socket = tls ? (await secure(tcp, own.serverName.replace(/:\d+$/, ''), look.world, look.signal)).socket : tcp;
    answer = await exchange(socket, { path: '/_matrix/client/versions', host: name }, look.world, look.signal);
  } catch (error) {
    if (!(error instanceof ConnectError) && !(error instanceof AnswerError)) throw error;
    return bad(
      `Hearth cannot be reached at ${name}, the address that devices in the home would use.`,
      'Start it, or continue it if it is paused. If it runs, let Hearth through the firewall of this computer.',
      [error.message],
    );
  }
  if (answer.status !== 200 || !Array.isArray(answer.json?.['versions'])) {
    return bad(
      `Another program answers at ${name}.`,
      `Find out what listens on port ${port} and stop it, or give Hearth another port in the settings.`,
      [`Status ${answer.status}`],
    );
  }
  return good(`Devices in the home can connect to ${tls ? 'https' : 'http'}://${name}.`);
}

/** The report in one sentence. */
export function sumHome(name: string, findings: readonly Finding[]): Pick<DoctorReport, 'verdict' | 'summary'> {
  const verdict = worst(findings);
  const fault = findings.find((finding) => finding.verdict === verdict);
  if (verdict === 'good') return { verdict, summary: `${name} is for this home only, and devices here can connect.` };
  return { verdict, summary: `${name} is for this home only. ${fault?.text ?? ''}` };
}

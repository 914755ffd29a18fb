/** The doctor: everything between another server's question "where is it?" and a checked signature. */
import { isIP } from 'node:net';
import { DnsError } from '../../federation/discovery/dns.ts';
import { parseServerAddress, type ServerAddress } from '../../federation/discovery/server-address.ts';
import { isServerName, type ServerName } from '../../matrix/identifiers.ts';
import type { DoctorReport, Finding } from '../contract.ts';
import { examineClients } from './clients.ts';
import { startDeadline } from './connection.ts';
import { examinePlace, type Place, type PlaceReport } from './endpoint.ts';
import { bad, findingOf, good, skipped, warning, worst } from './finding.ts';
import { examineHome, sumHome } from './home.ts';
import { judgeName } from './name.ts';
import { examineAcceptance, examineListeners, examineOwnPlaces } from './own.ts';
import { findPlaces } from './places.ts';
import type { OwnServer } from './port.ts';
import { sum } from './summary.ts';
import { explainDns, type Look } from './web.ts';
import { readDelegation } from './well-known.ts';
import type { World } from './world.ts';

export interface Examination {
  readonly world: World;
  /** Our own server, where there is one. */
  readonly own?: OwnServer | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` from 0 to 1. */
  readonly progress?: ((done: number, step: string) => void) | undefined;
}

const MAX_PLACES = 8;

/**
 * Looks at a server as others would who want to reach it. Never rejects for what it finds; throws what `signal` was aborted
 * with.
 */
export async function examine(name: string, examination: Examination): Promise<DoctorReport> {
  const { world, own, signal = new AbortController().signal, progress = () => {} } = examination;
  const startedAt = world.clock.now();
  const deadline = startDeadline(world, world.limits.totalMs, signal);
  const findings: Finding[] = [];
  const places: PlaceReport[] = [];
  const ourselves = own?.serverName === name ? own : undefined;
  const look: Look = {
    world,
    signal: deadline.signal,
    view: {
      isOwn: ourselves !== undefined,
      host: isServerName(name) ? (parseServerAddress(name)?.host ?? name) : name,
      localAddresses: world.localAddresses(),
    },
  };
  try {
    if (ourselves?.isForHomeOnly === true) {
      progress(0.2, 'Looking from the home network');
      findings.push(...(await examineHome(ourselves, look)));
      signal.throwIfAborted();
      return { serverName: name, startedAt, endedAt: world.clock.now(), ...sumHome(name, findings), findings };
    }
    progress(0, 'Looking at the name');
    const address = isServerName(name) ? parseServerAddress(name) : undefined;
    findings.push(findingOf('name', 'Server name', judgeName(name, address)));
    if (address !== undefined && isServerName(name)) {
      if (ourselves !== undefined) findings.push(...(await examineListeners(ourselves, look)));
      const clients = address.isIpLiteral ? [] : examineClients(address.host, ourselves?.clientUrl, look);
      // It is awaited below; if something else fails before, it must not be left alone with its failure.
      void Promise.allSettled([clients]);
      await examineWay(name, address, { look, findings, places, own, progress });
      findings.push(...(await clients));
    }
    signal.throwIfAborted();
    if (deadline.signal.aborted) {
      findings.push(
        findingOf(
          'time',
          'Time',
          warning(
            'The check was broken off because it took too long; what is lacking was not looked at.',
            'Run it again. If it stays so, something on the way swallows connections instead of refusing them.',
          ),
        ),
      );
    }
  } finally {
    deadline.end();
  }
  const verdict = worst(findings);
  return {
    serverName: name,
    startedAt,
    endedAt: world.clock.now(),
    verdict,
    summary: sum(name, findings, places),
    findings,
  };
}

interface Under {
  readonly look: Look;
  readonly findings: Finding[];
  readonly places: PlaceReport[];
  readonly own: OwnServer | undefined;
  readonly progress: (done: number, step: string) => void;
}

/** The way of other servers (spec: server-server API, "Resolving server names"). */
async function examineWay(name: ServerName, address: ServerAddress, under: Under): Promise<void> {
  const { look, findings, places, own, progress } = under;
  const isFixed = address.isIpLiteral || address.port !== undefined;
  progress(0.1, 'Looking for a delegation');
  let target: { readonly name: ServerName; readonly address: ServerAddress } = { name, address };
  if (isFixed) {
    const text = 'The name says itself where the server is, so no other server asks for such a file.';
    findings.push(findingOf('well-known', 'Delegation file', skipped(text)));
  } else {
    const { to, remark } = await readDelegation(address.host, look);
    findings.push(findingOf('well-known', 'Delegation file', remark));
    const delegated = to === undefined ? undefined : parseServerAddress(to);
    if (to !== undefined && delegated !== undefined) target = { name: to, address: delegated };
  }

  progress(0.3, 'Asking for records');
  const { endpoints, finding } = await findPlaces(target.address, look);
  findings.push(finding);
  const found: Place[] = [];
  for (const endpoint of endpoints) {
    const addresses = await listAddresses(endpoint.host, { endpoint, look, findings });
    for (const one of addresses) {
      const place = {
        address: one,
        port: endpoint.port,
        tlsName: target.address.host,
        hostHeader: target.name,
        host: endpoint.host,
      };
      if (!found.some((other) => other.address === one && other.port === endpoint.port)) found.push(place);
    }
  }

  progress(0.5, 'Calling every address');
  const looked = found.slice(0, MAX_PLACES);
  places.push(...(await Promise.all(looked.map((place) => examinePlace(name, place, look)))));
  const isReachedAnywhere = places.some(({ isReached }) => isReached);
  for (const report of places) findings.push(...report.findings.map((one) => soften(one, isReachedAnywhere)));
  if (found.length > looked.length) {
    const text = `Only ${MAX_PLACES} of ${found.length} addresses were looked at.`;
    findings.push(findingOf('more', 'Further addresses', skipped(text)));
  }
  if (!address.isIpLiteral && found.length > 0) findings.push(judgeFamilies(places));

  progress(0.8, 'Comparing keys');
  const usable = places.find(({ isUsable }) => isUsable)?.place;
  if (own === undefined) return;
  if (own.serverName === name) findings.push(...(await examineOwnPlaces(own, places, look)));
  else if (usable !== undefined) findings.push(await examineAcceptance(own, name, usable, look));
}

/** An address that nobody answers at costs others time; another one that answers makes up for it. */
function soften(finding: Finding, isReachedAnywhere: boolean): Finding {
  const isAboutTheWay = finding.id.startsWith('port ') || finding.id.startsWith('scope ');
  if (!isReachedAnywhere || !isAboutTheWay || finding.verdict !== 'bad') return finding;
  return {
    ...finding,
    verdict: 'warning',
    text: `${finding.text} Another address answers; but servers that try this one first have to wait, or give up.`,
  };
}

async function listAddresses(
  host: string,
  { endpoint, look, findings }: { endpoint: { port: number; isService: boolean }; look: Look; findings: Finding[] },
): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const id = `dns ${host}`;
  const title = `Addresses of ${host}`;
  if (findings.some((finding) => finding.id === id)) return [];
  try {
    const { ipv4, ipv6, alias, isLocalOnly = false } = await look.world.dns.host(host);
    const all = [...ipv6, ...ipv4];
    const details = [...all, ...(alias === undefined ? [] : [`An alias (CNAME) of ${alias}`])];
    const known = `${host} leads to ${all.length === 1 ? 'one address' : `${all.length} addresses`}.`;
    const remark = isLocalOnly
      ? bad(
          `Only this computer or this network knows the name ${host}; nobody outside finds it.`,
          'Register the name, or a domain, and add an A record for it there.',
          details,
        )
      : alias !== undefined && endpoint.isService
        ? warning(
            `${known} The SRV record names an alias, which the rules forbid; some servers do not follow it.`,
            `Name ${alias} itself in the SRV record.`,
            details,
          )
        : good(known, details);
    findings.push(findingOf(id, title, remark));
    return all;
  } catch (error) {
    if (!(error instanceof DnsError)) throw error;
    findings.push(findingOf(id, title, explainDns(host, error)));
    return [];
  }
}

function judgeFamilies(places: readonly PlaceReport[]): Finding {
  const of = (isSix: boolean): readonly PlaceReport[] =>
    places.filter(({ place }) => (isIP(place.address) === 6) === isSix);
  const [four, six] = [of(false), of(true)];
  const title = 'IPv4 and IPv6';
  if (four.length === 0) {
    const text = 'There is only IPv6: servers and phones that only have IPv4 cannot get there.';
    const step =
      'Add an A record with an IPv4 address. Where the provider gives none, a tunnel or a small rented server in front can lend one.';
    return findingOf('families', title, warning(text, step));
  }
  const works = (list: readonly PlaceReport[]): boolean => list.some(({ isUsable }) => isUsable);
  if (six.length === 0) {
    return findingOf('families', title, good('There is IPv4, which everybody can reach, and no IPv6, which few need.'));
  }
  if (works(four) && works(six)) return findingOf('families', title, good('It works by IPv4 and by IPv6.'));
  if (!works(four) && !works(six)) {
    return findingOf('families', title, skipped('It could be tried neither by IPv4 nor by IPv6 to the end.'));
  }
  const unseen = (works(four) ? six : four).every(({ findings }) =>
    findings.some(({ verdict }) => verdict === 'skipped'),
  );
  const [working, other, record] = works(four) ? ['IPv4', 'IPv6', 'AAAA'] : ['IPv6', 'IPv4', 'A'];
  if (unseen)
    return findingOf('families', title, skipped(`It works by ${working}; ${other} could not be tried from here.`));
  const step = `Let ${other} through to the server as well, or take its ${record} record away.`;
  return findingOf('families', title, warning(`It works by ${working} but not by ${other}.`, step));
}

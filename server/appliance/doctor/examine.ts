/** The doctor: everything between another server's question "where is it?" and a checked signature. */
import { isIP } from 'node:net';
import { DnsError } from '../../federation/discovery/dns.ts';
import { parseServerAddress, type ServerAddress } from '../../federation/discovery/server-address.ts';
import { isServerName, type ServerName } from '../../matrix/identifiers.ts';
import type { DoctorReport, Finding } from '../contract.ts';
import { examineClients } from './clients.ts';
import { placeName, scopeOf } from './addresses.ts';
import { findProxy, startDeadline } from './connection.ts';
import { examinePlace, type Place, type PlaceReport } from './endpoint.ts';
import { bad, findingOf, good, skipped, warning, worst } from './finding.ts';
import { examineHome, sumHome } from './home.ts';
import { judgeName } from './name.ts';
import { examineAcceptance, examineListeners, examineOwnPlaces } from './own.ts';
import { findPlaces } from './places.ts';
import type { OwnServer } from './port.ts';
import { sum } from './summary.ts';
import { explainDns, type Look } from './web.ts';
import { blameDelegation, outweigh, tellHeard } from './weigh.ts';
import { type Delegated, readDelegation } from './well-known.ts';
import { patientDns, type World } from './world.ts';

export interface Examination {
  readonly world: World;
  /** Our own server, where there is one. */
  readonly own?: OwnServer | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` from 0 to 1. */
  readonly progress?: ((done: number, step: string) => void) | undefined;
  /** Is told what was found so far, whenever there is more. */
  readonly found?: ((findings: readonly Finding[]) => void) | undefined;
}

const MAX_PLACES = 8;

/**
 * Looks at a server as others would who want to reach it. Never rejects for what it finds; throws what `signal` was aborted
 * with.
 */
export async function examine(name: string, examination: Examination): Promise<DoctorReport> {
  const { own, signal = new AbortController().signal, found = () => {} } = examination;
  const startedAt = examination.world.clock.now();
  const deadline = startDeadline(examination.world, examination.world.limits.totalMs, signal);
  const world: World = { ...examination.world, dns: patientDns(examination.world.dns, deadline.signal) };
  const findings: Finding[] = [];
  const progress = (done: number, step: string): void => {
    if (findings.length > 0) found([...findings]);
    examination.progress?.(done, step);
  };
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
    const named = judgeName(name, address);
    findings.push(findingOf('name', 'Server name', named));
    if (named.verdict !== 'bad' && address !== undefined && isServerName(name)) {
      findings.push(...tellProxy(address, world));
      if (ourselves !== undefined) findings.push(...(await examineListeners(ourselves, look)));
      const clients = address.isIpLiteral ? [] : examineClients(name, address.host, ourselves, look);
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
  let delegation: Delegated | undefined;
  if (isFixed) {
    const text = 'The name says itself where the server is, so no other server asks for such a file.';
    findings.push(findingOf('well-known', 'Delegation file', skipped(text)));
  } else {
    delegation = await readDelegation(address.host, look);
    const { to, remark } = delegation;
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
  const heard = own?.serverName === name ? own.heard?.() : undefined;
  for (const report of places) {
    findings.push(...report.findings.map((one) => soften(outweigh(one, heard, look.world), isReachedAnywhere)));
  }
  if (delegation !== undefined && !isReachedAnywhere) blameDelegation(findings, delegation, address.host);
  if (own?.serverName === name && own.heard !== undefined) findings.push(tellHeard(heard, look.world));
  if (found.length > looked.length) {
    const text = `Only ${MAX_PLACES} of ${found.length} addresses were looked at.`;
    findings.push(findingOf('more', 'Further addresses', skipped(text)));
  }
  const outside = places.filter(({ place }) => isIP(place.address) !== 0 && scopeOf(place.address) === 'public');
  if (!address.isIpLiteral && outside.length > 0) findings.push(judgeFamilies(outside));

  progress(0.8, 'Comparing keys');
  const usable = places.find(({ isUsable }) => isUsable)?.place;
  if (own === undefined) return;
  if (own.serverName === name) findings.push(...(await examineOwnPlaces(own, places, look)));
  else if (usable !== undefined) findings.push(await examineAcceptance(own, name, usable, look));
}

/** A proxy of this machine stands between it and what is looked at. */
function tellProxy({ host, port }: ServerAddress, world: World): Finding[] {
  const proxy = findProxy(host, host, port ?? 443, world);
  if (proxy === undefined) return [];
  const text = `This computer reaches other servers through the proxy ${placeName(proxy.host, proxy.port)}, and so did this check.`;
  return [findingOf('proxy', 'Proxy of this computer', skipped(text))];
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
    const { ipv4, ipv6, alias, isLocalOnly = false, failed } = await look.world.dns.host(host);
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
        : failed !== undefined
          ? warning(
              `${known} But its name servers fail where they are asked for ${failed} records, instead of saying that there are none; some servers give up then.`,
              'Tell whoever runs the name servers of the domain, or move the domain to others. If it happens once only, it was chance.',
              details,
            )
          : good(known, details);
    findings.push(findingOf(id, title, remark));
    return all;
  } catch (error) {
    if (!(error instanceof DnsError)) throw error;
    const proxy = findProxy(host, host, endpoint.port, look.world);
    if (proxy?.looksUpNames === true) {
      const text = `This computer does not find the address of ${host}; the proxy it goes through looks it up.`;
      findings.push(findingOf(id, title, skipped(text)));
      return [host];
    }
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

import { DnsError } from '../../federation/discovery/dns.ts';
import type { ServerAddress } from '../../federation/discovery/server-address.ts';
import type { SrvRecord } from '../../federation/discovery/srv-query.ts';
import type { Finding } from '../contract.ts';
import { placeName } from './addresses.ts';
import { bad, findingOf, good, type Remark, skipped, warning } from './finding.ts';
import type { Look } from './web.ts';

export interface Spot {
  readonly host: string;
  readonly port: number;
  /** An SRV record leads there. */
  readonly isService: boolean;
}

const DEFAULT_PORT = 8448;
const SERVICE = '_matrix-fed._tcp';
const OLD_SERVICE = '_matrix._tcp';
const MAX_RECORDS = 8;

/** Where a name leads that is not asked whom it delegates to (spec: "Resolving server names", 3.1 to 3.5 and 4 to 6). */
export async function findPlaces(
  { host, port, isIpLiteral }: ServerAddress,
  { world }: Look,
): Promise<{ readonly endpoints: readonly Spot[]; readonly finding: Finding }> {
  const finding = (remark: Remark): Finding => findingOf('srv', 'SRV records', remark);
  const here = [{ host, port: port ?? DEFAULT_PORT, isService: false }];
  if (isIpLiteral || port !== undefined) {
    const text = `Not asked for: ${placeName(host, port ?? DEFAULT_PORT)} names the place itself.`;
    return { endpoints: here, finding: finding(skipped(text)) };
  }
  let records: readonly SrvRecord[];
  let isOld = false;
  try {
    records = await world.dns.services(`${SERVICE}.${host}`);
    if (records.length === 0) {
      records = await world.dns.services(`${OLD_SERVICE}.${host}`);
      isOld = records.length > 0;
    }
  } catch (error) {
    if (!(error instanceof DnsError)) throw error;
    const text = `It could not be found out whether ${host} has SRV records.`;
    const step =
      'Try again in a moment; some routers do not pass such questions on. Without an answer, others go on with port 8448.';
    return { endpoints: here, finding: finding(warning(text, step, [error.message])) };
  }
  if (records.length === 0) {
    return {
      endpoints: here,
      finding: finding(good(`There are none; other servers go on with port ${DEFAULT_PORT}.`)),
    };
  }
  const details = records.map(
    (record) => `${record.priority} ${record.weight} ${record.port} ${record.target === '' ? '.' : record.target}`,
  );
  const offered = records.filter(({ target, port: at }) => target !== '' && at > 0);
  if (offered.length === 0) {
    const text = `The SRV record of ${host} says that there is no Matrix server.`;
    return {
      endpoints: [],
      finding: finding(bad(text, 'Remove it, or name the host and the port of the server in it.', details)),
    };
  }
  const endpoints = offered
    .toSorted((a, b) => a.priority - b.priority)
    .slice(0, MAX_RECORDS)
    .map(({ target, port: at }) => ({ host: target, port: at, isService: true }));
  const [first] = endpoints;
  const text = `Other servers are led to ${first === undefined ? host : placeName(first.host, first.port)}${endpoints.length > 1 ? ` and ${endpoints.length - 1} more` : ''}.`;
  const remark = isOld
    ? warning(
        `${text} The record has the old name ${OLD_SERVICE}, which servers may stop asking for.`,
        `Add the same record as ${SERVICE}.${host}, or use the delegation file in its place.`,
        details,
      )
    : good(text, details);
  return { endpoints, finding: finding(remark) };
}

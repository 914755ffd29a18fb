import { DnsError } from '../../federation/discovery/dns.ts';
import { ConnectError, openTcp, secure } from './connection.ts';
import { AnswerError, exchange } from './exchange.ts';
import { good, type Remark, warning } from './finding.ts';
import { hostOf, type Look } from './web.ts';

/**
 * Whether a proxy lets files of `bytes` through: one is announced, and what comes back before it is sent tells. Nothing is
 * sent. Undefined where that could not be seen.
 */
export async function askUpload(url: URL, bytes: number, look: Look): Promise<Remark | undefined> {
  const { world, signal } = look;
  const host = hostOf(url);
  let status: number;
  try {
    const { ipv4, ipv6 } = await world.dns.host(host);
    const address = [...ipv4, ...ipv6][0];
    if (address === undefined) return undefined;
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
    const tcp = await openTcp(address, port, world, signal, host);
    const socket = url.protocol === 'https:' ? (await secure(tcp, host, world, signal)).socket : tcp;
    const headers = {
      'content-length': String(bytes),
      'content-type': 'application/octet-stream',
      expect: '100-continue',
    };
    ({ status } = await exchange(
      socket,
      { method: 'POST', path: url.pathname, host: url.host, headers },
      world,
      signal,
    ));
  } catch (error) {
    if (error instanceof DnsError || error instanceof ConnectError || error instanceof AnswerError) return undefined;
    throw error;
  }
  const size = `${Math.floor(bytes / (1024 * 1024))} MB`;
  if (status !== 413) return good(`Files of ${size}, the most that Hearth takes, get through.`);
  return warning(
    `Hearth takes files of ${size}, but the proxy at ${url.host} turns away files that large.`,
    `Have the proxy take as much. nginx: client_max_body_size ${Math.ceil(bytes / (1024 * 1024))}m. Apache: LimitRequestBody. Or choose a smaller limit in the settings (max_upload_size).`,
  );
}

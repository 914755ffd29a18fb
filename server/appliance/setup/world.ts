import { createSystemDns, type Dns } from '../../federation/discovery/dns.ts';
import type { Dial } from '../../federation/outbound/dial.ts';
import { createGuardedHttp } from '../../federation/outbound/guarded-http.ts';
import { OutboundError } from '../../federation/outbound/outbound-error.ts';
import { Outbound } from '../../federation/outbound/outbound.ts';
import { ordinaryTls } from '../../federation/outbound/tls-policy.ts';
import type { Clock } from '../../util/clock.ts';
import type { Random } from '../../util/random.ts';
import type { NameWorld } from './name-check.ts';
import { listEveryAddress } from './own-addresses.ts';

const ANSWER_MS = 2500;
const MAX_BYTES = 64 * 1024;

/** The world as this machine sees it; tests play it by `dns` and `dial`. */
export function createNameWorld(needs: {
  readonly clock: Clock;
  readonly random: Random;
  readonly dns?: Dns | undefined;
  readonly dial?: Dial | undefined;
}): NameWorld & { close(): Promise<void> } {
  const { clock, random, dial } = needs;
  const dns = needs.dns ?? createSystemDns({ random, clock });
  const addresses = async (host: string): Promise<readonly string[]> => (await dns.addresses(host)).value;
  const outbound = new Outbound({
    clock,
    lookup: addresses,
    ...(dial === undefined ? {} : { dial }),
    settings: {
      // It is the owner who asks, of a name that may well lead to this machine.
      deny: [],
      allow: [],
      // Whoever answers under a name with a certificate of no use still has it.
      tls: { ...ordinaryTls, verifyCertificates: false },
      userAgent: 'Hearth',
      httpProxy: undefined,
      httpsProxy: undefined,
      noProxyHosts: undefined,
    },
  });
  const http = createGuardedHttp({ outbound, clock });
  return {
    addresses,
    ownAddresses: listEveryAddress,
    getJson: async (url) => {
      try {
        const { status, body } = await http.get(url, { timeoutMs: ANSWER_MS, maxBytes: MAX_BYTES, secureOnly: true });
        return status === 200 ? JSON.parse(body.toString()) : undefined;
      } catch (error) {
        // No answer, or one that is no JSON, is what was to be found out.
        if (error instanceof OutboundError || error instanceof SyntaxError) return undefined;
        throw error;
      }
    },
    close: () => outbound.close(),
  };
}

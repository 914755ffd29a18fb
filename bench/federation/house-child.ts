/**
 * A homeserver in a process of its own, for whom every name leads to the played servers. Run by house-process.ts:
 * node house-child.ts <configuration> <port of the played servers>
 */
import assert from 'node:assert/strict';
import { loadConfig } from '../../server/config/config.ts';
import { DnsError } from '../../server/federation/discovery/dns.ts';
import { dialTcp } from '../../server/federation/outbound/dial.ts';
import { startServer, type StartOptions } from '../../server/main.ts';
import { type Logger, silentLogger } from '../../server/util/log.ts';
import type { Order, Report } from './house-messages.ts';
import { StallWatch } from './stall-watch.ts';

const [, , configPath, peersPort] = process.argv;
assert.ok(
  configPath !== undefined && peersPort !== undefined,
  'the configuration and the port of the others are given',
);
const port = Number(peersPort);

type Loss = 'refuses' | 'is silent' | 'has no name';
const LOSSES: readonly Loss[] = ['refuses', 'is silent', 'has no name'];
const lost = new Map<string, Loss>();
/** Connections say by a port of their own which kind of lost server they are for. */
const REFUSING = 1;
const SILENT = 2;

const network: NonNullable<StartOptions['network']> = {
  dns: {
    addresses: async (host) => {
      if (lost.get(host) === 'has no name') throw new DnsError(`${host} is not known`, true);
      return { value: ['127.0.0.1'], ttlMs: 0 };
    },
    services: async (name) => {
      const target = name.replace(/^_matrix-fed\._tcp\./, '');
      const loss = lost.get(target);
      if (loss === 'has no name') return { value: [], ttlMs: 0 };
      const to = loss === undefined ? port : loss === 'refuses' ? REFUSING : SILENT;
      return { value: [{ priority: 0, weight: 0, target, port: to }], ttlMs: 0 };
    },
  },
  dial: async (address, to, signal) => {
    if (to === port) return dialTcp(address, to, signal);
    if (to !== SILENT) throw Object.assign(new Error(`nobody answers on port ${to}`), { code: 'ECONNREFUSED' });
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  },
};

const complaints: Logger = {
  ...silentLogger,
  error: (data, message) => console.error('house:', message, data),
  child: () => complaints,
};

const { config } = loadConfig({ configPath });
const server = await startServer(config, complaints, { network });
const [address] = server.addresses;
assert.ok(address !== undefined, 'the house answers');

const watch = new StallWatch();
watch.start();
let cpu = process.cpuUsage();

const report = (message: Report): void => void process.send?.(message);
process.on('message', (order: Order) => {
  if (order.kind === 'lose') {
    for (const [index, name] of order.servers.entries()) lost.set(name, LOSSES[index % LOSSES.length] ?? 'refuses');
  }
  const spent = process.cpuUsage(cpu);
  report({
    kind: 'done',
    stall: watch.read(),
    cpuMs: (spent.user + spent.system) / 1000,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  });
  if (order.kind !== 'reset') return;
  watch.reset();
  cpu = process.cpuUsage();
});
process.once('SIGTERM', () => {
  void server.stop().then(() => process.exit(0));
});
report({ kind: 'ready', port: address.port });

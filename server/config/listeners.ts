import type { OptionValues } from './options/all.ts';
import type { Source } from './source.ts';
import type { ListenerConfig, ListenerResource } from './types.ts';

type ListenerValues = NonNullable<OptionValues['listeners']>[number];

// What a resource's name stands for besides itself.
const implied: Readonly<Record<string, readonly ListenerResource[]>> = {
  client: ['media', 'static'],
  federation: ['media', 'keys', 'openid'],
};

/** The port clients connect to, unless something else is configured. */
export const DEFAULT_CLIENT_PORT = 8008;

/** The listeners of a configuration that has none: clients and other servers, on this machine only. */
export const defaultListeners: readonly ListenerConfig[] = [
  plainListener(DEFAULT_CLIENT_PORT, ['client', 'federation']),
];

/** What `listeners` says, with the ports of the command line in their place. */
export function buildListeners(
  source: Source,
  ports: { readonly client: number | undefined; readonly federation: number | undefined },
  hasCertificate: boolean,
): readonly ListenerConfig[] {
  const written = source.values.listeners;
  const listeners =
    written === undefined
      ? [...defaultListeners]
      : written.map((values, index) => buildListener(source, values, index)).filter((one) => one !== undefined);
  if (ports.client !== undefined) setClientPort(listeners, ports.client);
  if (ports.federation !== undefined) setFederationPort(listeners, ports.federation, hasCertificate);
  return listeners;
}

function buildListener(source: Source, values: ListenerValues, index: number): ListenerConfig | undefined {
  const name = `listener ${index + 1}`;
  if (values.type !== 'http') {
    const why = values.type === 'metrics' ? 'is understood, but has no effect yet' : 'has no effect';
    source.warn('listeners', `${name}: the type ${values.type} ${why}`);
    return undefined;
  }
  if ((values.port === undefined) === (values.path === undefined)) {
    source.refuse(['listeners'], `${name} needs either a port or a path`);
    return undefined;
  }
  const resources = new Set<ListenerResource>(['health']);
  const compressed = new Set<ListenerResource>();
  for (const { names, compress } of values.resources) {
    for (const resource of names) {
      if (resource === 'replication' || resource === 'webclient') {
        source.warn('listeners', `${name}: the resource ${resource} has no effect`);
        continue;
      }
      if (resource === 'metrics') {
        source.warn('listeners', `${name}: the resource ${resource} is understood, but has no effect yet`);
      }
      for (const one of [resource, ...(implied[resource] ?? [])]) {
        resources.add(one);
        if (compress) compressed.add(one);
      }
    }
  }
  return {
    port: values.port,
    socketPath: values.path,
    socketMode: values.mode,
    bindAddresses: values.port === undefined ? [] : bindAddresses(values),
    tls: values.tls,
    trustForwarded: values.x_forwarded,
    requestIdHeader: values.request_id_header?.toLowerCase(),
    tag: values.tag,
    resources: [...resources],
    compressed: [...compressed],
  };
}

function bindAddresses({ bind_addresses: several, bind_address: one }: ListenerValues): readonly string[] {
  const written = [...(several ?? []), ...(one === undefined || one === '' ? [] : [one])];
  const unique = [...new Set(written)];
  if (unique.length === 0) return ['::'];
  // "::" takes IPv4 connections too, so that "0.0.0.0" beside it would find the port taken.
  return unique.includes('::') ? unique.filter((address) => address !== '0.0.0.0') : unique;
}

function plainListener(port: number, names: readonly ('client' | 'federation')[]): ListenerConfig {
  const resources = new Set<ListenerResource>(['health', ...names, ...names.flatMap((name) => implied[name] ?? [])]);
  return {
    port,
    socketPath: undefined,
    socketMode: 0o666,
    bindAddresses: ['127.0.0.1'],
    tls: false,
    trustForwarded: false,
    requestIdHeader: undefined,
    tag: undefined,
    resources: [...resources],
    compressed: [],
  };
}

function setClientPort(listeners: ListenerConfig[], port: number): void {
  const index = findClientListener(listeners);
  const found = listeners[index];
  if (found === undefined) listeners.unshift(plainListener(port, ['client']));
  else listeners[index] = { ...found, port };
}

// The plain one, if there is one: the other may be the door for other servers.
function findClientListener(listeners: readonly ListenerConfig[]): number {
  const serves = ({ port, resources }: ListenerConfig): boolean => port !== undefined && resources.includes('client');
  const plain = listeners.findIndex((listener) => serves(listener) && !listener.tls);
  return plain === -1 ? listeners.findIndex(serves) : plain;
}

function setFederationPort(listeners: ListenerConfig[], port: number, hasCertificate: boolean): void {
  const client = findClientListener(listeners);
  const index = listeners.findIndex(
    (listener, position) =>
      position !== client && listener.port !== undefined && listener.resources.includes('federation'),
  );
  const found = listeners[index];
  if (found !== undefined) {
    listeners[index] = { ...found, port };
    return;
  }
  // With a certificate it is meant for the world; without, for a reverse proxy on this machine.
  const plain = plainListener(port, ['federation']);
  listeners.push(hasCertificate ? { ...plain, tls: true, bindAddresses: ['::'] } : plain);
}

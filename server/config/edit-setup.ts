import { isDeepStrictEqual } from 'node:util';
import { parseDocument } from 'yaml';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import type { Random } from '../util/random.ts';
import { type ConfigChanges, editConfigText } from './edit.ts';
import { type ConfigWishes, generateConfig, type ListenerWish } from './generate.ts';

/** What was decided when a server was set up. */
export interface SetupWishes {
  /** At home only; by a domain of its own; behind a reverse proxy or tunnel. */
  readonly reach: 'home' | 'domain' | 'proxy';
  readonly serverName: string;
  /** Where clients find it. */
  readonly publicUrl?: string | undefined;
  readonly certificatePath?: string | undefined;
  readonly privateKeyPath?: string | undefined;
}

/** What setting up decides; all else that stands in the file stays. */
const DECIDED = new Set([
  'server_name',
  'public_baseurl',
  'listeners',
  'signing_key_path',
  'federation_domain_whitelist',
  'serve_server_wellknown',
  'tls_certificate_path',
  'tls_private_key_path',
]);

const FEDERATION_PORT = 8448;

/**
 * The text of the configuration for these wishes: a new one, with the options of `before` that setting up does not decide.
 * Gives `before` itself where that says the same already.
 */
export function setUpConfigText(
  file: string,
  before: string,
  wishes: SetupWishes,
  { clientPort, hasIpv6, random }: { readonly clientPort: number; readonly hasIpv6: boolean; readonly random: Random },
): string {
  const old = readObject(before);
  const fresh = generateConfig(configWishes(wishes, clientPort, hasIpv6), random);
  const made = readObject(fresh);
  const kept: Record<string, JsonValue | undefined> = {};
  for (const [name, value] of Object.entries(old)) {
    if (!DECIDED.has(name) && !isDeepStrictEqual(made[name], value)) kept[name] = value;
  }
  // The key of the same name is found under whatever name it was given.
  if (old['server_name'] === wishes.serverName && typeof old['signing_key_path'] === 'string') {
    kept['signing_key_path'] = old['signing_key_path'];
  }
  for (const name of Object.keys(made)) if (!DECIDED.has(name) && !(name in old)) kept[name] = undefined;
  const text = Object.keys(kept).length === 0 ? fresh : editConfigText(file, fresh, kept);
  return isDeepStrictEqual(readObject(text), old) ? before : text;
}

/**
 * What has to change in a configuration that is in use so that its server is reached by another way. The certificate that is
 * named there goes on being used unless there is another.
 */
export function reachChanges(
  before: string,
  wishes: Omit<SetupWishes, 'serverName'>,
  {
    clientPort,
    hasIpv6,
    serverName,
  }: { readonly clientPort: number; readonly hasIpv6: boolean; readonly serverName: string },
): ConfigChanges {
  const old = readObject(before);
  const named = {
    certificatePath: textOf(old['tls_certificate_path']),
    privateKeyPath: textOf(old['tls_private_key_path']),
  };
  const given = wishes.certificatePath === undefined ? named : {};
  const {
    listeners = [],
    publicBaseUrl,
    serveServerWellKnown,
    isAlone,
    tls,
  } = configWishes({ ...wishes, ...given, serverName }, clientPort, hasIpv6);
  const isClosed = isDeepStrictEqual(old['federation_domain_whitelist'], []);
  return {
    listeners: listeners.map(toListener),
    public_baseurl: publicBaseUrl,
    serve_server_wellknown: serveServerWellKnown === true ? true : undefined,
    ...(tls === undefined
      ? {}
      : { tls_certificate_path: tls.certificatePath, tls_private_key_path: tls.privateKeyPath }),
    // A list of servers that somebody chose stays.
    ...(isAlone === true
      ? { federation_domain_whitelist: [] }
      : isClosed
        ? { federation_domain_whitelist: undefined }
        : {}),
  };
}

function toListener({ port, tls, isBehindProxy, bindAddresses, resources }: ListenerWish): JsonObject {
  return {
    port,
    type: 'http',
    tls,
    ...(isBehindProxy ? { x_forwarded: true } : {}),
    bind_addresses: [...bindAddresses],
    resources: [{ names: [...resources] }],
  };
}

function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function configWishes(wishes: SetupWishes, clientPort: number, hasIpv6: boolean): ConfigWishes {
  const { reach, serverName, certificatePath, privateKeyPath } = wishes;
  const tls =
    certificatePath === undefined || privateKeyPath === undefined ? undefined : { certificatePath, privateKeyPath };
  const publicUrl = wishes.publicUrl === undefined ? undefined : withSlash(wishes.publicUrl);
  // "::" takes IPv4 too.
  const everywhere = [hasIpv6 ? '::' : '0.0.0.0'];
  const clients = { port: clientPort, tls: false, resources: ['client'] } as const;
  switch (reach) {
    case 'home':
      return {
        serverName,
        isAlone: true,
        publicBaseUrl: publicUrl,
        listeners: [
          {
            ...clients,
            about: 'For clients, from all of the home network.',
            isBehindProxy: false,
            bindAddresses: everywhere,
          },
        ],
      };
    case 'domain':
      return {
        serverName,
        tls,
        publicBaseUrl:
          publicUrl ?? (tls === undefined ? `https://${serverName}/` : `https://${serverName}:${FEDERATION_PORT}/`),
        listeners: tls === undefined ? [onThisMachine(clients)] : [ofWorld(everywhere), onThisMachine(clients)],
      };
    case 'proxy':
      return {
        serverName,
        publicBaseUrl: publicUrl ?? `https://${serverName}/`,
        // Where both are the same name, other servers can come the same way as clients, and 8448 need not be open.
        serveServerWellKnown: publicUrl === undefined || URL.parse(publicUrl)?.host === serverName,
        listeners: [
          {
            port: clientPort,
            tls: false,
            resources: ['client', 'federation'],
            about:
              'For clients and other servers: the reverse proxy or tunnel on this machine passes their requests on to this port.',
            isBehindProxy: true,
            bindAddresses: hasIpv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'],
          },
        ],
      };
  }
}

function ofWorld(bindAddresses: readonly string[]): ListenerWish {
  return {
    about: 'For clients and other servers from everywhere. The router has to pass this port on to this machine.',
    port: FEDERATION_PORT,
    tls: true,
    isBehindProxy: false,
    bindAddresses,
    resources: ['client', 'federation'],
  };
}

function onThisMachine(clients: Pick<ListenerWish, 'port' | 'tls'>): ListenerWish {
  return {
    ...clients,
    about: 'For a reverse proxy, and clients on this machine.',
    isBehindProxy: false,
    bindAddresses: ['127.0.0.1'],
    resources: ['client', 'federation'],
  };
}

function withSlash(url: string): string {
  return url.endsWith('/') ? url : `${url}/`;
}

function readObject(text: string): JsonObject {
  const document = parseDocument(text, { version: '1.1' });
  const content: unknown = document.errors.length === 0 ? document.toJS() : undefined;
  return isJsonObject(content) ? content : {};
}

import { isDeepStrictEqual } from 'node:util';
import { isMap, isScalar, isSeq, parseDocument, stringify } from 'yaml';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import type { Random } from '../util/random.ts';
import { type ConfigChanges, editConfigText } from './edit.ts';
import {
  ALONE,
  type ConfigWishes,
  generateConfig,
  listenerText,
  type ListenerWish,
  LOCAL_CLIENTS,
  NO_PUBLIC_URL,
} from './generate.ts';

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

const AT_HOME = 'For clients, from all of the home network.';
const BEHIND_PROXY =
  'For clients and other servers: the reverse proxy or tunnel on this machine passes their requests on to this port.';
const OF_WORLD = 'For clients and other servers from everywhere. The router has to pass this port on to this machine.';
const ON_THIS_MACHINE = 'For clients on this machine.';
const OUR_REMARKS: ReadonlySet<string> = new Set([AT_HOME, BEHIND_PROXY, OF_WORLD, ON_THIS_MACHINE, LOCAL_CLIENTS]);

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
 * A configuration that is in use, changed so that its server is reached by another way. What this program remarked on the former
 * way goes with it; listeners for something else than clients and other servers stay. All listeners stay where they do for the
 * new way already (`keepsListeners`), and so do the files of the certificate (`keepsCertificate`).
 */
export function changeReachText(
  file: string,
  before: string,
  wishes: SetupWishes,
  {
    clientPort,
    hasIpv6,
    keepsListeners,
    keepsCertificate,
  }: {
    readonly clientPort: number;
    readonly hasIpv6: boolean;
    readonly keepsListeners: boolean;
    readonly keepsCertificate: boolean;
  },
): string {
  const old = readObject(before);
  const {
    listeners = [],
    publicBaseUrl,
    serveServerWellKnown,
    isAlone,
    tls,
  } = configWishes(wishes, clientPort, hasIpv6);
  const isClosed = isDeepStrictEqual(old['federation_domain_whitelist'], []);
  const changes: ConfigChanges = {
    public_baseurl: publicBaseUrl,
    serve_server_wellknown: serveServerWellKnown === true ? true : undefined,
    ...(keepsCertificate ? {} : certificateChanges(wishes.reach, tls)),
    // A list of servers that somebody chose stays.
    ...(isAlone !== true && isClosed ? { federation_domain_whitelist: undefined } : {}),
  };
  let text = before;
  if (isAlone !== true) text = text.replace(ALONE, '');
  // In the place that is kept for it.
  if (publicBaseUrl !== undefined && !('public_baseurl' in old)) {
    text = text.replace(
      new RegExp(`^${RegExp.escape(NO_PUBLIC_URL)}$`, 'm'),
      () => `public_baseurl: ${JSON.stringify(publicBaseUrl)}`,
    );
  }
  if (publicBaseUrl === undefined) text = text.replace(/^public_baseurl: *[^#\s|>&*!]+$/m, () => NO_PUBLIC_URL);
  text = editConfigText(file, text, changes);
  if (!keepsListeners) {
    const others = otherListeners(old);
    text =
      replaceListeners(text, listeners, others) ??
      editConfigText(file, text, { listeners: [...listeners.map(toListener), ...others] });
  }
  if (isAlone !== true || isClosed) return text;
  return 'federation_domain_whitelist' in old
    ? editConfigText(file, text, { federation_domain_whitelist: [] })
    : `${text.trimEnd()}\n${ALONE}`;
}

function certificateChanges(reach: SetupWishes['reach'], tls: ConfigWishes['tls']): ConfigChanges {
  if (tls !== undefined) return { tls_certificate_path: tls.certificatePath, tls_private_key_path: tls.privateKeyPath };
  // By another way than a domain they are of no use, but may be again.
  return reach === 'domain' ? { tls_certificate_path: undefined, tls_private_key_path: undefined } : {};
}

/**
 * Writes these listeners in place of all there are, each with what it is for above it. What somebody remarked there stays.
 * Undefined where they are written in a way that does not allow that.
 */
function replaceListeners(
  text: string,
  listeners: readonly ListenerWish[],
  others: readonly JsonObject[],
): string | undefined {
  const document = parseDocument(text, { version: '1.1' });
  const pair = isMap(document.contents)
    ? document.contents.items.find(({ key }) => isScalar(key) && key.value === 'listeners')
    : undefined;
  if (pair === undefined || !isScalar(pair.key) || !isSeq(pair.value) || pair.value.flow === true) return undefined;
  const [start] = pair.key.range ?? [];
  const [, end] = pair.value.range ?? [];
  if (start === undefined || end === undefined) return undefined;
  const former = text.slice(start, end).trimEnd();
  const remarks = former
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('#') && !OUR_REMARKS.has(line.slice(1).trim()));
  const rest =
    others.length === 0 ? '' : `\n${stringify(others, { version: '1.1', lineWidth: 0 }).replaceAll(/^(?=.)/gm, '  ')}`;
  const block = `listeners:\n${remarks.map((line) => `  ${line}\n`).join('')}${listeners.map(listenerText).join('\n')}${rest}`;
  const isCrlf = text.includes('\r\n');
  const written = `${text.slice(0, start)}${isCrlf ? block.trimEnd().replaceAll('\n', '\r\n') : block.trimEnd()}${text.slice(start + former.length)}`;
  const wanted = { ...readObject(text), listeners: [...listeners.map(toListener), ...others] };
  return isDeepStrictEqual(readObject(written), wanted) ? written : undefined;
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

/** Those that are not about the way: socket files, and what is for other programs. */
function otherListeners({ listeners }: JsonObject): JsonObject[] {
  if (!Array.isArray(listeners)) return [];
  return listeners.filter(isJsonObject).filter(({ path, type, resources }) => {
    if (path !== undefined || (type !== undefined && type !== 'http')) return true;
    const names = (Array.isArray(resources) ? resources : []).flatMap((each) =>
      isJsonObject(each) ? each['names'] : [],
    );
    return names.length > 0 && !names.includes('client') && !names.includes('federation');
  });
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
            about: AT_HOME,
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
        serveServerWellKnown: tls === undefined && isAtName(publicUrl, serverName),
        listeners:
          tls === undefined ? [behindProxy(clientPort, hasIpv6)] : [ofWorld(everywhere), onThisMachine(clients)],
      };
    case 'proxy':
      return {
        serverName,
        publicBaseUrl: publicUrl ?? `https://${serverName}/`,
        // Where both are the same name, other servers can come the same way as clients, and 8448 need not be open.
        serveServerWellKnown: isAtName(publicUrl, serverName),
        listeners: [behindProxy(clientPort, hasIpv6)],
      };
  }
}

function isAtName(publicUrl: string | undefined, serverName: string): boolean {
  return publicUrl === undefined || URL.parse(publicUrl)?.host === serverName;
}

function behindProxy(clientPort: number, hasIpv6: boolean): ListenerWish {
  return {
    about: BEHIND_PROXY,
    port: clientPort,
    tls: false,
    isBehindProxy: true,
    bindAddresses: hasIpv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'],
    resources: ['client', 'federation'],
  };
}

function ofWorld(bindAddresses: readonly string[]): ListenerWish {
  return {
    about: OF_WORLD,
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
    about: ON_THIS_MACHINE,
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

import type { Socket } from 'node:net';
import { OutboundError } from './outbound-error.ts';
import type { Proxy } from './proxy.ts';

// Not imported: an import asks a built-in module for all it has, which here includes a WebSocket client of several megabytes.
const { request } = process.getBuiltinModule('node:http');

/** The value of a Proxy-Authorization header, if the proxy wants to know who comes. */
export function proxyAuthorization({ user, password }: Proxy): string | undefined {
  if (user === undefined) return undefined;
  return `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}`;
}

/**
 * Has a proxy lead a connection to it on to `host` (a name, or an IP literal without brackets) and `port`. Rejects with an
 * `OutboundError` if the proxy refuses, or with the connection's error. Whoever called destroys the connection then.
 */
export function tunnel(socket: Socket, proxy: Proxy, host: string, port: number): Promise<Socket> {
  return proxy.kind === 'socks5' ? throughSocks(socket, proxy, host, port) : throughHttp(socket, proxy, host, port);
}

/** HTTP CONNECT (RFC 9110, section 9.3.6). */
function throughHttp(socket: Socket, proxy: Proxy, host: string, port: number): Promise<Socket> {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const authorization = proxyAuthorization(proxy);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const asking = request({
    method: 'CONNECT',
    path: authority,
    headers: { host: authority, ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }) },
    createConnection: () => socket,
  });
  asking.once('connect', (answer, _, head) => {
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299) {
      return reject(new OutboundError('unreachable', `the proxy refused to connect (HTTP ${status})`));
    }
    if (head.length > 0) socket.unshift(head);
    resolve(socket);
  });
  asking.once('error', reject);
  asking.end();
  return promise;
}

/** SOCKS version 5 (RFC 1928), with a password if there is one (RFC 1929). */
async function throughSocks(socket: Socket, proxy: Proxy, host: string, port: number): Promise<Socket> {
  const { SocksClient } = await import('socks');
  const { socket: led } = await SocksClient.createConnection({
    command: 'connect',
    destination: { host, port },
    proxy: {
      host: proxy.host,
      port: proxy.port,
      type: 5,
      ...(proxy.user === undefined ? {} : { userId: proxy.user, password: proxy.password ?? '' }),
    },
    existing_socket: socket,
  });
  return led;
}

import { once } from 'node:events';
import { createServer } from 'node:net';
import { DEFAULT_CLIENT_PORT } from '../config/listeners.ts';
import { DEFAULT_CONTROL_PORT } from './control-port.ts';

const TRIES = 20;

/** The port for clients of a new server: the usual one, or the next that no other program has. */
export async function findClientPort(first = DEFAULT_CLIENT_PORT): Promise<number> {
  for (let port = first; port < first + TRIES; port += 1) {
    if (port !== DEFAULT_CONTROL_PORT && (await isFree(port))) return port;
  }
  return first;
}

/** Whether this port can be had on this machine alone as well as for others: what it is to be is only decided later. */
async function isFree(port: number): Promise<boolean> {
  return (await canListen(port, '127.0.0.1')) && (await canListen(port, undefined));
}

async function canListen(port: number, host: string | undefined): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ port, host, exclusive: true });
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    if (server.listening) {
      server.close();
      await once(server, 'close');
    }
  }
}

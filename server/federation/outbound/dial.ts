import { connect, isIPv6, type Socket } from 'node:net';
import type { Clock, Timer } from '../../util/clock.ts';
import { OutboundError } from './outbound-error.ts';

/** Opens a TCP connection to an IP address. Rejects with Node's error. */
export type Dial = (address: string, port: number, signal: AbortSignal) => Promise<Socket>;

/** A TCP connection by the operating system. */
export const dialTcp: Dial = (address, port, signal) => {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: address, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 });
  const giveUp = (): void => void socket.destroy(new OutboundError('timeout', 'connecting took too long'));
  socket.once('connect', () => {
    signal.removeEventListener('abort', giveUp);
    socket.off('error', reject);
    resolve(socket);
  });
  socket.once('error', (error) => {
    signal.removeEventListener('abort', giveUp);
    reject(error);
  });
  signal.addEventListener('abort', giveUp, { once: true });
  if (signal.aborted) giveUp();
  return promise;
};

/** How long an address is tried before the next one is tried beside it, ms (RFC 8305, section 5). */
const STAGGER_MS = 250;

/**
 * Connects to the first of several addresses of one host that answers ("happy eyeballs", RFC 8305): families take turns, and
 * each further address is tried once the one before it failed or has been silent for a moment. Rejects with the first error
 * if none answers. Aborting `signal` ends all attempts.
 */
export async function dialFirst(
  addresses: readonly string[],
  port: number,
  { dial, clock, signal }: { readonly dial: Dial; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Socket> {
  const queue = takeTurns(addresses);
  const others = new AbortController();
  const all = AbortSignal.any([signal, others.signal]);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  let firstError: unknown;
  let running = 0;
  let isOver = false;
  let timer: Timer | undefined;

  const next = (): void => {
    timer?.cancel();
    const address = isOver ? undefined : queue.shift();
    if (address === undefined) {
      if (running === 0) reject(firstError ?? new OutboundError('unreachable', 'there is no address to connect to'));
      return;
    }
    running += 1;
    timer = clock.after(STAGGER_MS, next);
    dial(address, port, all).then(
      (socket) => {
        running -= 1;
        // Two may answer in the same moment.
        if (isOver) return void socket.destroy();
        isOver = true;
        resolve(socket);
      },
      (error: unknown) => {
        running -= 1;
        firstError ??= error;
        next();
      },
    );
  };
  next();
  try {
    return await promise;
  } finally {
    isOver = true;
    timer?.cancel();
    others.abort();
  }
}

/** IPv6 and IPv4 by turns, beginning with the family that came first. */
function takeTurns(addresses: readonly string[]): string[] {
  const [first = ''] = addresses;
  const isLeading = (address: string): boolean => isIPv6(address) === isIPv6(first);
  const leading = addresses.filter(isLeading);
  const other = addresses.filter((address) => !isLeading(address));
  return leading
    .flatMap((address, index) => [address, ...other.slice(index, index + 1)])
    .concat(other.slice(leading.length));
}

import { MatrixError, forbidden, unknownToken } from '../../matrix/errors.ts';
import type { Gate } from '../../http/serve.ts';
import { API_PREFIX } from './call.ts';
import { type Sessions, tokenMissing } from './sessions.ts';

/**
 * Lets in what was sent by a page of our own, on this machine, for this listener. A page of somebody else's that makes the
 * browser send requests here names itself in `Origin`; one that has its own name resolve to this machine (DNS rebinding)
 * names that in `Host`.
 */
export function createGate({ port, sessions }: { port: () => number; sessions: Pick<Sessions, 'isGood'> }): Gate {
  return ({ method, path, headers }) => {
    const hosts = [`127.0.0.1:${port()}`, `localhost:${port()}`, `[::1]:${port()}`];
    if (headers.host === undefined || !hosts.includes(headers.host.toLowerCase())) {
      throw new MatrixError('M_FORBIDDEN', 'Hearth is only opened by its own address on this machine', { status: 421 });
    }
    const { origin } = headers;
    if (origin !== undefined && !hosts.some((host) => origin.toLowerCase() === `http://${host}`)) {
      throw forbidden('Pages of others have no business here');
    }
    // Where a browser tells, it must be our page or the person at the keyboard.
    const site = headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none' && path.startsWith(API_PREFIX)) {
      throw forbidden('Pages of others have no business here');
    }
    if (!path.startsWith(`${API_PREFIX}/`) || (path === `${API_PREFIX}/session` && method === 'POST')) return;
    const token = bearerOf(headers.authorization);
    if (token === undefined) throw tokenMissing();
    if (!sessions.isGood(token)) throw unknownToken('This session is over; open Hearth again');
  };
}

export function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer ([\w-]{20,200})$/.exec(authorization ?? '')?.[1];
}

/** Failures in plain words, each with what to do next. */
import { isIPv6 } from 'node:net';
import { placeName, scopeOf } from './addresses.ts';
import type { ConnectError } from './connection.ts';
import type { AnswerError } from './exchange.ts';
import { bad, type Remark, skipped, warning } from './finding.ts';

export interface PlaceToReach {
  readonly address: string;
  readonly port: number;
}

/** The server that is looked at, as far as it changes what a failure means. */
export interface Viewpoint {
  /** It is our own server, whose public address many home routers do not lead back to. */
  readonly isOwn: boolean;
  /** What the server name itself names. */
  readonly host: string;
  /** Addresses of this very machine. */
  readonly localAddresses: readonly string[];
}

/**
 * Whether an address of `host` is called. What somebody else's server leads to by redirects, delegation or records may be in
 * our own network, and has no business there; a name that the person typed may be.
 */
export function mayCall(address: string, host: string, view: Viewpoint): boolean {
  return view.isOwn || host === view.host || scopeOf(address) === 'public';
}

/** Why there was no TCP connection. */
export function explainConnect(error: ConnectError, { address, port }: PlaceToReach, view: Viewpoint): Remark {
  const place = placeName(address, port);
  const details = [error.message];
  if (error.kind === 'no-way') {
    const family = isIPv6(address) ? 'IPv6' : 'IPv4';
    return skipped(
      `${place} could not be tried: this computer has no way to ${family} addresses.`,
      isIPv6(address)
        ? 'Whether it works for others can only be seen from a connection that has IPv6.'
        : 'Check whether this computer is connected to the internet.',
    );
  }
  if (error.kind === 'proxy') {
    return warning(
      `${place} could not be tried: the proxy that this computer goes through did not get there, or did not answer.`,
      `Look at the log of the proxy, and whether it lets this computer through to port ${port}. What can be reached without it belongs into no_proxy_hosts in the settings.`,
      details,
    );
  }
  const isInside = scopeOf(address) !== 'public' || view.localAddresses.includes(address);
  if (view.isOwn && !isInside && isAboutTheWay(error)) {
    // Hairpin: the router would have to send what comes from inside back inside.
    return warning(
      `From this computer ${place} cannot be reached (${wordOf(error)}). That may be the router: many cannot be reached by their outer address from inside, so this says nothing certain about other servers.`,
      `Look from outside: on a phone with Wi-Fi switched off, open https://${placeName(address, port)}/_matrix/federation/v1/version. A warning about the certificate is fine there; no connection is not.`,
      details,
    );
  }
  switch (error.kind) {
    case 'refused':
      return bad(
        `Nothing listens on ${place}: the connection is refused at once.`,
        `Start the server or the proxy that should answer on port ${port}, and check that the router sends port ${port} to the right computer.`,
        details,
      );
    case 'timeout':
      return bad(
        `${place} does not answer at all.`,
        `Something swallows the connection: open TCP port ${port} in the firewall of the server, and forward it on the router to that computer.`,
        details,
      );
    case 'closed':
      return bad(
        `${place} hangs up as soon as it is called.`,
        `Look whether a firewall or a proxy on port ${port} only lets certain callers in.`,
        details,
      );
    default:
      return bad(
        `There is no way to ${place}: the network says that it cannot be reached.`,
        'Check that the address is still the right one; connections at home get a new one from time to time.',
        details,
      );
  }
}

function isAboutTheWay({ kind }: ConnectError): boolean {
  return kind === 'refused' || kind === 'timeout' || kind === 'unreachable' || kind === 'closed';
}

function wordOf({ kind }: ConnectError): string {
  return kind === 'refused' ? 'refused' : kind === 'timeout' ? 'no answer' : 'no connection';
}

/** Why TLS did not come about. */
export function explainTls(error: ConnectError, { address, port }: PlaceToReach, name: string): Remark {
  const place = placeName(address, port);
  const details = [error.message];
  switch (error.kind) {
    case 'not-tls':
      return bad(
        `${place} answers, but not with TLS; other servers speak nothing else.`,
        `Have a reverse proxy with a certificate for ${name} answer on port ${port}, or give that port of Hearth a certificate (tls: true).`,
        details,
      );
    case 'old-tls':
      return bad(
        `${place} only speaks versions of TLS that are out of use.`,
        'Allow TLS 1.2 and 1.3 in the proxy that answers there.',
        details,
      );
    case 'timeout':
      return bad(
        `${place} takes the connection but never ends the TLS handshake.`,
        'Look whether what listens there speaks TLS at all, and is not overloaded.',
        details,
      );
    case 'closed':
      return bad(
        `${place} hangs up during the TLS handshake.`,
        `Look at the log of the proxy there: often it has no certificate for ${name}.`,
        details,
      );
    default:
      return bad(
        `${place} refuses the TLS handshake for the name ${name}.`,
        `Add ${name} to the proxy's sites with a certificate of its own: it turns away names it does not know.`,
        details,
      );
  }
}

/** Why an answer is of no use. */
export function explainAnswer(error: AnswerError, what: string): Remark {
  const details = [error.message];
  switch (error.kind) {
    case 'slow':
      return bad(
        `${what} takes the request but does not answer in time.`,
        'Look whether the server is overloaded, or the proxy waits for a server behind it that does not run.',
        details,
      );
    case 'too-large':
      return bad(
        `${what} answers with far more than belongs there.`,
        'Look at what is served there: it is not what a Matrix server says.',
        details,
      );
    case 'malformed':
      return bad(
        `${what} answers with something that is no HTTP.`,
        'Look which program listens there; it is not a web server.',
        details,
      );
    default:
      return bad(
        `${what} hangs up instead of answering.`,
        'Look at the log of the proxy and of the server behind it.',
        details,
      );
  }
}

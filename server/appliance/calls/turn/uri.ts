import { isIP } from 'node:net';

/** A TURN or STUN server, as it is written in a URI (RFC 7064, RFC 7065). */
export interface TurnUri {
  readonly uri: string;
  readonly kind: 'turn' | 'stun';
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp' | 'tls';
}

/** Reads a URI; undefined where it is none, or asks for what nobody has (DTLS). */
export function parseTurnUri(uri: string): TurnUri | undefined {
  const found = /^(turns?|stuns?):(?:\[([^\]]+)\]|([^:?[\]/@]+))(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/i.exec(uri);
  if (found === null) return undefined;
  const [, scheme = '', bracketed, plain = '', digits, given] = found;
  const isSecure = /s$/i.test(scheme);
  const port = digits === undefined ? (isSecure ? 5349 : 3478) : Number(digits);
  if (port < 1 || port > 65_535 || (bracketed !== undefined && isIP(bracketed) !== 6)) return undefined;
  const asked = given?.toLowerCase();
  if (isSecure && asked === 'udp') return undefined;
  return {
    uri,
    kind: scheme.toLowerCase().startsWith('turn') ? 'turn' : 'stun',
    host: bracketed ?? plain,
    port,
    transport: isSecure ? 'tls' : asked === 'tcp' ? 'tcp' : 'udp',
  };
}

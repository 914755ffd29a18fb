import { RateLimit } from '../http/rate-limit.ts';
import type { FederationAuthenticator, SignedRequest } from '../http/authenticate.ts';
import { limitExceeded, MatrixError } from '../matrix/errors.ts';
import type { ServerName } from '../matrix/identifiers.ts';
import type { NamedSignature } from '../matrix/signing.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import type { InboundLimit } from './inbound-limit.ts';
import type { ServerKeyRing } from './key-ring/server-key-ring.ts';
import { parseAuthorization, type RequestAuthorization, requestText } from './request-signing.ts';
import { needsVerbatimNumbers, verbatimCanonicalJson } from './verbatim-numbers.ts';

export interface AuthenticatorNeeds {
  readonly serverName: ServerName;
  readonly keyRing: Pick<ServerKeyRing, 'verifySignatures' | 'holdsKeysOf'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** `allowedServers`: the only ones to have dealings with; undefined: all. */
  readonly settings: { readonly allowedServers: readonly ServerName[] | undefined };
  /** Is told of every server whose signature was right: it is alive. */
  readonly destinations?: { succeeded(server: ServerName): void };
  readonly inboundLimit?: Pick<InboundLimit, 'admit'>;
}

/** A request may be signed with several keys, each in a header of its own. */
const MAX_HEADERS = 10;
/** Strangers from one address whose keys are fetched: anybody can claim to be any server. */
const STRANGERS = { perSecond: 10, burstCount: 200 };
/** A body whose signature fails is looked at a second time only up to this size (bytes), and so often from one address. */
const SECOND_LOOK_BYTES = 1024 * 1024;
const SECOND_LOOKS = { perSecond: 1, burstCount: 10 };

/**
 * Says which server signed a request (spec: server-server API, "Request Authentication"). What it returns throws 401
 * M_UNAUTHORIZED where there is no good signature or it is meant for another server, 400 M_UNAUTHORIZED for a header that
 * cannot be read, 403 M_FORBIDDEN for a server not to be dealt with, M_LIMIT_EXCEEDED.
 */
export function createFederationAuthenticator(needs: AuthenticatorNeeds): FederationAuthenticator {
  const { serverName, keyRing, clock, log, destinations, inboundLimit } = needs;
  const allowed = needs.settings.allowedServers === undefined ? undefined : new Set(needs.settings.allowedServers);
  const strangers = new RateLimit({ ...STRANGERS, clock });
  const secondLooks = new RateLimit({ ...SECOND_LOOKS, clock });

  const checkSignatures = async (
    request: SignedRequest,
    origin: ServerName,
    signatures: readonly NamedSignature[],
  ): Promise<void> => {
    const { method, uri, content } = request;
    const signed = { method, uri, origin, destination: serverName, content };
    let verdict = await keyRing.verifySignatures(origin, signatures, () => requestText(signed));
    const body = verdict === 'wrong' ? textOf(request) : undefined;
    if (body !== undefined && needsVerbatimNumbers(body) && secondLooks.tryTake(request.ip)) {
      verdict = await keyRing.verifySignatures(origin, signatures, () =>
        verbatimCanonicalJson(body, (parsed) => requestText({ ...signed, content: parsed })),
      );
    }
    if (verdict === 'valid') return;
    log.info({ origin, verdict, method }, 'a request is not signed as it must be');
    if (verdict === 'wrong') throw unauthorized('The signature of the request is not valid');
    throw unauthorized(`No key is known that ${origin} could have signed this request with`);
  };

  return async (request) => {
    const { origin, signatures } = readHeaders(request.authorization, serverName);
    if (allowed !== undefined && origin !== serverName && !allowed.has(origin)) {
      throw new MatrixError('M_FORBIDDEN', `This server has no dealings with ${origin}`);
    }
    // Nobody speaks to us in our own name: it would be an echo of what we sent.
    if (origin === serverName) throw unauthorized('The request claims to come from this server itself');
    if (!keyRing.holdsKeysOf(origin) && !strangers.tryTake(request.ip)) throw limitExceeded(1_000);
    await checkSignatures(request, origin, signatures);
    destinations?.succeeded(origin);
    await inboundLimit?.admit(origin, request);
    return origin;
  };
}

function readHeaders(
  headers: readonly string[],
  serverName: ServerName,
): { origin: ServerName; signatures: readonly NamedSignature[] } {
  const own = headers.filter((header) => /^\s*x-matrix(\s|$)/i.test(header));
  if (own.length === 0) throw unauthorized('The request bears no signature of a homeserver');
  if (own.length > MAX_HEADERS) throw malformed('There are too many Authorization headers');
  const read = own.map((header): RequestAuthorization => {
    const authorization = parseAuthorization(header);
    if (authorization === undefined) throw malformed('An Authorization header cannot be read');
    return authorization;
  });
  const [first] = read;
  if (first === undefined || read.some(({ origin }) => origin !== first.origin)) {
    throw unauthorized('The Authorization headers speak for several servers');
  }
  // Senders older than version 1.3 of the spec do not name it, but what they signed does.
  if (read.some(({ destination = serverName }) => destination !== serverName)) {
    throw unauthorized('The request is meant for another server');
  }
  return { origin: first.origin, signatures: read };
}

function textOf({ body }: SignedRequest): string | undefined {
  if (body === undefined || body.byteLength > SECOND_LOOK_BYTES) return undefined;
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8');
}

function unauthorized(message: string): MatrixError {
  return new MatrixError('M_UNAUTHORIZED', message, { status: 401 });
}

function malformed(message: string): MatrixError {
  return new MatrixError('M_UNAUTHORIZED', message, { status: 400 });
}

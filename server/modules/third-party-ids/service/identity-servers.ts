import { createHash } from 'node:crypto';
import type { GuardedHttp, HttpAnswer } from '../../../federation/outbound/guarded-http.ts';
import { OutboundError } from '../../../federation/outbound/outbound-error.ts';
import { bodyText, signRequest } from '../../../federation/request-signing.ts';
import { parseJson } from '../../../matrix/canonical-json.ts';
import { invalidParam, MatrixError } from '../../../matrix/errors.ts';
import { isServerName, isUserId, type ServerName, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { SigningKey } from '../../../matrix/signing.ts';

const TIMEOUT_MS = 20_000;
const MAX_BYTES = 262_144;
const UNBIND_PATH = '/_matrix/identity/v2/3pid/unbind';

/** What an invite comes back as from the identity server that keeps it. */
export interface StoredInvite {
  readonly token: string;
  readonly displayName: string;
  /** The first is the identity server's own. */
  readonly publicKeys: readonly [PublicKey, ...PublicKey[]];
}

interface PublicKey {
  readonly public_key: string;
  readonly key_validity_url: string;
}

/** Identity servers, as users name them (spec: identity service API). Refusals of theirs are passed on as MatrixError. */
export interface IdentityServers {
  bind(
    idServer: string,
    token: string,
    request: { sid: string; clientSecret: string; userId: UserId },
  ): Promise<{
    readonly medium: string;
    readonly address: string;
  }>;
  /** False where that server will not do so. Throws M_UNKNOWN (502) where it cannot be asked. */
  unbind(idServer: string, userId: UserId, threepid: { medium: string; address: string }): Promise<boolean>;
  /** Who an address belongs to; undefined if nobody is known, or the server does not tell. */
  lookUp(idServer: string, token: string, threepid: { medium: string; address: string }): Promise<UserId | undefined>;
  storeInvite(idServer: string, token: string, invite: JsonObject): Promise<StoredInvite>;
  /** Whether the key is still vouched for at that URL; false where nobody can be asked. */
  isKeyValid(publicKey: string, validityUrl: string): Promise<boolean>;
}

export interface IdentityServerNeeds {
  readonly http: GuardedHttp;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
}

/** A host, maybe a port, maybe a path: nothing else may hide in what a client calls an identity server. */
export function checkIdServer(text: string): string {
  const slash = text.indexOf('/');
  const host = slash === -1 ? text : text.slice(0, slash);
  const path = slash === -1 ? '' : text.slice(slash);
  const clean = /^(?:\/[A-Za-z0-9._~-]+)*\/?$/.test(path) && !path.split('/').includes('..');
  if (text.length > 500 || !isServerName(host) || !clean)
    throw invalidParam('The key id_server names no identity server');
  return `${host}${path.replace(/\/$/, '')}`;
}

export function createIdentityServers({ http, serverName, signingKey }: IdentityServerNeeds): IdentityServers {
  const options = { timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, maxRedirects: 0, secureOnly: true };

  async function ask(call: () => Promise<HttpAnswer>): Promise<{ status: number; body: JsonObject }> {
    let answer: HttpAnswer;
    try {
      answer = await call();
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      throw new MatrixError('M_UNKNOWN', 'The identity server cannot be reached', { status: 502 });
    }
    return { status: answer.status, body: readObject(answer.body) ?? {} };
  }

  async function demand(call: () => Promise<HttpAnswer>): Promise<JsonObject> {
    const { status, body } = await ask(call);
    if (status >= 200 && status < 300) return body;
    throw passedOn(status, body);
  }

  const bearer = (token: string): Record<string, string> => {
    // A token is the client's; whatever it is, it must not become a header of its own.
    if (!/^[\x21-\x7e]{1,4096}$/.test(token)) throw invalidParam('The key id_access_token is malformed');
    return { authorization: `Bearer ${token}` };
  };
  const url = (idServer: string, path: string): string => `https://${checkIdServer(idServer)}${path}`;

  async function lookUp(
    idServer: string,
    token: string,
    { medium, address }: { medium: string; address: string },
  ): Promise<UserId | undefined> {
    const headers = bearer(token);
    const details = await demand(() =>
      http.get(url(idServer, '/_matrix/identity/v2/hash_details'), { ...options, headers }),
    );
    const { algorithms, lookup_pepper: pepper } = details;
    if (!Array.isArray(algorithms) || typeof pepper !== 'string') return undefined;
    const algorithm = ['sha256', 'none'].find((name) => algorithms.includes(name));
    if (algorithm === undefined) return undefined;
    const asked =
      algorithm === 'none'
        ? `${address} ${medium}`
        : createHash('sha256').update(`${address} ${medium} ${pepper}`).digest('base64url');
    const body = { addresses: [asked], algorithm, pepper };
    const { mappings } = await demand(() =>
      http.post(url(idServer, '/_matrix/identity/v2/lookup'), body, { ...options, headers }),
    );
    const found = isJsonObject(mappings) ? mappings[asked] : undefined;
    return typeof found === 'string' && isUserId(found) ? found : undefined;
  }

  return {
    bind: async (idServer, token, { sid, clientSecret, userId }) => {
      const body = { sid, client_secret: clientSecret, mxid: userId };
      const headers = bearer(token);
      const { medium, address } = await demand(() =>
        http.post(url(idServer, '/_matrix/identity/v2/3pid/bind'), body, { ...options, headers }),
      );
      if (typeof medium !== 'string' || typeof address !== 'string') {
        throw new MatrixError('M_UNKNOWN', 'The identity server gave an answer that cannot be understood', {
          status: 502,
        });
      }
      return { medium, address };
    },

    unbind: async (idServer, userId, { medium, address }) => {
      const content = { mxid: userId, threepid: { medium, address } };
      const contentText = bodyText(content);
      const checked = checkIdServer(idServer);
      const [host = ''] = checked.split('/', 1);
      if (!isServerName(host)) throw invalidParam('The key id_server names no identity server');
      // Spec: identity service API, "POST /3pid/unbind": signed as a request to another homeserver is.
      const authorization = signRequest(
        { method: 'POST', uri: UNBIND_PATH, origin: serverName, destination: host, contentText },
        signingKey,
      );
      const { status } = await ask(() =>
        http.post(url(idServer, UNBIND_PATH), Buffer.from(contentText), {
          ...options,
          headers: { authorization, 'content-type': 'application/json' },
        }),
      );
      if (status >= 200 && status < 300) return true;
      if (status >= 500 && status !== 501) {
        throw new MatrixError('M_UNKNOWN', 'The identity server has failed', { status: 502 });
      }
      return false;
    },

    lookUp: async (idServer, token, threepid) => {
      try {
        return await lookUp(idServer, token, threepid);
      } catch (error) {
        // Whoever cannot be looked up can still be invited by that server: storing the invite tells what is wrong.
        if (error instanceof MatrixError && error.errcode !== 'M_INVALID_PARAM') return undefined;
        throw error;
      }
    },

    storeInvite: async (idServer, token, invite) => {
      const headers = bearer(token);
      const stored = await demand(() =>
        http.post(url(idServer, '/_matrix/identity/v2/store-invite'), invite, { ...options, headers }),
      );
      const { token: inviteToken, display_name: displayName } = stored;
      const listed = Array.isArray(stored['public_keys']) ? stored['public_keys'] : [stored];
      const fallback = url(idServer, '/_matrix/identity/v2/pubkey/isvalid');
      const [first, ...rest] = listed.flatMap((entry) => readKey(entry, fallback));
      if (typeof inviteToken !== 'string' || inviteToken === '' || first === undefined) {
        throw new MatrixError('M_UNKNOWN', 'The identity server gave an answer that cannot be understood', {
          status: 502,
        });
      }
      return {
        token: inviteToken,
        displayName: typeof displayName === 'string' ? displayName : '',
        publicKeys: [first, ...rest],
      };
    },

    isKeyValid: async (publicKey, validityUrl) => {
      const address = URL.parse(validityUrl);
      if (address === null) return false;
      address.searchParams.set('public_key', publicKey);
      try {
        const { status, body } = await ask(() => http.get(address, options));
        return status === 200 && body['valid'] === true;
      } catch (error) {
        if (error instanceof MatrixError) return false;
        throw error;
      }
    },
  };
}

function readKey(entry: JsonValue | undefined, fallbackUrl: string): PublicKey[] {
  if (!isJsonObject(entry)) return [];
  const { public_key: key, key_validity_url: validityUrl } = entry;
  if (typeof key !== 'string') return [];
  return [{ public_key: key, key_validity_url: typeof validityUrl === 'string' ? validityUrl : fallbackUrl }];
}

/** An object out of the bytes of an answer; undefined for anything else. */
export function readObject(bytes: Uint8Array): JsonObject | undefined {
  try {
    const value = parseJson(bytes);
    return isJsonObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof MatrixError) return undefined;
    throw error;
  }
}

/**
 * What an identity server refuses, in its own words. What it says of its own access token must not look as if ours were
 * void: clients would log out.
 */
function passedOn(status: number, { errcode, error }: JsonObject): MatrixError {
  const message = typeof error === 'string' ? error.slice(0, 500) : 'The identity server refuses this';
  if (status >= 500 || status < 400) return new MatrixError('M_UNKNOWN', message, { status: 502 });
  if (status === 401 || errcode === 'M_UNKNOWN_TOKEN' || errcode === 'M_MISSING_TOKEN') {
    return new MatrixError('M_FORBIDDEN', message, { status: 403 });
  }
  return new MatrixError(typeof errcode === 'string' ? errcode.slice(0, 100) : 'M_UNKNOWN', message, { status });
}

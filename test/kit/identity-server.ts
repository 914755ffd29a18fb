import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { encodeBase64 } from '../../server/matrix/base64.ts';
import { generateSigningKey, type SigningKey, signJson } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import type { NetworkOptions } from './test-network.ts';
import { DnsError } from '../../server/federation/discovery/dns.ts';
import { makeAuthority, type TestAuthority } from './certificates.ts';
import type { Json } from './test-client.ts';

const PEPPER = 'matrixrocks';
const HOST = 'id.example';

let authority: Promise<TestAuthority> | undefined;

/** Identity servers are believed by the certificates of the machine: this process has one more from here on. */
async function trustNewAuthority(): Promise<TestAuthority> {
  const made = await makeAuthority();
  setDefaultCACertificates([...getCACertificates(), made.cert]);
  return made;
}

export interface HeardByIdentityServer {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: Json;
}

/** An identity server on 127.0.0.1, found as `id.example` by servers that are given its `network`. */
export class TestIdentityServer implements AsyncDisposable {
  readonly token = 'swordfish';
  readonly heard: HeardByIdentityServer[] = [];
  /** Who has which address: `email ann@example.org`. */
  readonly bindings = new Map<string, string>();
  /** What was validated, by session. */
  readonly validated = new Map<string, { medium: string; address: string }>();
  readonly invites: Json[] = [];
  /** Whether its keys still count. */
  keysAreValid = true;
  /** Answers so, whatever is asked. */
  failure: { readonly status: number; readonly body: Json } | undefined;
  readonly key: SigningKey = generateSigningKey(systemRandom.bytes(32));
  readonly #server: Server;
  #port = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<TestIdentityServer> {
    authority ??= trustNewAuthority();
    const { cert, key } = await (await authority).issue({ dnsNames: [HOST] });
    const server = createServer({ cert, key });
    const played = new TestIdentityServer(server);
    server.on('request', (request, response) => {
      void readText(request).then((text) => {
        const url = new URL(request.url ?? '/', `https://${HOST}`);
        const heard = {
          method: request.method ?? '',
          path: url.pathname,
          authorization: request.headers.authorization,
          body: text === '' ? undefined : JSON.parse(text),
        };
        played.heard.push(heard);
        const { status, body } = played.failure ?? played.#answer(heard, url);
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    played.#port = (server.address() as AddressInfo).port;
    return played;
  }

  get name(): string {
    return `${HOST}:${this.#port}`;
  }

  /** The names a server has to know to reach it, and no others. */
  get network(): NetworkOptions {
    return {
      dns: {
        addresses: async (host) => {
          if (host !== HOST) throw new DnsError(`${host} is not known here`, true);
          return { value: ['127.0.0.1'], ttlMs: 0 };
        },
        services: async () => ({ value: [], ttlMs: 0 }),
      },
    };
  }

  /** What it tells the homeserver of somebody who has proved an address that invites wait for. */
  onBind(medium: string, address: string, mxid: string): Json {
    const invites = this.invites
      .filter((invite) => invite.medium === medium && invite.address === address)
      .map(({ token, room_id, sender }) => ({
        medium,
        address,
        mxid,
        room_id,
        sender,
        signed: signJson({ mxid, token, sender }, this.name, this.key),
      }));
    return signJson({ medium, address, mxid, invites }, this.name, this.key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer({ method, path, authorization, body }: HeardByIdentityServer, url: URL): { status: number; body: Json } {
    const operation = `${method} ${path.replace('/_matrix/identity/v2/', '')}`;
    const isOpen = operation === 'GET pubkey/isvalid' || operation === 'POST 3pid/unbind';
    if (!isOpen && authorization !== `Bearer ${this.token}`) {
      return { status: 401, body: { errcode: 'M_UNKNOWN_TOKEN', error: 'Unrecognised access token' } };
    }
    switch (operation) {
      case 'GET hash_details':
        return { status: 200, body: { lookup_pepper: PEPPER, algorithms: ['none', 'sha256'] } };
      case 'POST lookup': {
        const hashed = [...this.bindings].map(([known, mxid]) => {
          const [medium, address] = known.split(' ');
          const hash = createHash('sha256').update(`${address} ${medium} ${PEPPER}`).digest('base64url');
          return [hash, mxid] as const;
        });
        const mappings = Object.fromEntries(hashed.filter(([hash]) => body.addresses.includes(hash)));
        return body.algorithm === 'sha256' ? { status: 200, body: { mappings } } : { status: 400, body: {} };
      }
      case 'POST store-invite': {
        const token = `token${this.invites.length}`;
        this.invites.push({ ...body, token });
        const publicKey = encodeBase64(this.key.publicKey);
        const validity = `https://${this.name}/_matrix/identity/v2/pubkey/isvalid`;
        return {
          status: 200,
          body: { token, display_name: 'Bob', public_keys: [{ public_key: publicKey, key_validity_url: validity }] },
        };
      }
      case 'GET pubkey/isvalid': {
        const isOurs = url.searchParams.get('public_key') === encodeBase64(this.key.publicKey);
        return { status: 200, body: { valid: this.keysAreValid && isOurs } };
      }
      case 'POST 3pid/bind': {
        const threepid = this.validated.get(body.sid);
        if (threepid === undefined) return { status: 404, body: { errcode: 'M_NO_VALID_SESSION', error: 'No' } };
        this.bindings.set(`${threepid.medium} ${threepid.address}`, body.mxid);
        return { status: 200, body: { ...threepid, mxid: body.mxid } };
      }
      case 'POST 3pid/unbind': {
        const known = `${body.threepid.medium} ${body.threepid.address}`;
        const isSigned = authorization?.startsWith(`X-Matrix origin="hearth.test",destination="${this.name}"`) === true;
        if (!isSigned || this.bindings.get(known) !== body.mxid) return { status: 404, body: {} };
        this.bindings.delete(known);
        return { status: 200, body: {} };
      }
      default:
        return { status: 404, body: { errcode: 'M_UNRECOGNIZED', error: operation } };
    }
  }
}

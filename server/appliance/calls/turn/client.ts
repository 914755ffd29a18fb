import type { Random } from '../../../util/random.ts';
import { ConnectError } from '../../doctor/connection.ts';
import type { World } from '../../doctor/world.ts';
import {
  addressOf,
  ATTRIBUTE,
  decodeMessage,
  encodeAddress,
  encodeMessage,
  errorOf,
  findAttribute,
  isSignedWith,
  longTermKey,
  type Message,
  METHOD,
  type Method,
  type PeerAddress,
  textOf,
} from './message.ts';
import type { Transport } from './transport.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** The server said no. */
export class TurnRefusal extends Error {
  readonly code: number;

  constructor(code: number, reason: string) {
    super(`${code} ${reason}`);
    this.name = 'TurnRefusal';
    this.code = code;
  }
}

/** How long until a datagram is sent again at first, ms; doubled each time (RFC 8489, section 6.2.1). */
const FIRST_WAIT_MS = 400;
const UDP_PROTOCOL = 17;
const STALE_NONCE = 438;
const UNAUTHORIZED = 401;
const FAMILY_NOT_SUPPORTED = 440;
const FAMILY_IPV6 = 2;

type Attributes = Message['attributes'];
type Wait = { readonly resolve: (bytes: Buffer) => void; readonly reject: (error: Error) => void };

/** One allocation on a TURN server (RFC 8656). */
export class TurnClient {
  readonly #transport: Transport;
  readonly #world: Pick<World, 'clock' | 'limits'>;
  readonly #random: Random;
  readonly #credentials: Credentials;
  readonly #waiting = new Map<string, Wait>();
  readonly #onData = new Set<(from: PeerAddress, data: Buffer) => void>();
  #session: { readonly realm: string; nonce: string; readonly key: Buffer } | undefined;
  #ended: ConnectError | undefined;
  /** What the server calls itself. */
  software: string | undefined;

  constructor(parts: {
    readonly transport: Transport;
    readonly world: Pick<World, 'clock' | 'limits'>;
    readonly random: Random;
    readonly credentials: Credentials;
  }) {
    this.#transport = parts.transport;
    this.#world = parts.world;
    this.#random = parts.random;
    this.#credentials = parts.credentials;
    this.#transport.listen(
      (bytes) => this.#hear(bytes),
      (error) => this.#end(error),
    );
  }

  /** Our address as the server sees it. Rejects with ConnectError or TurnRefusal. */
  async bind(): Promise<PeerAddress | undefined> {
    return addressOf(await this.#request(METHOD.binding, []), ATTRIBUTE.mapped);
  }

  /**
   * Gets an address of the server's to be reached at. `isOpen`: it was given without a password. Rejects with ConnectError or
   * TurnRefusal.
   */
  async allocate(): Promise<{ relayed: PeerAddress | undefined; mapped: PeerAddress | undefined; isOpen: boolean }> {
    // Without a word about it an IPv4 address is meant (RFC 8656, section 7.1), which some servers have none of: they say so,
    // or give out one that is nowhere.
    try {
      const given = await this.#allocate([]);
      if (given.relayed?.port !== 0) return given;
      await this.release();
    } catch (error) {
      if (!(error instanceof TurnRefusal) || error.code !== FAMILY_NOT_SUPPORTED) throw error;
    }
    const { relayed, ...given } = await this.#allocate([[ATTRIBUTE.family, Buffer.from([FAMILY_IPV6, 0, 0, 0])]]);
    return { ...given, relayed: relayed?.port === 0 ? undefined : relayed };
  }

  async #allocate(family: Attributes): ReturnType<TurnClient['allocate']> {
    const attributes: Attributes = [[ATTRIBUTE.transport, Buffer.from([UDP_PROTOCOL, 0, 0, 0])], ...family];
    const given = (answer: Message, isOpen: boolean): Awaited<ReturnType<TurnClient['allocate']>> => ({
      relayed: addressOf(answer, ATTRIBUTE.relayed),
      mapped: addressOf(answer, ATTRIBUTE.mapped),
      isOpen,
    });
    if (this.#session === undefined) {
      const first = await this.#ask(METHOD.allocate, attributes);
      if (first.kind === 'success') return given(first, true);
      const error = errorOf(first) ?? { code: 0, reason: 'an error without a code' };
      const realm = textOf(first, ATTRIBUTE.realm);
      const nonce = textOf(first, ATTRIBUTE.nonce);
      if (error.code !== UNAUTHORIZED || realm === undefined || nonce === undefined) {
        throw new TurnRefusal(error.code, error.reason);
      }
      const { username, password } = this.#credentials;
      this.#session = { realm, nonce, key: longTermKey(username, realm, password) };
    }
    return given(await this.#request(METHOD.allocate, attributes), false);
  }

  /** Lets `peer` send to us through the server. */
  async permit(peer: PeerAddress): Promise<void> {
    await this.#request(METHOD.permission, (transaction) => [[ATTRIBUTE.peer, encodeAddress(peer, transaction)]]);
  }

  /** Sends `data` to `peer` through the server, again and again, until it comes back to us from there or the time is over. */
  async echo(peer: PeerAddress, data: Buffer, withinMs: number): Promise<boolean> {
    const { clock } = this.#world;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const hear = (_from: PeerAddress, heard: Buffer): void => {
      if (heard.equals(data)) resolve(true);
    };
    this.#onData.add(hear);
    const send = (): void => {
      const transaction = this.#random.bytes(12);
      const attributes: Attributes = [
        [ATTRIBUTE.peer, encodeAddress(peer, transaction)],
        [ATTRIBUTE.data, data],
      ];
      this.#transport.send(encodeMessage({ method: METHOD.send, kind: 'indication', transaction, attributes }));
    };
    const again = clock.after(withinMs / 3, send);
    const over = clock.after(withinMs, () => resolve(false));
    send();
    try {
      return await promise;
    } finally {
      again.cancel();
      over.cancel();
      this.#onData.delete(hear);
    }
  }

  /** Gives the address back. */
  async release(): Promise<void> {
    await this.#request(METHOD.refresh, [[ATTRIBUTE.lifetime, Buffer.alloc(4)]]);
  }

  close(): void {
    this.#end(new ConnectError('closed', 'no longer wanted'));
    this.#transport.close();
  }

  async #request(method: Method, attributes: Attributes | ((transaction: Buffer) => Attributes)): Promise<Message> {
    let answer = await this.#ask(method, attributes);
    if (answer.kind === 'error' && errorOf(answer)?.code === STALE_NONCE && this.#session !== undefined) {
      this.#session.nonce = textOf(answer, ATTRIBUTE.nonce) ?? this.#session.nonce;
      answer = await this.#ask(method, attributes);
    }
    if (answer.kind === 'success') return answer;
    const { code, reason } = errorOf(answer) ?? { code: 0, reason: 'an error without a code' };
    throw new TurnRefusal(code, reason);
  }

  async #ask(method: Method, attributes: Attributes | ((transaction: Buffer) => Attributes)): Promise<Message> {
    if (this.#ended !== undefined) throw this.#ended;
    const { clock, limits } = this.#world;
    const transaction = this.#random.bytes(12);
    const session = this.#session;
    const own = typeof attributes === 'function' ? attributes(transaction) : attributes;
    const signed: Attributes =
      session === undefined
        ? own
        : [
            ...own,
            [ATTRIBUTE.username, Buffer.from(this.#credentials.username)],
            [ATTRIBUTE.realm, Buffer.from(session.realm)],
            [ATTRIBUTE.nonce, Buffer.from(session.nonce)],
          ];
    const bytes = encodeMessage({ method, kind: 'request', transaction, attributes: signed }, session?.key);
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const id = transaction.toString('hex');
    this.#waiting.set(id, { resolve, reject });
    const over = clock.after(limits.connectMs, () => reject(new ConnectError('timeout', 'there was no answer')));
    let again: { cancel(): void } | undefined;
    const send = (wait: number): void => {
      this.#transport.send(bytes);
      if (this.#transport.isLossy) again = clock.after(wait, () => send(wait * 2));
    };
    send(FIRST_WAIT_MS);
    try {
      const heard = await promise;
      const message = decodeMessage(heard);
      if (message === undefined) throw new ConnectError('closed', 'what came is no TURN');
      this.software ??= textOf(message, ATTRIBUTE.software)?.slice(0, 100);
      if (message.kind === 'success' && session !== undefined && isSignedWith(heard, session.key) === false) {
        throw new TurnRefusal(0, 'the answer is signed with another password');
      }
      return message;
    } finally {
      over.cancel();
      again?.cancel();
      this.#waiting.delete(id);
    }
  }

  #hear(bytes: Buffer): void {
    const message = decodeMessage(bytes);
    if (message === undefined) return;
    if (message.kind === 'indication' && message.method === METHOD.data) {
      const from = addressOf(message, ATTRIBUTE.peer);
      const data = findAttribute(message, ATTRIBUTE.data);
      if (from !== undefined && data !== undefined) for (const hear of this.#onData) hear(from, data);
      return;
    }
    if (message.kind === 'success' || message.kind === 'error') {
      this.#waiting.get(message.transaction.toString('hex'))?.resolve(bytes);
    }
  }

  #end(error: ConnectError): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
  }
}

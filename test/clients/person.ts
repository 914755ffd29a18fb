import 'fake-indexeddb/auto';
import { quiet } from './quiet-sdk.ts';
import assert from 'node:assert/strict';
import {
  ClientEvent,
  createClient,
  type ICreateClientOpts,
  type LoginResponse,
  type MatrixClient,
  type MatrixEvent,
  MatrixEventEvent,
  PendingEventOrdering,
  Preset,
  type Room,
  RoomEvent,
  SyncState,
} from 'matrix-js-sdk';
import { type CryptoApi, CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { RustBackupManager } from 'matrix-js-sdk/lib/rust-crypto/backup.js';
import type { Address } from '../kit/test-client.ts';
import type { TestServer } from '../kit/test-server.ts';
import { type Look, waitFor } from './waiting.ts';

// Clients wait some seconds before they back keys up, so that not all of a room do so at once.
Object.defineProperty(RustBackupManager, 'maxBackupLoopStartDelayMillis', { value: 0 });

/** What a client tells that may be what somebody waits for. */
const NEWS = [
  ClientEvent.Sync,
  MatrixEventEvent.Decrypted,
  RoomEvent.Timeline,
  RoomEvent.Redaction,
  RoomEvent.LocalEchoUpdated,
  CryptoEvent.DevicesUpdated,
  CryptoEvent.KeysChanged,
  CryptoEvent.UserTrustStatusChanged,
  CryptoEvent.KeyBackupDecryptionKeyCached,
  CryptoEvent.KeyBackupSessionsRemaining,
] as const;

/** The server of somebody's client: it may come and go. */
export interface Reachable extends Address {
  readonly isUp: boolean;
  /** Resolves when it answers, at once if it does. */
  up(): Promise<void>;
}

/** The people of a story with their clients, which stop before the server does. */
export class People implements Disposable {
  readonly #server: Reachable;
  readonly #people: Person[] = [];

  constructor(server: TestServer) {
    // It is there for as long as its test.
    this.#server = { baseUrl: server.baseUrl, isUp: true, up: () => Promise.resolve() };
  }

  async register(username: string, secrets?: SecretKeys): Promise<Person> {
    const person = await Person.register(this.#server, username, secrets);
    this.#people.push(person);
    return person;
  }

  /** Another device of somebody. */
  async logIn(username: string, secrets?: SecretKeys): Promise<Person> {
    const person = await Person.logIn(this.#server, username, secrets);
    this.#people.push(person);
    return person;
  }

  [Symbol.dispose](): void {
    for (const person of this.#people) person.stop();
  }
}

/** What somebody has written down on paper: the keys of their secret storage, by ID. */
export type SecretKeys = Map<string, Uint8Array<ArrayBuffer>>;

function callbacksFor(secrets: SecretKeys): NonNullable<ICreateClientOpts['cryptoCallbacks']> {
  return {
    getSecretStorageKey: async ({ keys }) => [...secrets].find(([id]) => id in keys) ?? null,
    cacheSecretStorageKey: (id, _info, key) => void secrets.set(id, key),
  };
}

/** Somebody with a real client, that encrypts by itself. It stays while the server comes and goes. */
export class Person {
  readonly client: MatrixClient;
  readonly #server: Reachable;

  private constructor(client: MatrixClient, server: Reachable) {
    this.client = client;
    this.#server = server;
  }

  /** Somebody's device logs in (they have an account already) and begins to sync. */
  static async logIn(server: Reachable, username: string, secrets?: SecretKeys): Promise<Person> {
    const session = await createClient({ baseUrl: server.baseUrl, logger: quiet }).loginRequest({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: username },
      password: `password of ${username}`,
    });
    return await Person.#begin(server, session, secrets);
  }

  static async #begin(
    server: Reachable,
    session: Pick<LoginResponse, 'access_token' | 'user_id' | 'device_id'>,
    secrets?: SecretKeys,
  ): Promise<Person> {
    const client = createClient({
      baseUrl: server.baseUrl,
      accessToken: session.access_token,
      userId: session.user_id,
      deviceId: session.device_id,
      timelineSupport: true,
      logger: quiet,
      fetchFn: patientFetch(server),
      ...(secrets === undefined ? {} : { cryptoCallbacks: callbacksFor(secrets) }),
    });
    await client.initRustCrypto({ cryptoDatabasePrefix: session.device_id });
    const person = new Person(client, server);
    // Its own pauses between attempts are made for networks that come back when they like.
    client.on(ClientEvent.Sync, (state) => {
      if (state === SyncState.Reconnecting || state === SyncState.Error) person.reconnect();
    });
    await client.startClient({
      initialSyncLimit: 20,
      pendingEventOrdering: PendingEventOrdering.Detached,
      threadSupport: true,
    });
    await person.until('the first sync', () => client.isInitialSyncComplete());
    return person;
  }

  /** The same device, begun anew: it has its keys, and nothing else. */
  async restarted(): Promise<Person> {
    this.stop();
    return await Person.#begin(this.#server, {
      access_token: this.client.getAccessToken() ?? '',
      user_id: this.userId,
      device_id: this.client.getDeviceId() ?? '',
    });
  }

  static async register(server: Reachable, username: string, secrets?: SecretKeys): Promise<Person> {
    await createClient({ baseUrl: server.baseUrl, logger: quiet }).registerRequest({
      username,
      password: `password of ${username}`,
      auth: { type: 'm.login.dummy' },
      inhibit_login: true,
    });
    return await Person.logIn(server, username, secrets);
  }

  /** What its client encrypts with. */
  get crypto(): CryptoApi {
    const crypto = this.client.getCrypto();
    assert.ok(crypto !== undefined);
    return crypto;
  }

  get deviceId(): string {
    return this.client.getDeviceId() ?? '';
  }

  get userId(): string {
    return this.client.getSafeUserId();
  }

  /** Tries to get through to the server at once, if there is one. */
  reconnect(): void {
    setImmediate(() => {
      if (this.#server.isUp) this.client.retryImmediately();
    });
  }

  room(roomId: string): Room {
    const room = this.client.getRoom(roomId);
    assert.ok(room !== null, 'the client knows the room');
    return room;
  }

  /** Waits until `look` gives something, which it is asked whenever there is news. */
  async until<Found>(what: string, look: Look<Found>): Promise<Found> {
    return await waitFor(
      `${this.userId} waited in vain for ${what}`,
      (onNews) => {
        for (const event of NEWS) this.client.on(event, onNews);
        return () => {
          for (const event of NEWS) this.client.off(event, onNews);
        };
      },
      look,
    );
  }

  /** Sends until the server has answered, however often it goes away meanwhile. Gives the event's ID. */
  async send(roomId: string, type: string, content: object, threadId: string | null = null): Promise<string> {
    const transactionId = this.client.makeTxnId();
    const sendEvent: (...args: unknown[]) => Promise<{ event_id: string }> = this.client.sendEvent.bind(
      this.client,
    ) as never;
    let attempt = sendEvent(roomId, threadId, type, content, transactionId);
    for (;;) {
      try {
        return (await attempt).event_id;
      } catch (error) {
        if (this.#server.isUp && !isConnectionError(error)) throw error;
        await this.#server.up();
        const event = this.room(roomId)
          .getPendingEvents()
          .find((pending) => pending.getTxnId() === transactionId);
        // It had arrived after all, and came back with a sync before the answer was missed.
        if (event === undefined) return this.#sent(roomId, transactionId);
        attempt = this.client.resendEvent(event, this.room(roomId));
      }
    }
  }

  #sent(roomId: string, transactionId: string): string {
    const id = this.room(roomId)
      .getLiveTimeline()
      .getEvents()
      .find((event) => event.getUnsigned().transaction_id === transactionId)
      ?.getId();
    assert.ok(id !== undefined, 'an event that is no longer pending is in the room');
    return id;
  }

  /** The messages of the room's timeline as this client reads them, oldest first. */
  messages(roomId: string): MatrixEvent[] {
    return this.room(roomId)
      .getLiveTimeline()
      .getEvents()
      .filter((event) => event.getType() === 'm.room.message');
  }

  stop(): void {
    this.client.stopClient();
    this.client.removeAllListeners();
  }
}

/** Makes a room in which everybody is and of which everybody knows it. */
export async function together(host: Person, guests: readonly Person[]): Promise<string> {
  const { room_id: roomId } = await host.client.createRoom({
    preset: Preset.PrivateChat,
    invite: guests.map(({ userId }) => userId),
  });
  for (const guest of guests) {
    await guest.until('the invitation', () => guest.client.getRoom(roomId)?.getMyMembership() === 'invite');
    await guest.client.joinRoom(roomId);
  }
  for (const person of [host, ...guests]) {
    await person.until(
      'all in the room',
      () => person.client.getRoom(roomId)?.getJoinedMemberCount() === guests.length + 1,
    );
  }
  return roomId;
}

/**
 * Clients look things up in the background, such as the root of a thread, and nobody of them takes it when the server goes away
 * meanwhile: what only reads is asked again when it is back. A sync sees to that by itself.
 */
function patientFetch(server: Reachable): typeof fetch {
  return async (input, init) => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await fetch(input, init);
      } catch (error) {
        const url = input instanceof Request ? input.url : String(input);
        const isLook = (init?.method ?? 'GET') === 'GET' && !url.includes('/sync?');
        if (!isLook || tries === 5 || init?.signal?.aborted === true) throw error;
        await server.up();
      }
    }
  };
}

function isConnectionError(error: unknown): boolean {
  return error instanceof Error && (error.name === 'ConnectionError' || error.message.includes('fetch failed'));
}

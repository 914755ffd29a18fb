/**
 * What the rest of the server may ask of the post office. It carries requests, events and short-lived data between
 * servers, and knows no rooms.
 */
import type { Readable } from 'node:stream';
import type { RoomEvent } from '../matrix/events/event.ts';
import type { EventId, RoomId, ServerName } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import type { WriteTx } from '../storage/types.ts';

/** A request to another server, signed on its way. */
export interface FederationRequest {
  readonly destination: ServerName;
  readonly method: 'GET' | 'PUT' | 'POST';
  /** With every part already escaped: `federationPath` makes it. */
  readonly path: string;
  /** Parameters; a list is given several times. */
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  readonly body?: JsonObject;
  /** For the whole answer, ms; the configured `client_timeout` unless told. */
  readonly timeoutMs?: number;
  /** Largest answer, bytes; 10 MiB unless told. */
  readonly maxBytes?: number;
  /** How patient to be: tries while a user waits (few, quick), in the background (more), or just one. One unless told. */
  readonly retries?: 'none' | 'short' | 'long';
  /** Ask even if the server is being left alone after failures. */
  readonly ignoreBackoff?: boolean;
  readonly signal?: AbortSignal;
}

/** An answer whose body is still to be read. It must be read or destroyed. */
export interface FederationResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Fails past `maxBytes`, `timeoutMs`, or when the peer is slower than a minimum rate. */
  readonly body: Readable;
}

/** Asks other servers. Every failure is a `FederationError` (errors.ts). */
export interface FederationClient {
  /** The JSON of a successful answer (2xx). Its shape is the caller's to check. */
  request(request: FederationRequest): Promise<JsonValue>;
  /** A successful answer as a stream: for media and for joins of large rooms. */
  open(request: FederationRequest): Promise<FederationResponse>;
}

/** Public keys of servers, and what was signed with them. Fetches what it lacks. */
export interface KeyRing {
  /**
   * Whether `json` bears a valid signature of `server` made with a key that was valid at `validAt` (ms; now unless told).
   * For requests, invites and anything that is not an event.
   */
  verifyJson(server: ServerName, json: JsonObject, options?: { readonly validAt?: number }): Promise<boolean>;
  /** Whether an event bears all the signatures it needs (spec: "Validating hashes and signatures on received events"). */
  checkEvent(event: RoomEvent): Promise<boolean>;
  /** The same for many at once: keys are fetched together, signatures verified beside the event loop. In their order. */
  checkEvents(events: readonly RoomEvent[]): Promise<boolean[]>;
}

/** Short-lived data between servers, as the wire has it. */
export interface Edu {
  readonly type: string;
  readonly content: JsonObject;
}

/** Takes one type of EDU. A MatrixError refuses it; nothing that goes wrong here stops the rest of the transaction. */
export interface EduHandler {
  accept(origin: ServerName, content: JsonObject): Promise<void> | void;
}

/** Answers one type of `/_matrix/federation/v1/query/{queryType}`. Throws MatrixError. */
export type QueryHandler = (
  origin: ServerName,
  args: Readonly<Record<string, string>>,
) => Promise<JsonObject> | JsonObject;

/** Sends EDUs to other servers. This server itself among the destinations is left out. */
export interface EduSender {
  /**
   * Sends what is worthless when it is late: not kept over a restart, dropped for a server that cannot be reached. With a
   * `key`, a newer one of the same type and key takes the place of one still waiting.
   */
  send(destinations: Iterable<ServerName>, edu: Edu, key?: string): void;
  /**
   * Sends what must arrive: stored with the write it belongs to, kept until the destination has it, in order. With a
   * `key`, a newer one of the same type and key takes the place of one still waiting.
   */
  sendDurably(tx: WriteTx, destinations: Iterable<ServerName>, edu: Edu, key?: string): void;
  /**
   * As `sendDurably`, for EDUs made only when they are sent, so that what was waiting for long is told as it is then.
   * `build` is looked up by `type` at the time (see `FederationSender.provide`).
   */
  sendLater(tx: WriteTx, destinations: Iterable<ServerName>, type: string, key: string): void;
}

/** An event on its way out. */
export interface OutgoingPdu {
  readonly eventId: EventId;
  readonly roomId: RoomId;
}

export interface PduSender {
  /** Sends an event to servers, in the order of the calls; kept until each has it. */
  sendPdu(tx: WriteTx, destinations: Iterable<ServerName>, pdu: OutgoingPdu): void;
}

/** How this server gets on with another. */
export interface DestinationStatus {
  readonly server: ServerName;
  /** Since when nothing went through, ms; undefined: all is well. */
  readonly failingSince: number | undefined;
  /** When it is to be tried again, ms. */
  readonly retryAt: number | undefined;
  readonly lastSuccess: number | undefined;
  /** What went wrong last, in words. */
  readonly lastError: string | undefined;
}

/** Which servers are being left alone after failures; kept across restarts. */
export interface Destinations {
  find(server: ServerName): DestinationStatus | undefined;
  /** When `server` may be tried again, ms since the epoch; 0 if now. */
  readyAt(server: ServerName): number;
  /** Something of it arrived, or it answered: it is alive. Tells those who wait, if it was being left alone. */
  succeeded(server: ServerName): void;
  failed(server: ServerName, reason: string): void;
  /** Is told of servers that have come back, and of all that were being left alone when the machine woke or its network changed. */
  onRecovered(listener: (server: ServerName) => void): { unsubscribe(): void };
  /** The machine slept or changed its network: those that were well shortly before are tried at once, the rest soon. */
  wake(): void;
  /** A page of them by name, for whoever administers the server. */
  list(options: {
    readonly from?: ServerName;
    readonly limit: number;
    readonly failingOnly?: boolean;
  }): DestinationStatus[];
}

/** What PUT /send hands the events of a transaction to. */
export interface PduTaker {
  /**
   * Takes events from another server. Resolves once each is refused or will not be lost any more (staged on disk): what
   * became of it by its event ID, `{}` or `{error}`. A bad one does not stop the others.
   */
  receive(origin: ServerName, pdus: readonly JsonValue[]): Promise<Record<string, { readonly error?: string }>>;
}

import { FederationError } from '../federation/errors.ts';
import { federationPath } from '../federation/path.ts';
import type { FederationClient } from '../federation/types.ts';
import { type EventId, isEventId, type RoomId, type ServerName } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../matrix/json.ts';
import { JsonStreamError, readJsonParts } from '../util/json-stream.ts';

const SHORT_MS = 10_000;
const LONG_MS = 60_000;
/** An event and the little around it, with generous room for how it is written. */
const EVENT_BYTES = 262_144;
const EVENT_DEPTH = 100;
const MISSING_BYTES = 16_777_216;
const IDS_BYTES = 33_554_432;
const STATE_BYTES = 268_435_456;
/** The most events of a state, and of an auth chain, that are taken from anybody. */
const MAX_STATE = 200_000;
const MAX_AUTH_CHAIN = 400_000;
/** The most PDUs of an answer to /event_auth: the chain of one event alone. */
const MAX_EVENT_AUTH = 20_000;

/** The state before an event as another server tells it. */
export interface StateIds {
  readonly state: readonly EventId[];
  readonly authChain: readonly EventId[];
}

/**
 * What the rooms ask of other servers about their graph. Every answer is bounded and has its shape; what it holds is as
 * it came: PDUs are not checked here. All throw FederationError.
 */
export class PeerRequests {
  readonly #client: FederationClient;

  constructor(client: FederationClient) {
    this.#client = client;
  }

  /** POST /get_missing_events: events that lie behind `latest` and are not `earliest`, at most `limit`. */
  async missingEvents(
    server: ServerName,
    {
      roomId,
      earliest,
      latest,
      limit,
    }: {
      readonly roomId: RoomId;
      readonly earliest: readonly EventId[];
      readonly latest: readonly EventId[];
      readonly limit: number;
    },
    signal: AbortSignal,
  ): Promise<readonly JsonValue[]> {
    const answer = await this.#client.request({
      destination: server,
      method: 'POST',
      path: federationPath('/v1/get_missing_events', roomId),
      body: { earliest_events: earliest, latest_events: latest, limit, min_depth: 0 },
      timeoutMs: SHORT_MS,
      maxBytes: MISSING_BYTES,
      signal,
    });
    return listOf(server, answer, 'events').slice(0, limit);
  }

  /** GET /event: one event, whatever the server holds it to be; undefined if it gives none. */
  async event(server: ServerName, eventId: EventId, signal: AbortSignal): Promise<JsonValue | undefined> {
    const answer = await this.#client.request({
      destination: server,
      method: 'GET',
      path: federationPath('/v1/event', eventId),
      timeoutMs: SHORT_MS,
      maxBytes: EVENT_BYTES,
      signal,
    });
    return listOf(server, answer, 'pdus')[0];
  }

  /** GET /state_ids: the state before an event, and its auth chain. */
  async stateIds(server: ServerName, roomId: RoomId, eventId: EventId, signal: AbortSignal): Promise<StateIds> {
    const answer = await this.#client.request({
      destination: server,
      method: 'GET',
      path: federationPath('/v1/state_ids', roomId),
      query: { event_id: eventId },
      timeoutMs: LONG_MS,
      maxBytes: IDS_BYTES,
      signal,
    });
    return {
      state: idsOf(server, answer, 'pdu_ids', MAX_STATE),
      authChain: idsOf(server, answer, 'auth_chain_ids', MAX_AUTH_CHAIN),
    };
  }

  /** GET /state: the events of the state before an event and of its auth chain, as they arrive. */
  async *state(
    server: ServerName,
    roomId: RoomId,
    eventId: EventId,
    signal: AbortSignal,
  ): AsyncGenerator<JsonValue, void, undefined> {
    yield* this.#stream(server, federationPath('/v1/state', roomId), {
      query: { event_id: eventId },
      lists: ['pdus', 'auth_chain'],
      limit: MAX_STATE + MAX_AUTH_CHAIN,
      signal,
    });
  }

  /** GET /event_auth: the auth chain of an event, as it arrives. */
  async *eventAuth(
    server: ServerName,
    roomId: RoomId,
    eventId: EventId,
    signal: AbortSignal,
  ): AsyncGenerator<JsonValue, void, undefined> {
    yield* this.#stream(server, federationPath('/v1/event_auth', roomId, eventId), {
      lists: ['auth_chain'],
      limit: MAX_EVENT_AUTH,
      signal,
    });
  }

  async *#stream(
    server: ServerName,
    path: string,
    {
      query,
      lists,
      limit,
      signal,
    }: {
      readonly query?: Readonly<Record<string, string>>;
      readonly lists: readonly string[];
      readonly limit: number;
      readonly signal: AbortSignal;
    },
  ): AsyncGenerator<JsonValue, void, undefined> {
    const { body } = await this.#client.open({
      destination: server,
      method: 'GET',
      path,
      ...(query === undefined ? {} : { query }),
      timeoutMs: LONG_MS,
      maxBytes: STATE_BYTES,
      signal,
    });
    let given = 0;
    try {
      for await (const part of readJsonParts(body, { lists, maxBytes: EVENT_BYTES, maxDepth: EVENT_DEPTH })) {
        if (!part.isElement || !('value' in part) || !isJsonObject(part.value)) continue;
        given += 1;
        if (given > limit) throw malformed(server, 'the answer holds more events than is reasonable');
        yield part.value;
      }
    } catch (error) {
      if (error instanceof JsonStreamError) throw malformed(server, error.message);
      throw error;
    } finally {
      body.destroy();
    }
  }
}

function listOf(server: ServerName, answer: JsonValue, key: string): readonly JsonValue[] {
  const list = isJsonObject(answer) ? answer[key] : undefined;
  if (!Array.isArray(list)) throw malformed(server, `the answer has no list of ${key}`);
  return list;
}

function idsOf(server: ServerName, answer: JsonValue, key: string, limit: number): readonly EventId[] {
  const list = listOf(server, answer, key);
  if (list.length > limit) throw malformed(server, `the answer has more ${key} than is reasonable`);
  const ids = new Set<EventId>();
  for (const id of list) {
    if (typeof id !== 'string' || !isEventId(id)) throw malformed(server, `${key} holds what is no event ID`);
    ids.add(id);
  }
  return [...ids];
}

function malformed(server: ServerName, message: string): FederationError {
  return new FederationError('malformed', server, message);
}

import { FederationError } from '../../federation/errors.ts';
import { federationPath } from '../../federation/path.ts';
import type { FederationResponse } from '../../federation/types.ts';
import { type RoomEvent, type StateKey, stateKeyOf } from '../../matrix/events/event.ts';
import { parsePdu } from '../../matrix/events/parse.ts';
import type { EventId, ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import { JsonStreamError, readJsonParts } from '../../util/json-stream.ts';
import { TooManyOutliersError } from '../outliers.ts';
import { isUnknownOperation, malformed } from './failures.ts';
import { sendPath } from './handshake.ts';
import type { RemoteParts } from './parts.ts';

/** Public rooms of many thousands make tens of MiB; whatever is above this is no honest room. */
const MAX_ANSWER_BYTES = 512 * 1024 * 1024;
/** A PDU may have 64 KiB as canonical JSON, and more with escapes and `unsigned`. */
const MAX_PDU_BYTES = 2 * 65_536;
const MAX_DEPTH = 100;
/** A large room takes its server a while to put together. */
const ANSWER_TIMEOUT_MS = 600_000;

/** A room's state before a join, all of it stored here, with the join as the other server has it. */
export interface JoinAnswer {
  readonly event: RoomEvent;
  readonly state: ReadonlyMap<StateKey, EventId>;
}

/**
 * Hands a join in (server-server API, send_join) and takes in what comes back: the room's state and its auth chain, stored
 * as outliers while they arrive. Members that were left out are asked for at once.
 * @throws FederationError, `malformed` where the answer is no room
 */
export async function sendJoin(parts: RemoteParts, server: ServerName, join: RoomEvent): Promise<JoinAnswer> {
  const { response, isWrapped } = await openAnswer(parts, server, join);
  const taken = await takeState(parts, server, join, response, { state: 'state', isWrapped });
  const event = await readReturnedEvent(parts, server, join, taken.others['event']);
  if (taken.others['members_omitted'] !== true) return { event, state: taken.state };
  const full = await parts.client.open({
    destination: server,
    method: 'GET',
    path: federationPath('/v1/state', join.roomId),
    query: { event_id: join.eventId },
    timeoutMs: ANSWER_TIMEOUT_MS,
    maxBytes: MAX_ANSWER_BYTES,
    ignoreBackoff: true,
  });
  const { state } = await takeState(parts, server, join, full, { state: 'pdus', isWrapped: false });
  return { event, state };
}

async function openAnswer(
  { client }: RemoteParts,
  server: ServerName,
  join: RoomEvent,
): Promise<{ response: FederationResponse; isWrapped: boolean }> {
  const request = {
    destination: server,
    method: 'PUT',
    body: join.pdu,
    timeoutMs: ANSWER_TIMEOUT_MS,
    maxBytes: MAX_ANSWER_BYTES,
    ignoreBackoff: true,
  } as const;
  try {
    const path = sendPath('v2', 'join', join);
    return { response: await client.open({ ...request, path, query: { omit_members: false } }), isWrapped: false };
  } catch (error) {
    if (!isUnknownOperation(error)) throw error;
  }
  return { response: await client.open({ ...request, path: sendPath('v1', 'join', join) }), isWrapped: true };
}

/** Takes in one answer that holds a state and an auth chain. */
async function takeState(
  { outliers, events, log }: RemoteParts,
  server: ServerName,
  join: RoomEvent,
  { body }: FederationResponse,
  { state: stateKey, isWrapped }: { readonly state: 'state' | 'pdus'; readonly isWrapped: boolean },
): Promise<{ state: Map<StateKey, EventId>; others: JsonObject }> {
  const told = new Map<StateKey, EventId>();
  const others: Record<string, JsonValue> = {};
  let key = '';
  let passedOver = 0;

  async function* pdus(): AsyncGenerator<JsonValue, void, undefined> {
    const options = { lists: [stateKey, 'auth_chain'], maxBytes: MAX_PDU_BYTES, maxDepth: MAX_DEPTH, isWrapped };
    try {
      for await (const part of readJsonParts(body, options)) {
        if ('passedOver' in part) {
          passedOver += 1;
          continue;
        }
        // It came out of JSON.
        const value = part.value as JsonValue;
        if (part.isElement) {
          ({ key } = part);
          yield value;
        } else if (part.key === 'event' || part.key === 'members_omitted') {
          others[part.key] = value;
        }
      }
    } catch (error) {
      if (error instanceof FederationError) throw error;
      if (error instanceof JsonStreamError) throw malformed(server, error.message);
      throw new FederationError('unreachable', server, 'the answer broke off', { cause: error });
    }
  }
  const onEvent = (event: RoomEvent): void => {
    if (key !== stateKey || event.stateKey === undefined) return;
    const place = stateKeyOf(event.type, event.stateKey);
    const other = told.get(place);
    if (other !== undefined && other !== event.eventId) throw malformed(server, 'the state holds a key twice');
    told.set(place, event.eventId);
  };

  let outcome: Awaited<ReturnType<typeof outliers.accept>>;
  try {
    outcome = await outliers.accept(join, pdus(), { onEvent });
  } catch (error) {
    throw error instanceof TooManyOutliersError ? malformed(server, error.message) : error;
  } finally {
    body.destroy();
  }
  const { stored, rejected } = outcome;
  const state = new Map([...told].filter(([, id]) => stored.has(id) && !rejected.has(id)));
  // A server that shows the state after the join as well means the one before it.
  const own = stateKeyOf('m.room.member', join.sender);
  if (state.get(own) === join.eventId) state.delete(own);
  const lost = told.size - state.size;
  if (outcome.dropped.length > 0 || passedOver > 0 || lost > 0) {
    const { roomId } = join;
    const [first] = outcome.dropped;
    log.info({ roomId, server, dropped: outcome.dropped.length, passedOver, lost, first }, 'a state came with flaws');
  }
  checkCreate(server, join, state, events);
  return { state, others };
}

function checkCreate(
  server: ServerName,
  { version, roomId }: RoomEvent,
  state: ReadonlyMap<StateKey, EventId>,
  events: RemoteParts['events'],
): void {
  const id = state.get(stateKeyOf('m.room.create', ''));
  const create = id === undefined ? undefined : events.find(id);
  if (create?.roomId !== roomId) throw malformed(server, 'the state has no m.room.create event');
  const { room_version: told = '1' } = create.content;
  if (told !== version.id) throw malformed(server, 'the room has another version than the server said');
}

/** The join with the signatures it got, in case somebody had to vouch for it. */
async function readReturnedEvent(
  { keyRing }: RemoteParts,
  server: ServerName,
  join: RoomEvent,
  returned: JsonValue | undefined,
): Promise<RoomEvent> {
  const isVouchedFor = join.version.restrictedJoins && join.content['join_authorised_via_users_server'] !== undefined;
  if (returned === undefined || returned === null) {
    if (isVouchedFor) throw malformed(server, 'the join came back without the signature it needs');
    return join;
  }
  const parsed = isJsonObject(returned) ? parsePdu(returned, join.version) : undefined;
  const isOurs = parsed?.ok === true && parsed.event.eventId === join.eventId && parsed.event.roomId === join.roomId;
  if (!isOurs) throw malformed(server, 'what came back is not the join that was handed in');
  // What is hashed must be what we wrote: an ID may be given, and a hash says nothing of what it was not made of.
  const event: RoomEvent = { ...join, pdu: { ...join.pdu, signatures: parsed.event.pdu['signatures'] ?? {} } };
  if (!(await keyRing.checkEvent(event))) throw malformed(server, 'the join came back without the signatures it needs');
  return event;
}

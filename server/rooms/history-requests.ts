import { FederationError } from '../federation/errors.ts';
import { federationPath } from '../federation/path.ts';
import type { FederationClient } from '../federation/types.ts';
import { type EventId, isEventId, type RoomId, type ServerName } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../matrix/json.ts';

/** Events asked for at a time. */
const LIMIT = 100;
/** What a hundred events of the largest size take, with room for how they are written; bytes. */
const EVENTS_BYTES = 16_777_216;
const PLACE_BYTES = 65_536;
const TIMEOUT_MS = 10_000;

/** GET /backfill: what lies behind events, themselves included, as it came. @throws FederationError */
export async function askForHistory(
  client: FederationClient,
  server: ServerName,
  { roomId, from }: { readonly roomId: RoomId; readonly from: readonly EventId[] },
  signal: AbortSignal,
): Promise<readonly JsonValue[]> {
  const answer = await client.request({
    destination: server,
    method: 'GET',
    path: federationPath('/v1/backfill', roomId),
    query: { v: from, limit: LIMIT },
    timeoutMs: TIMEOUT_MS,
    maxBytes: EVENTS_BYTES,
    signal,
  });
  const pdus = isJsonObject(answer) ? answer['pdus'] : undefined;
  if (!Array.isArray(pdus)) throw new FederationError('malformed', server, 'the answer has no list of pdus');
  return pdus.slice(0, LIMIT);
}

/** GET /timestamp_to_event: the event that is nearest to a time (ms) and when it was sent, by word. @throws FederationError */
export async function askForTime(
  client: FederationClient,
  server: ServerName,
  { roomId, ts, direction }: { readonly roomId: RoomId; readonly ts: number; readonly direction: 'b' | 'f' },
  signal: AbortSignal,
): Promise<{ readonly eventId: EventId; readonly originServerTs: number }> {
  const answer = await client.request({
    destination: server,
    method: 'GET',
    path: federationPath('/v1/timestamp_to_event', roomId),
    query: { ts, dir: direction },
    timeoutMs: TIMEOUT_MS,
    maxBytes: PLACE_BYTES,
    signal,
  });
  const { event_id: eventId, origin_server_ts: originServerTs } = isJsonObject(answer) ? answer : {};
  if (typeof eventId !== 'string' || !isEventId(eventId) || typeof originServerTs !== 'number') {
    throw new FederationError('malformed', server, 'the answer names no event and its time');
  }
  return { eventId, originServerTs };
}

import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Reply } from '../../../http/route.ts';
import { createEventIdOf } from '../../../matrix/events/event-id.ts';
import { type EventId, isEventId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { FederationParts } from './needs.ts';

/** Events read and written at once: a few milliseconds' worth. */
const SLICE = 200;

export interface JoinAnswerOptions {
  /** The asker does with an auth chain that leaves out what `state` has (`omit_members=true`). */
  readonly withoutRepeats: boolean;
  /** As version 1 of the operation wrapped it: `[200, {…}]`. */
  readonly wrapped: boolean;
}

/**
 * The answer to a join (spec: server-server API, PUT send_join): the event, the room's state before it and the auth chains
 * of both. Written as it is read, a slice at a time, so that a room of any size takes neither memory nor anybody's turn.
 */
export function joinReply(
  { needs, federation }: Pick<FederationParts, 'needs' | 'federation'>,
  join: PersistedEvent,
  options: JoinAnswerOptions,
): Reply {
  const text = writeAnswer(
    { db: needs.db, origin: needs.settings.serverName, pduTexts: federation.pduTexts, graph: federation.graph },
    join,
    options,
  );
  return new Reply({
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: Readable.from(text, { objectMode: false, highWaterMark: 64 * 1024 }),
  });
}

interface AnswerParts extends Pick<FederationParts['federation'], 'pduTexts' | 'graph'> {
  readonly db: Pick<Database, 'committed'>;
  readonly origin: string;
}

async function* writeAnswer(
  { db, origin, pduTexts, graph }: AnswerParts,
  join: PersistedEvent,
  { withoutRepeats, wrapped }: JoinAnswerOptions,
): AsyncGenerator<Buffer, void, undefined> {
  // Nothing may leave before what it rests on is on disk.
  const chunk = async (text: string): Promise<Buffer> => {
    await db.committed();
    await nextTurn();
    return Buffer.from(text);
  };
  const head = JSON.stringify({ origin, members_omitted: false, event: join.pdu });
  yield chunk(`${wrapped ? '[200,' : ''}${head.slice(0, -1)},"state":[`);

  const told = new Set<EventId>();
  // What the state rests on is told after it, and only once.
  const restsOn = new Set<EventId>(join.authEvents);
  if (join.version.roomIdIsCreateHash) restsOn.add(createEventIdOf(join.roomId));
  let separator = '';
  for (const slice of pduTexts.stateBefore(join.eventId, SLICE)) {
    for (const { eventId, json } of slice) {
      if (withoutRepeats) told.add(eventId);
      for (const id of authEventsIn(json)) restsOn.add(id);
    }
    yield chunk(separator + slice.map(({ json }) => json).join(','));
    separator = ',';
  }

  yield chunk('],"auth_chain":[');
  separator = '';
  const chain = await graph.gatherAuthChain(restsOn);
  for (const ids of inSlices(chain.filter((id) => !told.has(id)))) {
    const texts = pduTexts.list(ids);
    if (texts.length === 0) continue;
    yield chunk(separator + texts.map(({ json }) => json).join(','));
    separator = ',';
  }
  yield chunk(wrapped ? ']}]' : ']}');
}

function* inSlices<Item>(items: readonly Item[]): Generator<readonly Item[], void, undefined> {
  for (let start = 0; start < items.length; start += SLICE) yield items.slice(start, start + SLICE);
}

/** The auth events that a stored PDU names, as IDs or, in room versions 1 and 2, in pairs of ID and hashes. */
function authEventsIn(json: string): EventId[] {
  const pdu: unknown = JSON.parse(json);
  const listed = isJsonObject(pdu) ? pdu['auth_events'] : undefined;
  if (!Array.isArray(listed)) return [];
  return listed
    .map((entry: JsonValue) => (Array.isArray(entry) ? (entry as readonly JsonValue[])[0] : entry))
    .filter((id) => typeof id === 'string')
    .filter(isEventId);
}

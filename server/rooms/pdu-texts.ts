import { type EventId, isEventId } from '../matrix/identifiers.ts';
import { jsonList } from '../storage/sql.ts';
import type { Database, ReadStatement } from '../storage/types.ts';
import type { EventStore } from './event-store.ts';
import type { StateGroups } from './state-groups.ts';

/** A stored event as it goes to other servers: the JSON of its PDU. */
export interface PduText {
  readonly eventId: EventId;
  readonly json: string;
}

interface TextRow {
  event_id: string;
  pdu: string;
}

/** Events as the text they are stored as, for answers made of thousands of them of which none is looked at. */
export class PduTexts {
  readonly #events: EventStore;
  readonly #groups: StateGroups;
  readonly #listByNid: ReadStatement<TextRow>;
  readonly #listById: ReadStatement<TextRow>;

  constructor({ db, events, groups }: { db: Database; events: EventStore; groups: StateGroups }) {
    this.#events = events;
    this.#groups = groups;
    this.#listByNid = db.prepareRead(
      'SELECT event_id, pdu FROM events WHERE event_nid IN (SELECT value FROM json_each(?))',
    );
    this.#listById = db.prepareRead(
      'SELECT event_id, pdu FROM events WHERE event_id IN (SELECT value FROM json_each(?)) ORDER BY event_nid',
    );
  }

  /** Earlier ones first, so that whoever takes them in order has what each rests upon; unknown ones are left out. */
  list(eventIds: readonly EventId[]): PduText[] {
    return this.#listById.list(JSON.stringify(eventIds)).map(readText);
  }

  /**
   * The state before an event, `perSlice` of its events at a time, in any order. What is not asked for any more is not
   * read. Nothing for an event whose state is not known.
   */
  *stateBefore(eventId: EventId, perSlice: number): Generator<readonly PduText[], void, undefined> {
    const state = this.#events.find(eventId)?.stateBefore;
    if (state === undefined) return;
    const nids = [...this.#groups.listHolders(state)];
    for (let start = 0; start < nids.length; start += perSlice) {
      yield this.#listByNid.list(jsonList(nids.slice(start, start + perSlice))).map(readText);
    }
  }
}

function readText({ event_id: eventId, pdu }: TextRow): PduText {
  if (!isEventId(eventId)) throw new Error('a stored event ID is none');
  return { eventId, json: pdu };
}

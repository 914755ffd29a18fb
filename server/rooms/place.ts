import type { EventReference } from '../matrix/events/build.ts';
import { referenceHashBase64 } from '../matrix/events/hash.ts';
import type { WriteTx } from '../storage/types.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { Extremity, RoomHead } from './extremities.ts';
import type { Gatherer } from './gather.ts';
import type { StateGroupId } from './state-groups.ts';
import type { EventDraft } from './types.ts';

/** As many as the spec allows: what an event does not follow has to be resolved anew with every change of state. */
const MAX_PREV_EVENTS = 20;
/** If there are more, this many of them are the newest, and the rest the oldest: then none is left over for good. */
const NEWEST_FOLLOWED = 10;

/** Where the next event of a room belongs. */
export interface Place {
  readonly prevEvents: readonly EventReference[];
  readonly authEvents: readonly EventReference[];
  readonly stateBefore: StateGroupId;
  readonly depth: number;
}

/** Finds the place of an event that is yet to be made: after what nothing follows, by the authority of the state there. */
export function placeInGraph(
  tx: WriteTx,
  { events, gatherer }: { readonly events: EventStore; readonly gatherer: Gatherer },
  head: RoomHead,
  { type, sender, content, stateKey }: Pick<EventDraft, 'type' | 'sender' | 'content' | 'stateKey'>,
): Place {
  const { version } = head;
  const prevEvents = listFollowed(head).map(({ nid }) => events.getByNid(nid));
  const stateBefore = gatherer.stateBefore(tx, head, prevEvents);
  const authEvents = gatherer.selectAuthEvents({ type, sender, content, stateKey, version }, stateBefore);
  return {
    prevEvents: prevEvents.map(referTo),
    authEvents: authEvents.map(referTo),
    stateBefore,
    depth: Math.max(0, ...prevEvents.map(({ depth }) => depth)) + 1,
  };
}

/** The extremities that the next event follows, the newest first. */
export function listFollowed({ extremities }: RoomHead): readonly Extremity[] {
  const newestFirst = extremities.toSorted((a, b) => b.depth - a.depth || b.nid - a.nid);
  if (newestFirst.length <= MAX_PREV_EVENTS) return newestFirst;
  return [...newestFirst.slice(0, NEWEST_FOLLOWED), ...newestFirst.slice(NEWEST_FOLLOWED - MAX_PREV_EVENTS)];
}

/** Room versions 1 and 2 want the hash of what is referred to as well. */
function referTo(event: StoredEvent): EventReference {
  const { eventId, version, pdu } = event;
  return version.references === 'pairs' ? { eventId, sha256: referenceHashBase64(pdu, version) } : eventId;
}

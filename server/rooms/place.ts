import type { EventReference } from '../matrix/events/build.ts';
import { referenceHashBase64 } from '../matrix/events/hash.ts';
import type { WriteTx } from '../storage/types.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHead } from './extremities.ts';
import type { Gatherer } from './gather.ts';
import type { StateGroupId } from './state-groups.ts';
import type { EventDraft } from './types.ts';

/** The spec allows twenty; fewer keep events small, and what is left over comes with the next ones. */
const MAX_PREV_EVENTS_SENT = 10;

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
  const { version, extremities } = head;
  const newest = extremities.toSorted((a, b) => b.depth - a.depth || b.nid - a.nid).slice(0, MAX_PREV_EVENTS_SENT);
  const prevEvents = newest.map(({ nid }) => events.getByNid(nid));
  const stateBefore = gatherer.stateBefore(tx, head, prevEvents);
  const authEvents = gatherer.selectAuthEvents({ type, sender, content, stateKey, version }, stateBefore);
  return {
    prevEvents: prevEvents.map(referTo),
    authEvents: authEvents.map(referTo),
    stateBefore,
    depth: Math.max(0, ...prevEvents.map(({ depth }) => depth)) + 1,
  };
}

/** Room versions 1 and 2 want the hash of what is referred to as well. */
function referTo(event: StoredEvent): EventReference {
  const { eventId, version, pdu } = event;
  return version.references === 'pairs' ? { eventId, sha256: referenceHashBase64(pdu, version) } : eventId;
}

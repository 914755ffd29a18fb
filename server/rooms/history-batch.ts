import type { RoomEvent } from '../matrix/events/event.ts';
import type { EventId } from '../matrix/identifiers.ts';

/** Events of one answer, by their IDs. */
export type Batch = ReadonlyMap<EventId, RoomEvent>;

/**
 * The events that `wanted` leads to, walking back over prev events within the batch: nearest first. What is not reached
 * was not asked for.
 */
export function reachableFrom(batch: Batch, wanted: Iterable<EventId>): RoomEvent[] {
  const reached = new Map<EventId, RoomEvent>();
  for (const eventId of wanted) {
    const event = batch.get(eventId);
    if (event !== undefined) reached.set(eventId, event);
  }
  // What is added to a map while it is walked is walked too.
  for (const { prevEvents } of reached.values()) {
    for (const eventId of prevEvents) {
      const event = batch.get(eventId);
      if (event !== undefined) reached.set(eventId, event);
    }
  }
  return [...reached.values()];
}

/** The events in an order in which each comes after its prev events. What is part of a cycle, or behind one, is left out. */
export function sortByGraph(events: readonly RoomEvent[]): RoomEvent[] {
  const waiting = new Map(events.map((event) => [event.eventId, new Set<EventId>()]));
  const followers = new Map<EventId, RoomEvent[]>();
  for (const event of events) {
    for (const prevId of event.prevEvents) {
      if (!waiting.has(prevId)) continue;
      waiting.get(event.eventId)?.add(prevId);
      const known = followers.get(prevId);
      if (known === undefined) followers.set(prevId, [event]);
      else known.push(event);
    }
  }
  const sorted = events.filter(({ eventId }) => waiting.get(eventId)?.size === 0).toSorted((a, b) => a.depth - b.depth);
  for (const { eventId } of sorted) {
    for (const follower of followers.get(eventId) ?? []) {
      const lacking = waiting.get(follower.eventId);
      if (lacking?.delete(eventId) === true && lacking.size === 0) sorted.push(follower);
    }
  }
  return sorted;
}

/**
 * The nearest events of a list (as `reachableFrom` gives them), as many as rest on at most `most` states that would have
 * to be asked for; at least one.
 */
export function nearestOf(
  events: readonly RoomEvent[],
  most: number,
  isHeld: (eventId: EventId) => boolean,
): readonly RoomEvent[] {
  for (let count = events.length; count > 1; count = Math.floor(count / 2)) {
    const nearest = events.slice(0, count);
    const ids = new Set(nearest.map(({ eventId }) => eventId));
    const roots = nearest.filter(({ prevEvents }) => prevEvents.some((id) => !ids.has(id) && !isHeld(id)));
    if (roots.length <= most) return nearest;
  }
  return events.slice(0, 1);
}

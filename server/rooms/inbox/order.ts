import type { EventId } from '../../matrix/identifiers.ts';

interface Linked {
  readonly eventId: EventId;
  readonly prevEvents: readonly EventId[];
}

/**
 * Puts each event behind those of its prev events that are among `events`; for the rest they stay in the order they
 * came. Events of room versions 1 and 2 may name each other in a circle: where one does, some of it stands before what
 * it follows.
 */
export function inGraphOrder<Item extends Linked>(events: readonly Item[]): Item[] {
  const byId = new Map(events.map((event) => [event.eventId, event]));
  const entered = new Set<EventId>();
  const ordered: Item[] = [];
  for (const start of byId.values()) {
    const stack: { readonly event: Item; next: number }[] = [];
    const enter = (event: Item): void => {
      entered.add(event.eventId);
      stack.push({ event, next: 0 });
    };
    if (!entered.has(start.eventId)) enter(start);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const id = top.event.prevEvents[top.next];
      top.next += 1;
      if (id === undefined) {
        ordered.push(top.event);
        stack.pop();
        continue;
      }
      const prev = byId.get(id);
      if (prev !== undefined && !entered.has(id)) enter(prev);
    }
  }
  return ordered;
}

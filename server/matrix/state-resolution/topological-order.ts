import type { RoomEvent } from '../events/event.ts';
import type { EventId } from '../identifiers.ts';
import { EVENTS_PER_STEP, type Steps } from './event-source.ts';

/** Says which of two comes first: negative for the left one, positive for the right one. */
type Compare<Item> = (left: Item, right: Item) => number;

/**
 * The reverse topological power ordering (room version 2, "Definitions"): auth events before those that cite them, and
 * among all that could come next, the one whose sender has the most power, then the oldest, then the least event ID.
 * `powerOf` is the sender's level by the event's own auth events.
 */
export function* reverseTopologicalPowerOrder(
  events: ReadonlyMap<EventId, RoomEvent>,
  powerOf: (event: RoomEvent) => number,
): Steps<RoomEvent[]> {
  const citedBy = new Map<EventId, RoomEvent[]>();
  const missing = new Map<EventId, number>();
  const power = new Map<EventId, number>();
  const ready = new Heap<RoomEvent>(
    (left, right) =>
      descending(power.get(left.eventId) ?? 0, power.get(right.eventId) ?? 0) || compareByAge(left, right),
  );
  for (const event of events.values()) {
    if (power.size % EVENTS_PER_STEP === EVENTS_PER_STEP - 1) yield;
    power.set(event.eventId, powerOf(event));
    let count = 0;
    for (const id of new Set(event.authEvents)) {
      if (!events.has(id)) continue;
      count += 1;
      const known = citedBy.get(id);
      if (known) known.push(event);
      else citedBy.set(id, [event]);
    }
    missing.set(event.eventId, count);
    if (count === 0) ready.push(event);
  }
  // Kahn's algorithm. Events that cite each other in a ring never become ready: neither could have been authorised.
  const order: RoomEvent[] = [];
  for (let event = ready.pop(); event !== undefined; event = ready.pop()) {
    order.push(event);
    if (order.length % EVENTS_PER_STEP === 0) yield;
    for (const follower of citedBy.get(event.eventId) ?? []) {
      const left = (missing.get(follower.eventId) ?? 0) - 1;
      missing.set(follower.eventId, left);
      if (left === 0) ready.push(follower);
    }
  }
  return order;
}

/**
 * The mainline ordering (room version 2, "Definitions") of `events`, based on the power levels event `base`: those
 * authorised by its oldest predecessors first, those by none of them before all others. `powerLevelsBehind` gives the
 * m.room.power_levels event among an event's auth events.
 */
export function* mainlineOrder(
  events: readonly RoomEvent[],
  base: RoomEvent | undefined,
  powerLevelsBehind: (event: RoomEvent) => RoomEvent | undefined,
): Steps<RoomEvent[]> {
  // Of each power levels event: where on the mainline one arrives when one goes back from it.
  const positions = new Map<EventId, number>();
  for (let event = base; event && !positions.has(event.eventId); event = powerLevelsBehind(event)) {
    positions.set(event.eventId, positions.size);
    if (positions.size % EVENTS_PER_STEP === 0) yield;
  }
  let passedOver = 0;
  function* positionOf(event: RoomEvent): Steps<number> {
    const passed = new Set<EventId>();
    let step = powerLevelsBehind(event);
    while (step && !positions.has(step.eventId) && !passed.has(step.eventId)) {
      passed.add(step.eventId);
      if (++passedOver % EVENTS_PER_STEP === 0) yield;
      step = powerLevelsBehind(step);
    }
    const position = (step && positions.get(step.eventId)) ?? Number.POSITIVE_INFINITY;
    // The next event that comes this way need not go it all again.
    for (const id of passed) positions.set(id, position);
    return position;
  }
  const placed = new Heap<{ event: RoomEvent; position: number }>(
    (left, right) => descending(left.position, right.position) || compareByAge(left.event, right.event),
  );
  let count = 0;
  for (const event of events) {
    placed.push({ event, position: yield* positionOf(event) });
    if (++count % EVENTS_PER_STEP === 0) yield;
  }
  const order: RoomEvent[] = [];
  for (let next = placed.pop(); next !== undefined; next = placed.pop()) {
    order.push(next.event);
    if (order.length % EVENTS_PER_STEP === 0) yield;
  }
  return order;
}

function compareByAge(left: RoomEvent, right: RoomEvent): number {
  return left.originServerTs - right.originServerTs || compareIds(left.eventId, right.eventId);
}

/** By bytes of UTF-8, which is by code points: event IDs of room versions 1 and 2 may hold anything. */
function compareIds(left: EventId, right: EventId): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

// Not a subtraction: two infinite levels are equal.
function descending(left: number, right: number): number {
  return left === right ? 0 : left > right ? -1 : 1;
}

/** A binary heap: `pop` gives the item that comes first. */
class Heap<Item> {
  readonly #items: Item[] = [];
  readonly #compare: Compare<Item>;

  constructor(compare: Compare<Item>) {
    this.#compare = compare;
  }

  push(item: Item): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = items[above];
      if (parent === undefined || this.#compare(parent, item) <= 0) break;
      items[at] = parent;
      at = above;
    }
    items[at] = item;
  }

  pop(): Item | undefined {
    const items = this.#items;
    const top = items[0];
    const item = items.pop();
    if (item === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const one = items[left];
      if (one === undefined) break;
      const other = items[left + 1];
      const useOther = other !== undefined && this.#compare(other, one) < 0;
      const child = useOther ? other : one;
      if (this.#compare(item, child) <= 0) break;
      items[at] = child;
      at = useOther ? left + 1 : left;
    }
    items[at] = item;
    return top;
  }
}

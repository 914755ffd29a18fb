import type { EventId, RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { EventReader, PersistedEvent, TimelineToken, Visibility } from '../../../rooms/types.ts';
import type { Child, ChildQuery, RelationStore } from '../store.ts';
import { positionBefore } from '../../../sync/own-changes.ts';

/** How often more is read to make up for events that the viewer may not see. */
const MOST_ROUNDS = 5;

export interface ChildrenNeeds {
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly visibility: Pick<Visibility, 'filterVisible'>;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  readonly store: RelationStore;
}

/** The event, if it is one of the room that the viewer may see. */
export function findVisible(
  { events, visibility }: Pick<ChildrenNeeds, 'events' | 'visibility'>,
  viewer: UserId,
  roomId: RoomId,
  eventId: EventId,
): PersistedEvent | undefined {
  const event = events.findEvent(eventId);
  if (event === undefined || event.roomId !== roomId || event.outlier) return undefined;
  return visibility.filterVisible(viewer, [event])[0];
}

/**
 * A page of what relates to an event: without what the viewer may not see and, state apart, what users they ignore have
 * sent. `end` is where the next page begins, undefined after the last one.
 */
export function listChildren(
  needs: ChildrenNeeds,
  viewer: UserId,
  query: ChildQuery,
): { events: PersistedEvent[]; end: TimelineToken | undefined } {
  const ignored = needs.ignoredUsers(viewer);
  const events: PersistedEvent[] = [];
  let { from } = query;
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const children = needs.store.list({ ...query, from, limit: query.limit + 1 });
    const visible = new Map(
      needs.visibility
        .filterVisible(viewer, needs.events.listEvents(children.map((child) => child.eventId)))
        .filter((event) => event.stateKey !== undefined || !ignored.has(event.sender))
        .map((event) => [event.eventId, event]),
    );
    for (const child of children) {
      // There is another one, so this page ends before it.
      if (events.length === query.limit) return { events, end: from };
      const event = visible.get(child.eventId);
      if (event !== undefined) events.push(event);
      from = placeBehind(child, query.direction);
    }
    if (children.length <= query.limit) return { events, end: undefined };
  }
  return { events, end: from };
}

function placeBehind({ depth, position }: Child, direction: 'b' | 'f'): TimelineToken {
  return { order: 'topological', depth, position: direction === 'b' ? positionBefore(position) : position };
}

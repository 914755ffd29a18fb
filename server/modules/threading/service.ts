import { redactEvent } from '../../matrix/events/redact.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { EventReader, PersistedEvent, Projection, Visibility } from '../../rooms/types.ts';
import type { Place, Thread, ThreadStore } from './store.ts';

/** What threads need to know of relations between events. */
export interface ThreadRelations {
  /** What an event says of its parent, if anything. */
  relationOf(event: PersistedEvent): { readonly parentId: EventId; readonly relType: string } | undefined;
  /** The reply in a thread that comes last in the graph, `except` one left out. */
  findLatestReply(rootId: EventId, except: EventId): Place | undefined;
  hasReplied(userId: UserId, rootId: EventId): boolean;
}

export interface ThreadingNeeds {
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly visibility: Pick<Visibility, 'filterVisible'>;
  readonly relations: ThreadRelations;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  readonly store: ThreadStore;
}

const THREAD = 'm.thread';
/** How many relations are followed up to a thread (spec: "Threaded read receipts"). */
const MOST_HOPS = 3;
/** Threads looked at for one page, per thread that is wanted. */
const SCANNED_PER_WANTED = 10;

/** The thread an event belongs to: the ID of its root, or the main timeline (spec: "Threaded read receipts"). */
export type ThreadId = EventId | 'main';

/**
 * Says which thread an event is in: it is itself a reply in one, or relates to such a reply over at most three relations.
 * A root is in the main timeline, as is what relates to it in other ways.
 */
export function findThread(needs: Pick<ThreadingNeeds, 'events' | 'relations'>, event: PersistedEvent): ThreadId {
  let at: PersistedEvent | undefined = event;
  for (let hop = 0; hop < MOST_HOPS && at !== undefined; hop += 1) {
    const relation = needs.relations.relationOf(at);
    if (relation === undefined) return 'main';
    if (relation.relType === THREAD) return relation.parentId;
    const parent: PersistedEvent | undefined = needs.events.findEvent(relation.parentId);
    at = parent?.roomId === event.roomId ? parent : undefined;
  }
  return 'main';
}

/** The roots of a room's threads, latest reply first; `end` is where the next page begins, undefined after the last. */
export function listThreads(
  needs: ThreadingNeeds,
  {
    viewer,
    roomId,
    from,
    limit,
    participated,
  }: {
    viewer: UserId;
    roomId: RoomId;
    from: Place | undefined;
    limit: number;
    /** Only threads the viewer began or replied in. */
    participated: boolean;
  },
): { roots: PersistedEvent[]; end: Place | undefined } {
  const { store, events, visibility, relations, ignoredUsers } = needs;
  const ignored = ignoredUsers(viewer);
  const isWanted = (root: PersistedEvent): boolean =>
    root.roomId === roomId &&
    // Whatever relates to an event cannot be the root of a thread (spec: "Threading").
    relations.relationOf(root) === undefined &&
    (!participated || root.sender === viewer || relations.hasReplied(viewer, root.eventId));

  const roots: PersistedEvent[] = [];
  let place = from;
  let scanned = 0;
  while (scanned < limit * SCANNED_PER_WANTED) {
    const threads = store.list(roomId, place, limit + 1);
    const loaded = events.listEvents(threads.map((thread) => thread.rootId)).filter(isWanted);
    const visible = new Map(visibility.filterVisible(viewer, loaded).map((root) => [root.eventId, root]));
    for (const thread of threads) {
      // There is another one, so this page ends before it.
      if (roots.length === limit) return { roots, end: place };
      const root = visible.get(thread.rootId);
      if (root !== undefined) roots.push(ignored.has(root.sender) ? { ...root, ...redactEvent(root) } : root);
      place = placeBefore(thread);
      scanned += 1;
    }
    if (threads.length <= limit) return { roots, end: undefined };
  }
  return { roots, end: place };
}

function placeBefore({ depth, position }: Thread): Place {
  return { depth, position: (position - 1) as Place['position'] };
}

/** Keeps the list of threads in step with the events. */
export function threadProjection({ events, relations, store }: ThreadingNeeds): Projection {
  const rootOf = (event: PersistedEvent): EventId | undefined => {
    const relation = relations.relationOf(event);
    return relation?.relType === THREAD ? relation.parentId : undefined;
  };
  return {
    name: 'threading',
    project: (tx, event, { redacted }) => {
      const left = redacted === undefined ? undefined : rootOf(redacted);
      if (redacted !== undefined && left !== undefined) {
        store.setLatest(tx, redacted.roomId, left, relations.findLatestReply(left, redacted.eventId));
      }
      if (event.verdict !== 'accepted') return;
      const rootId = rootOf(event);
      if (rootId === undefined) return;
      const root = events.findEvent(rootId);
      if (root === undefined || root.roomId === event.roomId) store.advance(tx, event.roomId, rootId, event);
    },
  };
}

import type { EventId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { EventReader, PersistedEvent, Projection, Visibility } from '../../rooms/types.ts';
import type { Database, StreamPosition } from '../../storage/types.ts';
import type { RelatedEvents } from '../../sync/filter-match.ts';
import { relationPurge } from './purge.ts';
import { relationRoutes, type RelationRouteNeeds } from './routes.ts';
import { bundledAggregations, editsOf } from './service/aggregate.ts';
import { readRelation, THREAD } from './service/relation.ts';
import { relationRules, type RelationRules } from './service/rules.ts';
import { RelationStore } from './store.ts';

export { migrations } from './schema.ts';
export type { RelationRules } from './service/rules.ts';

/** What other parts of the server may ask about relations. */
export interface Relations extends RelatedEvents, RelationRules {
  /** What the event says of its parent; undefined if it has none. Redacted events have none. */
  relationOf(event: PersistedEvent): { readonly parentId: EventId; readonly relType: string } | undefined;
  /** The reply in a thread that comes last in the graph, `except` one left out. */
  findLatestReply(
    rootId: EventId,
    except: EventId,
  ): { readonly depth: number; readonly position: StreamPosition } | undefined;
  /** The edit that holds, of those this server knows; undefined for an event that was never edited. */
  findEdit(original: PersistedEvent): PersistedEvent | undefined;
  /** Whether the user has replied in the thread. */
  hasReplied(userId: UserId, rootId: EventId): boolean;
}

export interface RelationsNeeds {
  readonly db: Database;
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly visibility: Pick<Visibility, 'canSee' | 'filterVisible'>;
  readonly ignoredUsers: RelationRouteNeeds['ignoredUsers'];
  readonly formatter: RelationRouteNeeds['formatter'];
  readonly tokens: RelationRouteNeeds['tokens'];
}

/**
 * Which events relate to which: bundled aggregations and the Relationships API (spec: client-server API, "Forming
 * relationships between events", "Event replacements", "Event annotations", "Reference relations", "Threading").
 */
export function relations(needs: RelationsNeeds): Module & { readonly relations: Relations } {
  const { db, events, visibility } = needs;
  const store = new RelationStore(db);
  return {
    name: 'relations',
    relations: {
      ...relationRules({ events, store }),
      eventsRelatedBy: (parents, { senders, relTypes }) =>
        new Set(
          store.listRelated(
            parents.map((event) => event.eventId),
            senders,
            relTypes,
          ),
        ),
      relationOf: (event) => readRelation(event.content),
      findLatestReply: (rootId, except) =>
        store.listNewest(rootId, THREAD, new Set(), 2).find((child) => child.eventId !== except),
      findEdit: (original) => editsOf({ events, store }, original).next().value ?? undefined,
      hasReplied: (userId, rootId) => store.hasSent(userId, rootId, THREAD),
    },
    routes: relationRoutes({ ...needs, store }),
    projections: [relationProjection({ events, store })],
    purge: relationPurge(db),
    decorations: [bundledAggregations({ events, visibility, store })],
  };
}

function relationProjection({
  events,
  store,
}: {
  events: Pick<EventReader, 'findEvent'>;
  store: RelationStore;
}): Projection {
  return {
    name: 'relations',
    project: (tx, event, { redacted }) => {
      // With its content an event loses its relation; what relates to it stays (spec: "Aggregations of child events").
      if (redacted !== undefined) store.remove(tx, redacted.eventId);
      if (event.verdict !== 'accepted') return;
      store.removeForeign(tx, event.eventId, event.roomId);
      const relation = readRelation(event.content);
      if (relation === undefined) return;
      const parent = events.findEvent(relation.parentId);
      if (parent === undefined || parent.roomId === event.roomId) store.insert(tx, event, relation);
    },
  };
}

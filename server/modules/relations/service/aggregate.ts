import type { EventId, UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { EventReader, PersistedEvent, Visibility } from '../../../rooms/types.ts';
import type { EventDecoration } from '../../../sync/types.ts';
import type { RelationStore } from '../store.ts';
import { ANNOTATION, readRelation, REFERENCE, REPLACE, THREAD } from './relation.ts';

export interface AggregationNeeds {
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly visibility: Pick<Visibility, 'canSee' | 'filterVisible'>;
  readonly store: RelationStore;
}

type Viewer = Parameters<EventDecoration['decorate']>[1];
type Show = Parameters<EventDecoration['decorate']>[2];
/** By event, the aggregations of its children by kind. */
type Aggregations = ReadonlyMap<EventId, Readonly<Record<string, JsonObject>>>;

/** Of the newest edits or replies, how many are tried before giving up on finding one that counts. */
const MOST_CANDIDATES = 10;
/**
 * NOT-SPEC: of more references than this only the newest are named, since each has to be loaded to see whether the viewer
 * may know of it. Polls are what has many, and clients page through the answers to those.
 */
const MOST_REFERENCES = 250;

/** Bundled aggregations (spec: client-server API, "Aggregations of child events"). */
export function bundledAggregations(needs: AggregationNeeds): EventDecoration {
  return {
    name: 'relations',
    decorate: (events, viewer, show) => {
      const plain = aggregate(needs, events, viewer, show);
      const threads = aggregateThreads(needs, events, viewer, show);
      const decorated = new Map<EventId, JsonObject>();
      for (const eventId of new Set([...plain.keys(), ...threads.keys()])) {
        decorated.set(eventId, { 'm.relations': { ...plain.get(eventId), ...threads.get(eventId) } });
      }
      return decorated;
    },
  };
}

/** Edits and references. Annotations are the client's to count (spec: "Server-side aggregation of m.annotation"). */
function aggregate(
  needs: AggregationNeeds,
  events: readonly PersistedEvent[],
  viewer: Viewer,
  show: Show,
): Aggregations {
  const found = new Map<EventId, Record<string, JsonObject>>();
  for (const { parent, relType } of listParents(needs, events, [REPLACE, REFERENCE])) {
    const aggregation =
      relType === REPLACE ? latestEdit(needs, parent, viewer, show) : references(needs, parent, viewer);
    if (aggregation !== undefined) found.set(parent.eventId, { ...found.get(parent.eventId), [relType]: aggregation });
  }
  return found;
}

/** Those events that have children of the given kinds which are to be bundled with them. */
function listParents(
  { store }: AggregationNeeds,
  events: readonly PersistedEvent[],
  relTypes: readonly string[],
): { parent: PersistedEvent; relType: string }[] {
  // State events get no bundles (spec: "Aggregations of child events"), and whatever relates to an edit or an
  // annotation breaks the rules of its relation.
  const parents = new Map(events.filter(mayBundle).map((event) => [event.eventId, event]));
  if (parents.size === 0) return [];
  return store.listKinds([...parents.keys()], relTypes).flatMap(({ parentId, relType }) => {
    const parent = parents.get(parentId);
    return parent === undefined ? [] : [{ parent, relType }];
  });
}

function mayBundle({ stateKey, content }: PersistedEvent): boolean {
  if (stateKey !== undefined) return false;
  const own = readRelation(content)?.relType;
  return own !== REPLACE && own !== ANNOTATION;
}

/** Spec: "Server-side aggregation of m.replace relationships". */
function latestEdit(
  needs: AggregationNeeds,
  original: PersistedEvent,
  viewer: Viewer,
  show: Show,
): JsonObject | undefined {
  if (viewer.ignoredUsers.has(original.sender)) return undefined;
  for (const edit of editsOf(needs, original)) {
    const [visible] = needs.visibility.filterVisible(viewer.userId, [edit]);
    if (visible !== undefined) return show(visible);
  }
  return undefined;
}

/** The edits of an event that count, the one that holds first. */
export function* editsOf(
  { store, events }: Pick<AggregationNeeds, 'store' | 'events'>,
  original: PersistedEvent,
): Generator<PersistedEvent> {
  if (original.redactedBy !== undefined || !mayBundle(original)) return;
  // Only the sender of the original may edit it, so other candidates need not be looked at.
  for (const editId of store.listBySender(original.eventId, REPLACE, original.sender, MOST_CANDIDATES)) {
    const edit = events.findEvent(editId);
    if (edit !== undefined && isValidEdit(original, edit)) yield edit;
  }
}

/** Spec: "Validity of replacement events". That the original is no edit itself is seen to before. */
function isValidEdit(original: PersistedEvent, edit: PersistedEvent): boolean {
  return (
    edit.roomId === original.roomId &&
    edit.sender === original.sender &&
    edit.type === original.type &&
    edit.stateKey === undefined &&
    original.stateKey === undefined &&
    // Of an encrypted event the new content is in what only clients can read.
    (edit.type === 'm.room.encrypted' || isJsonObject(edit.content['m.new_content']))
  );
}

/** Spec: "Server-side aggregation of m.reference". */
function references(
  { store, events, visibility }: AggregationNeeds,
  parent: PersistedEvent,
  { userId, ignoredUsers }: Viewer,
): JsonObject | undefined {
  const children = store.listNewest(parent.eventId, REFERENCE, ignoredUsers, MOST_REFERENCES);
  const loaded = events.listEvents(children.map((child) => child.eventId).reverse());
  const chunk = visibility.filterVisible(userId, loaded).map(({ eventId }) => ({ event_id: eventId }));
  return chunk.length === 0 ? undefined : { chunk };
}

/** Spec: "Server-side aggregation of m.thread relationships". */
function aggregateThreads(
  needs: AggregationNeeds,
  events: readonly PersistedEvent[],
  viewer: Viewer,
  show: Show,
): Aggregations {
  const latest = new Map<PersistedEvent, PersistedEvent>();
  for (const { parent } of listParents(needs, events, [THREAD])) {
    // An event that is someone's child cannot be a thread's root.
    if (readRelation(parent.content) !== undefined) continue;
    const reply = latestReply(needs, parent.eventId, viewer);
    if (reply !== undefined) latest.set(parent, reply);
  }
  if (latest.size === 0) return new Map();
  // The reply shows its own edits too. It is in a thread, so it has none of its own, and this goes no deeper.
  const bundles = aggregate(needs, [...latest.values()], viewer, show);
  const found = new Map<EventId, Record<string, JsonObject>>();
  for (const [root, reply] of latest) {
    const bundle = bundles.get(reply.eventId);
    const summary = {
      latest_event: bundle === undefined ? show(reply) : withBundle(show(reply), bundle),
      count: needs.store.count(root.eventId, THREAD, viewer.ignoredUsers),
      current_user_participated:
        root.sender === viewer.userId || needs.store.hasSent(viewer.userId, root.eventId, THREAD),
    };
    found.set(root.eventId, { [THREAD]: summary });
  }
  return found;
}

function latestReply(
  { store, events, visibility }: AggregationNeeds,
  rootId: EventId,
  { userId, ignoredUsers }: { readonly userId: UserId; readonly ignoredUsers: ReadonlySet<UserId> },
): PersistedEvent | undefined {
  for (const { eventId } of store.listNewest(rootId, THREAD, ignoredUsers, MOST_CANDIDATES)) {
    const reply = events.findEvent(eventId);
    const [visible] = reply === undefined ? [] : visibility.filterVisible(userId, [reply]);
    if (visible !== undefined) return visible;
  }
  return undefined;
}

function withBundle(shown: JsonObject, bundle: JsonObject): JsonObject {
  const unsigned: JsonValue | undefined = shown['unsigned'];
  return { ...shown, unsigned: { ...(isJsonObject(unsigned) ? unsigned : {}), 'm.relations': bundle } };
}

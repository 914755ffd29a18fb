import type { Requester } from '../../http/route.ts';
import { MatrixError, notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../matrix/json.ts';
import type { PersistedEvent, Timeline } from '../../rooms/types.ts';
import { type Database, STREAM_START, type StreamPosition, type WriteTx } from '../../storage/types.ts';
import type { Place, Subscription, ThreadKey, ThreadSubscriptionStore } from './store.ts';

export interface ThreadSubscriptionNeeds {
  readonly db: Database;
  readonly timeline: Pick<Timeline, 'findLatest'>;
  readonly history: {
    /** The event, if it is one of the room that the user may read. */
    findEvent(
      requester: Requester,
      roomId: RoomId,
      eventId: EventId,
      signal?: AbortSignal,
    ): Promise<PersistedEvent | undefined>;
  };
}

/** Changes of what a user follows, as MSC4308 tells them: by room and the thread's root. */
export interface SubscriptionChanges {
  readonly subscribed: JsonObject;
  readonly unsubscribed: JsonObject;
  /** How many they are. */
  readonly count: number;
  /** A token for `GET /thread_subscriptions`, where there is more than was asked for: what is older than these. */
  readonly prevBatch: string | undefined;
}

/** Which threads users follow (MSC4306). */
export interface ThreadSubscriptions {
  /** @throws MatrixError M_NOT_FOUND, also for a thread that the user may not see */
  get(requester: Requester, roomId: RoomId, rootId: EventId, signal?: AbortSignal): Promise<Subscription>;
  /**
   * `cause`: the event in the thread for which a client does it by itself; undefined where its user wants it.
   * @throws MatrixError M_NOT_FOUND, IO.ELEMENT.MSC4306.M_NOT_IN_THREAD, IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION
   */
  subscribe(
    requester: Requester,
    thread: { readonly roomId: RoomId; readonly rootId: EventId; readonly cause: EventId | undefined },
    signal?: AbortSignal,
  ): Promise<void>;
  /** @throws MatrixError M_NOT_FOUND */
  unsubscribe(requester: Requester, roomId: RoomId, rootId: EventId, signal?: AbortSignal): Promise<void>;
  /** For push rules. */
  isSubscribed(userId: UserId, roomId: RoomId, rootId: EventId): boolean;
  /** The latest changes in (since, now], at most `limit`: for the lists of MSC4308. */
  changesSince(userId: UserId, since: StreamPosition, now: StreamPosition, limit: number): SubscriptionChanges;
  removeOfUser(tx: WriteTx, userId: UserId): void;
}

export function threadSubscriptions(
  { db, timeline, history }: ThreadSubscriptionNeeds,
  store: ThreadSubscriptionStore,
): ThreadSubscriptions {
  async function checkRoot(
    requester: Requester,
    roomId: RoomId,
    rootId: EventId,
    signal: AbortSignal | undefined,
  ): Promise<ThreadKey> {
    const root = await history.findEvent(requester, roomId, rootId, signal);
    if (root === undefined) throw notFound('There is no such thread that you may read');
    return { userId: requester.userId, roomId, rootId };
  }

  /** Where an event stands. History that was fetched later has no place in the stream of news. */
  function placeOf(event: PersistedEvent): Place {
    const isNews = timeline.findLatest(event.roomId, event.position)?.eventId === event.eventId;
    return { position: isNews ? event.position : STREAM_START, depth: event.depth };
  }

  return {
    get: async (requester, roomId, rootId, signal) => {
      const found = store.find(await checkRoot(requester, roomId, rootId, signal));
      if (found?.subscribed !== true) throw notFound('You do not follow this thread');
      return found;
    },

    subscribe: async (requester, { roomId, rootId, cause }, signal) => {
      const key = await checkRoot(requester, roomId, rootId, signal);
      let causedAt: Place | undefined;
      if (cause !== undefined) {
        const event = await history.findEvent(requester, roomId, cause, signal);
        if (event === undefined) throw notFound('There is no such event that you may read');
        if (!isReplyIn(rootId, event)) {
          throw new MatrixError('IO.ELEMENT.MSC4306.M_NOT_IN_THREAD', 'The event is not in the thread', {
            status: 400,
          });
        }
        causedAt = placeOf(event);
      }
      const old = store.find(key);
      // What a user wanted themselves stands above what their client did for them.
      if (old?.subscribed === true && (!old.automatic || causedAt !== undefined)) return;
      if (causedAt !== undefined && old?.leftAt !== undefined && wasKnownAt(causedAt, old.leftAt)) {
        throw new MatrixError(
          'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION',
          'You have left the thread since then',
          { status: 409 },
        );
      }
      db.write((tx) => store.put(tx, key, causedAt !== undefined));
    },

    unsubscribe: async (requester, roomId, rootId, signal) => {
      const key = await checkRoot(requester, roomId, rootId, signal);
      if (!store.isSubscribed(key)) return;
      const depth = timeline.findLatest(roomId)?.depth ?? 0;
      db.write((tx) => store.leave(tx, key, { position: db.position(), depth }));
    },

    isSubscribed: (userId, roomId, rootId) => store.isSubscribed({ userId, roomId, rootId }),

    changesSince: (userId, since, now, limit) => {
      const changes = store.listLatest(userId, since, now, limit + 1);
      const told = changes.slice(0, limit);
      const oldest = told.at(-1);
      const isMore = changes.length > told.length;
      return {
        subscribed: byRoom(told.filter(({ subscribed }) => subscribed)),
        unsubscribed: byRoom(told.filter(({ subscribed }) => !subscribed)),
        count: told.length,
        prevBatch: isMore && oldest !== undefined ? formatPlace((oldest.position - 1) as StreamPosition) : undefined,
      };
    },

    removeOfUser: (tx, userId) => store.removeUser(tx, userId),
  };
}

/** A token that pages the list of subscriptions: all up to a position of the stream. */
export function formatPlace(position: StreamPosition): string {
  return `ts${position}`;
}

/** Undefined for what is no such token. */
export function parsePlace(token: string): StreamPosition | undefined {
  const [, digits] = /^ts([0-9]{1,15})$/.exec(token) ?? [];
  return digits === undefined ? undefined : (Number(digits) as StreamPosition);
}

function wasKnownAt(event: Place, left: Place): boolean {
  return event.position === STREAM_START ? event.depth <= left.depth : event.position <= left.position;
}

function isReplyIn(rootId: EventId, { content }: PersistedEvent): boolean {
  const relatesTo = content['m.relates_to'];
  return isJsonObject(relatesTo) && relatesTo['rel_type'] === 'm.thread' && relatesTo['event_id'] === rootId;
}

function byRoom(changes: readonly Subscription[]): JsonObject {
  const rooms = new Map<RoomId, [EventId, JsonObject][]>();
  for (const { roomId, rootId, position, subscribed, automatic } of changes) {
    const room = rooms.get(roomId) ?? [];
    room.push([rootId, { ...(subscribed ? { automatic } : {}), bump_stamp: position }]);
    rooms.set(roomId, room);
  }
  return Object.fromEntries(Array.from(rooms, ([roomId, threads]) => [roomId, Object.fromEntries(threads)]));
}

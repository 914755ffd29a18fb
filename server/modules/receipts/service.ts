import { forbidden, invalidParam, notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { EventReader, MembershipReader, PersistedEvent, Visibility } from '../../rooms/types.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Receipt, ReceiptStore, ReceiptType } from './store.ts';

/** Passes public receipts of local users on to other servers. */
export interface ReceiptSender {
  send(receipt: Receipt): void;
}

export interface ReceiptNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly rooms: Pick<MembershipReader, 'isJoined'>;
  readonly visibility: Pick<Visibility, 'canSee'>;
  /** The thread an event is in: `main`, or the ID of its root. */
  readonly threads: { threadOfEvent(event: PersistedEvent): string };
  readonly sender?: ReceiptSender;
}

/** What a user has read in a room: the later of their public and private receipts, each with its thread. */
export interface ReadUpTo {
  readonly threadId: string | undefined;
  readonly eventDepth: number;
  readonly eventPosition: number;
}

export interface Receipts {
  /**
   * A local user has read up to an event, in a thread if one is named. Never goes back.
   * @throws MatrixError M_FORBIDDEN (not in the room), M_NOT_FOUND (no such event there), M_INVALID_PARAM (not in the thread)
   */
  set(roomId: RoomId, userId: UserId, type: ReceiptType, eventId: EventId, threadId: string | undefined): void;
  /** For counting what is unread. */
  listReadUpTo(roomId: RoomId, userId: UserId): readonly ReadUpTo[];
}

/** Whether `a` comes before `b` in the room's graph. */
function isBefore(
  a: { readonly depth: number; readonly position: number },
  b: { readonly depth: number; readonly position: number },
): boolean {
  return a.depth === b.depth ? a.position < b.position : a.depth < b.depth;
}

export function receiptService({
  db,
  clock,
  events,
  rooms,
  visibility,
  threads,
  sender,
  store,
}: ReceiptNeeds & { store: ReceiptStore }): Receipts {
  function checkThread(event: PersistedEvent, threadId: string): void {
    // A root is in the main timeline and begins its own thread: clients mark it as read in both.
    if (threads.threadOfEvent(event) === threadId || event.eventId === threadId) return;
    throw invalidParam('The event is not in the thread that thread_id names');
  }

  return {
    set: (roomId, userId, type, eventId, threadId) => {
      if (!rooms.isJoined(roomId, userId)) throw forbidden('You are not in this room');
      const event = events.findEvent(eventId);
      if (event === undefined || event.roomId !== roomId || !visibility.canSee(userId, event)) {
        throw notFound('There is no such event in this room');
      }
      if (threadId !== undefined) checkThread(event, threadId);
      const old = store.find(roomId, userId, type, threadId);
      if (old !== undefined && !isBefore({ depth: old.eventDepth, position: old.eventPosition }, event)) return;
      const receipt: Receipt = {
        roomId,
        userId,
        type,
        threadId,
        eventId,
        eventDepth: event.depth,
        eventPosition: event.position,
        ts: clock.now(),
      };
      db.write((tx) => {
        store.put(tx, receipt);
        if (type === 'm.read') tx.onCommit(() => sender?.send(receipt));
      });
    },
    listReadUpTo: (roomId, userId) => store.listOf(roomId, userId),
  };
}

import { forbidden, invalidParam, notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { EventReader, MembershipReader, PersistedEvent, Timeline, Visibility } from '../../rooms/types.ts';
import { type Database, STREAM_START, type WriteTx } from '../../storage/types.ts';
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
  readonly timeline: Pick<Timeline, 'findLatest'>;
  readonly sender?: ReceiptSender;
  /** Who counts what is unread: called in the write that stores a receipt of a local user. */
  readonly onRead?: (tx: WriteTx, receipt: Receipt) => void;
}

export interface Receipts {
  /**
   * A local user has read up to an event, in a thread if one is named. Never goes back.
   * @throws MatrixError M_FORBIDDEN (not in the room), M_NOT_FOUND (no such event there), M_INVALID_PARAM (not in the thread)
   */
  set(roomId: RoomId, userId: UserId, type: ReceiptType, eventId: EventId, threadId: string | undefined): void;
}

type Place = Pick<Receipt, 'eventDepth' | 'eventPosition'>;

/**
 * Whether `a` comes before `b` as people see them: news in the order it came, even if a server was cut off and what it
 * has to say is older by the graph; before that, history in the order of the graph.
 */
function isBefore(a: Place, b: Place): boolean {
  return a.eventPosition === b.eventPosition ? a.eventDepth < b.eventDepth : a.eventPosition < b.eventPosition;
}

export function receiptService({
  db,
  clock,
  events,
  rooms,
  visibility,
  threads,
  timeline,
  sender,
  onRead,
  store,
}: ReceiptNeeds & { store: ReceiptStore }): Receipts {
  function checkThread(event: PersistedEvent, threadId: string): void {
    // A root is in the main timeline and begins its own thread: clients mark it as read in both.
    if (threads.threadOfEvent(event) === threadId || event.eventId === threadId) return;
    throw invalidParam('The event is not in the thread that thread_id names');
  }

  function placeOf(event: PersistedEvent): Place {
    const isNews = timeline.findLatest(event.roomId, event.position)?.eventId === event.eventId;
    return { eventDepth: event.depth, eventPosition: isNews ? event.position : STREAM_START };
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
      const place = placeOf(event);
      if (old !== undefined && !isBefore(old, place)) return;
      const receipt: Receipt = {
        roomId,
        userId,
        type,
        threadId,
        eventId,
        ...place,
        ts: clock.now(),
      };
      db.write((tx) => {
        store.put(tx, receipt);
        onRead?.(tx, receipt);
        if (type === 'm.read') tx.onCommit(() => sender?.send(receipt));
      });
    },
  };
}

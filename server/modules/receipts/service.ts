import { LRUCache } from 'lru-cache';
import { forbidden, invalidParam, notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { EventReader, MembershipReader, PersistedEvent, Timeline, Visibility } from '../../rooms/types.ts';
import { type Database, STREAM_START, type WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';
import type { Receipt, ReceiptStore, ReceiptType } from './store.ts';

/** Is told of public receipts of local users, for other servers among others. */
export interface ReceiptSender {
  send(receipt: Receipt): void;
}

export interface ReceiptNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly rooms: Pick<MembershipReader, 'isJoined' | 'listServers'>;
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
  /**
   * Another server says how far its users have read. What cannot be, or is older than what is known, is left out; what is
   * about an event that has not come yet waits for it a while.
   */
  putRemote(receipts: readonly RemoteReceipt[]): void;
  /** An event came: receipts that were waiting for it take effect. */
  arrived(eventId: EventId): void;
}

/** What another server says of one of its users. */
export type RemoteReceipt = Pick<Receipt, 'roomId' | 'userId' | 'threadId' | 'eventId' | 'ts'>;

/** Events for which receipts wait. */
const MAX_AWAITED = 1_000;
/** Receipts that wait for one event. */
const MAX_WAITING_EACH = 50;

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

  const waiting = new LRUCache<EventId, readonly RemoteReceipt[]>(atMost(MAX_AWAITED));

  function wait(receipt: RemoteReceipt): void {
    const others = waiting.get(receipt.eventId) ?? [];
    if (others.length < MAX_WAITING_EACH) waiting.set(receipt.eventId, [...others, receipt]);
  }

  /** One receipt of another server, if its event is there and it leads further than what is known. */
  function readRemote({ roomId, userId, threadId, eventId, ts }: RemoteReceipt): Receipt | undefined {
    const event = events.findEvent(eventId);
    if (event?.roomId !== roomId || !rooms.isJoined(roomId, userId)) return undefined;
    const place = placeOf(event);
    const old = store.find(roomId, userId, 'm.read', threadId);
    if (old !== undefined && !isBefore(old, place)) return undefined;
    return { roomId, userId, type: 'm.read', threadId, eventId, ...place, ts };
  }

  function putRemote(receipts: readonly RemoteReceipt[]): void {
    for (const receipt of receipts) if (events.findEvent(receipt.eventId) === undefined) wait(receipt);
    db.write((tx) => {
      // Read one by one: a later one may be about the same user and thread.
      for (const remote of receipts) {
        const receipt = readRemote(remote);
        if (receipt !== undefined) store.put(tx, receipt);
      }
    });
  }

  return {
    putRemote,
    arrived: (eventId) => {
      const receipts = waiting.get(eventId);
      waiting.delete(eventId);
      if (receipts !== undefined) putRemote(receipts);
    },
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

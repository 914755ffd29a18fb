import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { forbidden, invalidParam, notFound } from '../../matrix/errors.ts';
import { type EventId, isEventId, type RoomId, type UserId } from '../../matrix/identifiers.ts';
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
  readonly rooms: Pick<MembershipReader, 'isJoined' | 'listServers' | 'listLocalJoined'>;
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
   * about an event that has not come yet, or of somebody whose join has not, waits for it a while.
   */
  putRemote(receipts: readonly RemoteReceipt[]): Promise<void>;
  /** An event came: receipts that were waiting for it take effect. */
  arrived(event: PersistedEvent): void;
}

/** What another server says of one of its users. */
export type RemoteReceipt = Pick<Receipt, 'roomId' | 'userId' | 'threadId' | 'eventId' | 'ts'>;

/** Events and joins for which receipts wait. */
const MAX_AWAITED = 1_000;
/** Receipts that wait for one of them. */
const MAX_WAITING_EACH = 50;
/** Receipts that are stored before others have their turn. */
const AT_ONCE = 50;

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

  /** Receipts by what they wait for: an event, or that somebody joins a room. */
  const waiting = new LRUCache<string, readonly RemoteReceipt[]>(atMost(MAX_AWAITED));

  function wait(key: string, receipt: RemoteReceipt): void {
    const others = waiting.get(key) ?? [];
    if (others.length < MAX_WAITING_EACH) waiting.set(key, [...others, receipt]);
  }

  /** Nothing but what is there can be a thread: else one user could have receipts without end. */
  function isThread({ roomId, threadId }: RemoteReceipt, event: PersistedEvent): boolean {
    if (threadId === undefined || threadId === 'main') return true;
    if (!isEventId(threadId)) return false;
    return threads.threadOfEvent(event) === threadId || events.findEvent(threadId)?.roomId === roomId;
  }

  /** One receipt of another server, if it can be and leads further than what is known. */
  function readRemote(remote: RemoteReceipt): Receipt | undefined {
    const { roomId, userId, threadId, eventId, ts } = remote;
    const event = events.findEvent(eventId);
    if (event === undefined || (event.outlier && event.verdict !== 'rejected')) {
      wait(eventId, remote);
      return undefined;
    }
    if (event.roomId !== roomId || event.verdict === 'rejected' || !isThread(remote, event)) return undefined;
    if (!rooms.isJoined(roomId, userId)) {
      wait(memberKey(roomId, userId), remote);
      return undefined;
    }
    const place = placeOf(event);
    const old = store.find(roomId, userId, 'm.read', threadId);
    if (old !== undefined && !isBefore(old, place)) return undefined;
    return { roomId, userId, type: 'm.read', threadId, eventId, ...place, ts };
  }

  function putSome(receipts: readonly RemoteReceipt[]): void {
    db.write((tx) => {
      // Read one by one: a later one may be about the same user and thread.
      for (const remote of receipts) {
        const receipt = readRemote(remote);
        if (receipt !== undefined) store.put(tx, receipt);
      }
    });
  }

  function arrive(key: string): void {
    const receipts = waiting.get(key);
    if (receipts === undefined) return;
    waiting.delete(key);
    putSome(receipts);
  }

  return {
    putRemote: async (receipts) => {
      // Of a room that nobody here is in, nobody here is shown anything.
      const ours = new Set<RoomId>();
      for (const roomId of new Set(receipts.map((receipt) => receipt.roomId))) {
        if (rooms.listLocalJoined(roomId).length > 0) ours.add(roomId);
      }
      const shown = receipts.filter(({ roomId }) => ours.has(roomId));
      for (let start = 0; start < shown.length; start += AT_ONCE) {
        if (start > 0) await nextTurn();
        putSome(shown.slice(start, start + AT_ONCE));
      }
    },
    arrived: ({ eventId, roomId, type, stateKey, content }) => {
      if (waiting.size === 0) return;
      arrive(eventId);
      const isJoin = type === 'm.room.member' && content['membership'] === 'join';
      if (isJoin && stateKey !== undefined) arrive(memberKey(roomId, stateKey));
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

function memberKey(roomId: RoomId, userId: string): string {
  return `${roomId} ${userId}`;
}

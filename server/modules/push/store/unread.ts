import type { EventId, RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';

/** How much of a thread of a room somebody has not read. */
export interface ThreadCount {
  readonly roomId: RoomId;
  /** `main`, or the ID of the thread's root. */
  readonly threadId: string;
  readonly notifications: number;
  readonly highlights: number;
}

/** The same with what only the counting asks. */
export interface Unread extends ThreadCount {
  readonly nid: number;
  readonly userId: UserId;
  readonly readUpTo: number;
}

/** An event that somebody is to be notified of. */
export interface NewNotification {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly threadId: string;
  readonly eventId: EventId;
  readonly position: StreamPosition;
  readonly highlight: boolean;
  /** JSON, of the rule that matched. */
  readonly actions: string;
  /** When the event came, ms since the epoch. */
  readonly ts: number;
}

/** A notification as it is listed. */
export interface ListedNotification {
  /** Of its event, in the stream; a user has one notification of each. */
  readonly position: number;
  readonly eventId: EventId;
  readonly actions: string;
  readonly read: boolean;
}

interface UnreadRow {
  unread_nid: number;
  user_id: string;
  room_id: string;
  thread_id: string;
  notifications: number;
  highlights: number;
  read_up_to: number;
}

interface ListedRow {
  position: number;
  event_id: string;
  actions: string;
}

/** Where the listing of one thread's notifications stands; those that highlight are listed apart. */
interface Source {
  readonly unread_nid: number;
  readonly read_up_to: number;
  readonly highlight: number;
  /** Of the next one to be listed; null after the last. */
  head: number | null;
}

const COLUMNS = 'unread_nid, user_id, room_id, thread_id, notifications, highlights, read_up_to';

function toUnread(row: UnreadRow): Unread {
  return {
    nid: row.unread_nid,
    userId: row.user_id as UserId,
    roomId: row.room_id as RoomId,
    threadId: row.thread_id,
    notifications: row.notifications,
    highlights: row.highlights,
    readUpTo: row.read_up_to,
  };
}

/** What the push rules of local users found, and how much of it is unread. */
export class UnreadStore {
  readonly #find;
  readonly #listRoom;
  readonly #listUser;
  readonly #listRoomTotals;
  readonly #listChanged;
  readonly #count;
  readonly #insert;
  readonly #removeNotification;
  readonly #add;
  readonly #tally;
  readonly #setCounts;
  readonly #setReadUpTo;
  readonly #giveUpRoom;
  readonly #removeUser;
  readonly #listSources;
  readonly #listNext;

  constructor(db: Database) {
    this.#find = db.prepareRead<UnreadRow>(
      `SELECT ${COLUMNS} FROM push_unread WHERE user_id = ? AND room_id = ? AND thread_id = ?`,
    );
    this.#listRoom = db.prepareRead<UnreadRow>(
      `SELECT ${COLUMNS} FROM push_unread WHERE user_id = ? AND room_id = ? AND notifications > 0`,
    );
    this.#listUser = db.prepareRead<UnreadRow>(
      `SELECT ${COLUMNS} FROM push_unread WHERE user_id = ? AND notifications > 0`,
    );
    this.#listRoomTotals = db.prepareRead<{ room_id: RoomId; notifications: number }>(`
      SELECT room_id, sum(notifications) AS notifications FROM push_unread
      WHERE user_id = ? AND notifications > 0 GROUP BY room_id`);
    this.#listChanged = db.prepareRead<{ room_id: RoomId }>(
      'SELECT DISTINCT room_id FROM push_unread WHERE user_id = ? AND position > ?',
    );
    this.#count = db.prepareReturning<{ unread_nid: number }>(`
      INSERT INTO push_unread
        (user_id, room_id, thread_id, notifications, highlights, read_up_to, position, changed_ts)
      VALUES (?, ?, ?, 1, ?, 0, ?, ?)
      ON CONFLICT (user_id, room_id, thread_id) DO UPDATE SET notifications = notifications + 1,
        highlights = highlights + excluded.highlights, position = excluded.position, changed_ts = excluded.changed_ts
      RETURNING unread_nid`);
    this.#insert = db.prepareWrite(`
      INSERT INTO push_notifications (unread_nid, highlight, position, event_id, actions, ts)
      VALUES (?, ?, ?, ?, ?, ?)`);
    this.#removeNotification = db.prepareReturning<{ highlight: number }>(`
      DELETE FROM push_notifications WHERE unread_nid = ? AND highlight IN (0, 1) AND position = ?
      RETURNING highlight`);
    this.#add = db.prepareWrite(`
      UPDATE push_unread SET notifications = max(0, notifications + ?), highlights = max(0, highlights + ?),
        position = ?, changed_ts = ?
      WHERE unread_nid = ?`);
    this.#tally = db.prepareRead<{ notifications: number; highlights: number }>(`
      SELECT count(*) AS notifications, coalesce(sum(highlight), 0) AS highlights
      FROM push_notifications WHERE unread_nid = ? AND highlight IN (0, 1) AND position > ?`);
    this.#setCounts = db.prepareWrite(`
      UPDATE push_unread SET notifications = ?, highlights = ?, read_up_to = ?, position = ?, changed_ts = ?
      WHERE unread_nid = ?`);
    this.#setReadUpTo = db.prepareWrite('UPDATE push_unread SET read_up_to = ? WHERE unread_nid = ?');
    // What was counted may be a lot, so that goes later. Whose it was stands in the place of the room until then; for pushers
    // it is all read.
    this.#giveUpRoom = db.prepareWrite(`
      UPDATE push_unread SET user_id = '', room_id = user_id, thread_id = unread_nid, notifications = 0, highlights = 0,
        read_up_to = ${Number.MAX_SAFE_INTEGER}
      WHERE user_id = ? AND room_id = ?`);
    this.#removeUser = db.prepareWrite('DELETE FROM push_unread WHERE user_id = ?');
    this.#listSources = db.prepareRead<Source>(`
      SELECT unread_nid, read_up_to, kinds.value AS highlight, (
        SELECT max(position) FROM push_notifications AS one
        WHERE one.unread_nid = push_unread.unread_nid AND one.highlight = kinds.value AND one.position < ?
      ) AS head
      FROM push_unread, json_each(?) AS kinds WHERE user_id = ?`);
    this.#listNext = db.prepareRead<ListedRow>(`
      SELECT position, event_id, actions FROM push_notifications
      WHERE unread_nid = ? AND highlight = ? AND position <= ? ORDER BY position DESC LIMIT 2`);
  }

  find(userId: UserId, roomId: RoomId, threadId: string): Unread | undefined {
    const row = this.#find.find(userId, roomId, threadId);
    return row === undefined ? undefined : toUnread(row);
  }

  /** The threads of a room in which the user has something unread. */
  listRoom(userId: UserId, roomId: RoomId): Unread[] {
    return this.#listRoom.list(userId, roomId).map(toUnread);
  }

  /** The threads of all rooms in which the user has something unread. */
  listUser(userId: UserId): Unread[] {
    return this.#listUser.list(userId).map(toUnread);
  }

  /** Rooms in which a count of the user changed after a position. */
  listChangedRooms(userId: UserId, since: StreamPosition): RoomId[] {
    return this.#listChanged.list(userId, since).map((row) => row.room_id);
  }

  /** Counts an event as unread. Gives the number of the count. */
  insert(tx: WriteTx, notification: NewNotification): number {
    const { userId, roomId, threadId, eventId, position, actions, ts } = notification;
    const highlight = notification.highlight ? 1 : 0;
    const row = this.#count.find(tx, userId, roomId, threadId, highlight, position, ts);
    if (row === undefined) throw new Error('a notification was not counted');
    this.#insert.run(tx, row.unread_nid, highlight, position, eventId, actions, ts);
    return row.unread_nid;
  }

  /** Takes an event out of what the user was notified of, as something that happened at `at`. Says if a count changed. */
  remove(
    tx: WriteTx,
    unread: Unread,
    eventPosition: StreamPosition,
    at: { readonly position: StreamPosition; readonly ts: number },
  ): boolean {
    const removed = this.#removeNotification.find(tx, unread.nid, eventPosition);
    if (removed === undefined || eventPosition <= unread.readUpTo) return false;
    this.#add.run(tx, -1, -removed.highlight, at.position, at.ts, unread.nid);
    tx.touch(`user:${unread.userId}`);
    return true;
  }

  /** The user has read a thread up to a position, which must be beyond what they had read. Says if a count changed. */
  setRead(tx: WriteTx, unread: Unread, upTo: number, ts: number): boolean {
    const { notifications = 0, highlights = 0 } = this.#tally.find(unread.nid, upTo) ?? {};
    if (notifications === unread.notifications && highlights === unread.highlights) {
      this.#setReadUpTo.run(tx, upTo, unread.nid);
      return false;
    }
    this.#setCounts.run(tx, notifications, highlights, upTo, tx.nextPosition(), ts, unread.nid);
    tx.touch(`user:${unread.userId}`);
    return true;
  }

  /** How many notifications are unread in each of the rooms that have some. */
  listRoomTotals(userId: UserId): { readonly roomId: RoomId; readonly notifications: number }[] {
    return this.#listRoomTotals.list(userId).map(({ room_id: roomId, notifications }) => ({ roomId, notifications }));
  }

  /** Nothing of the room counts for the user any more; `GivenUpStore` removes what did. Says whether there was anything. */
  giveUpRoom(tx: WriteTx, userId: UserId, roomId: RoomId): boolean {
    return this.#giveUpRoom.run(tx, userId, roomId).changes > 0;
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }

  /** What a user was notified of, newest first, of events before the position `before`. */
  listNotifications(
    userId: UserId,
    { before, limit, onlyHighlights }: { before: number; limit: number; onlyHighlights: boolean },
  ): ListedNotification[] {
    // Threads are in order each; all together they are only as far as somebody looks at them.
    const sources = this.#listSources.list(before, onlyHighlights ? '[1]' : '[0,1]', userId);
    const listed: ListedNotification[] = [];
    while (listed.length < limit) {
      let newest: Source | undefined;
      for (const source of sources) if ((source.head ?? 0) > (newest?.head ?? 0)) newest = source;
      if (newest === undefined) break;
      const [found, next] = this.#listNext.list(newest.unread_nid, newest.highlight, newest.head);
      newest.head = next?.position ?? null;
      if (found === undefined) continue;
      const { position, event_id: eventId, actions } = found;
      listed.push({ position, eventId: eventId as EventId, actions, read: position <= newest.read_up_to });
    }
    return listed;
  }
}

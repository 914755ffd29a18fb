import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { RoomSyncPart, SyncContribution } from '../../sync/types.ts';
import type { Receipt, ReceiptStore } from './store.ts';

type Content = Map<string, Map<string, Map<string, JsonObject>>>;

/** Adds a receipt to the content of an m.receipt, unless the user already has one of its kind on the event there. */
function add(content: Content, { eventId, type, userId, ts, threadId }: Receipt): boolean {
  const byType = content.get(eventId) ?? new Map<string, Map<string, JsonObject>>();
  const byUser = byType.get(type) ?? new Map<string, JsonObject>();
  if (byUser.has(userId)) return false;
  byUser.set(userId, threadId === undefined ? { ts } : { ts, thread_id: threadId });
  content.set(eventId, byType.set(type, byUser));
  return true;
}

const isThreaded = ({ threadId }: Receipt): boolean => threadId !== undefined;

/**
 * The m.receipt events that tell of some receipts: event → kind → user → when, and in which thread. One event has room
 * for one receipt of a user on an event; who has read it in two threads needs two.
 */
function eventsOf(receipts: readonly Receipt[]): JsonObject[] {
  const contents: Content[] = [];
  // Where there is room for one event alone, the receipt that is about no thread tells the most.
  const [threaded, others] = [receipts.filter(isThreaded), receipts.filter((receipt) => !isThreaded(receipt))];
  for (const receipt of [...others, ...threaded]) {
    if (!contents.some((content) => add(content, receipt))) {
      const content: Content = new Map();
      add(content, receipt);
      contents.push(content);
    }
  }
  return contents.map((content) => ({
    type: 'm.receipt',
    content: Object.fromEntries(
      [...content].map(([eventId, byType]) => [
        eventId,
        Object.fromEntries([...byType].map(([type, byUser]) => [type, Object.fromEntries(byUser)])),
      ]),
    ),
  }));
}

/** The receipts among `receipts` that may be shown to a viewer, as the events of each room. */
export function receiptParts(
  receipts: readonly Receipt[],
  viewer: { readonly userId: UserId; readonly ignoredUsers: ReadonlySet<UserId> },
): ReadonlyMap<RoomId, RoomSyncPart> {
  const shown = receipts.filter(
    ({ type, userId }) => (type !== 'm.read.private' || userId === viewer.userId) && !viewer.ignoredUsers.has(userId),
  );
  return new Map([...eventsByRoom(shown)].map(([roomId, ephemeral]) => [roomId, { ephemeral }]));
}

/** The events that tell of some receipts, by room. */
export function eventsByRoom(receipts: readonly Receipt[]): ReadonlyMap<RoomId, JsonObject[]> {
  const byRoom = new Map<RoomId, Receipt[]>();
  for (const receipt of receipts) {
    const ofRoom = byRoom.get(receipt.roomId);
    if (ofRoom === undefined) byRoom.set(receipt.roomId, [receipt]);
    else ofRoom.push(receipt);
  }
  return new Map([...byRoom].map(([roomId, ofRoom]) => [roomId, eventsOf(ofRoom)]));
}

/** Receipts set in the window, and all of a room that is new to the viewer. */
export function receiptContribution(store: ReceiptStore): SyncContribution {
  return {
    name: 'receipts',
    sliding: 'receipts',
    contribute: (window) => {
      if (window.initial) {
        return {
          rooms: receiptParts(
            [...window.joined.keys()].flatMap((room) => store.listRoom(room)),
            window,
          ),
        };
      }
      const moved = store.listSince(window.since, window.now);
      const news = [...window.joined].filter(([, room]) => room.newlyJoined).map(([roomId]) => roomId);
      const known = moved.filter(({ roomId }) => window.joined.has(roomId) && !news.includes(roomId));
      const isShown = ({ roomId, eventId, userId }: Receipt): boolean => {
        const shown = window.joined.get(roomId)?.shown;
        return shown === undefined || shown.has(eventId) || userId === window.userId;
      };
      const ofNews = news.flatMap((room) => store.listRoom(room).filter(isShown));
      return { rooms: receiptParts([...known, ...ofNews], window) };
    },
  };
}

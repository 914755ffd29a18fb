import type { Edu, EduHandler } from '../../federation/types.ts';
import { isEventId, isRoomId, isUserId, serverNameOf } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../matrix/json.ts';
import type { ServerAcls } from '../../rooms/federation-types.ts';
import type { Receipts, RemoteReceipt } from './service.ts';
import type { Receipt } from './store.ts';

/** Receipts taken from one EDU; a server that has more to say says it in several. */
const MAX_RECEIPTS = 1_000;
/** Rooms looked at in one EDU. */
const MAX_ROOMS = 1_000;
const MAX_THREAD_ID_BYTES = 255;

/** m.receipt (server-server API, "Receipts"): a server speaks for its own users only, and of public receipts only. */
export function receiptEdu({
  receipts,
  acls,
  now,
}: {
  receipts: Receipts;
  acls: ServerAcls;
  now: () => number;
}): EduHandler {
  return {
    accept: async (origin, content) => {
      const found: RemoteReceipt[] = [];
      for (const [roomId, kinds] of Object.entries(content).slice(0, MAX_ROOMS)) {
        const users = isJsonObject(kinds) ? kinds['m.read'] : undefined;
        if (!isRoomId(roomId) || !isJsonObject(users) || !acls.isAllowed(origin, roomId)) continue;
        for (const [userId, value] of Object.entries(users).slice(0, MAX_RECEIPTS - found.length)) {
          if (!isUserId(userId) || serverNameOf(userId) !== origin) continue;
          const receipt = readReceipt(value, now());
          if (receipt !== undefined) found.push({ roomId, userId, ...receipt });
        }
      }
      await receipts.putRemote(found);
    },
  };
}

function readReceipt(value: JsonValue, now: number): Pick<RemoteReceipt, 'eventId' | 'threadId' | 'ts'> | undefined {
  if (!isJsonObject(value)) return undefined;
  const { event_ids: eventIds, data } = value;
  // The spec has a list of one.
  const eventId = Array.isArray(eventIds) ? eventIds.at(-1) : undefined;
  if (typeof eventId !== 'string' || !isEventId(eventId)) return undefined;
  const { ts, thread_id: threadId } = isJsonObject(data) ? data : {};
  if (threadId !== undefined && (typeof threadId !== 'string' || !isThreadId(threadId))) return undefined;
  const isTime = typeof ts === 'number' && Number.isSafeInteger(ts) && ts >= 0;
  // Nobody has read anything in the future, whatever the other server's clock says.
  return { eventId, threadId, ts: isTime ? Math.min(ts, now) : now };
}

function isThreadId(text: string): boolean {
  return text !== '' && Buffer.byteLength(text) <= MAX_THREAD_ID_BYTES;
}

/** A receipt of a local user as other servers are told. */
export function toReceiptEdu({ roomId, userId, eventId, threadId, ts }: Receipt): Edu {
  const data = { ts, ...(threadId === undefined ? {} : { thread_id: threadId }) };
  return { type: 'm.receipt', content: { [roomId]: { 'm.read': { [userId]: { event_ids: [eventId], data } } } } };
}

/** What later receipts take the place of while they wait: those of the same user in the same room and thread. */
export function receiptEduKey({ roomId, userId, threadId }: Receipt): string {
  return `${roomId} ${userId} ${threadId ?? ''}`;
}

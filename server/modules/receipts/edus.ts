import type { Edu, EduHandler } from '../../federation/types.ts';
import { badJson } from '../../matrix/errors.ts';
import { isEventId, isRoomId, isUserId, serverNameOf } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../matrix/json.ts';
import type { ServerAcls } from '../../rooms/federation-types.ts';
import type { Receipts, RemoteReceipt } from './service.ts';
import type { Receipt } from './store.ts';

/** Receipts taken from one EDU; a server that has more to say says it in several. */
const MAX_RECEIPTS = 1_000;
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
    accept: (origin, content) => {
      const found: RemoteReceipt[] = [];
      for (const [roomId, kinds] of Object.entries(content)) {
        if (!isRoomId(roomId) || !isJsonObject(kinds)) throw badJson('the receipts are not ordered by room');
        const users = kinds['m.read'];
        if (!isJsonObject(users) || !acls.isAllowed(origin, roomId)) continue;
        for (const [userId, value] of Object.entries(users)) {
          if (found.length >= MAX_RECEIPTS) break;
          const receipt = isUserId(userId) && serverNameOf(userId) === origin ? readReceipt(value, now()) : undefined;
          if (receipt !== undefined && isUserId(userId)) found.push({ roomId, userId, ...receipt });
        }
      }
      if (found.length > 0) receipts.putRemote(found);
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
  return { eventId, threadId, ts: isTime ? ts : now };
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

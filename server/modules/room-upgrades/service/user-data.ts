import type { RoomId } from '../../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import type { UpgradeNeeds, UserDataTransfer } from './needs.ts';

const DIRECT_CHATS = 'm.direct';

/** Copies all that a user keeps with a room to the one that replaces it. */
export function userDataTransfer({
  accountData,
  transfers,
}: Pick<UpgradeNeeds, 'accountData' | 'transfers'>): UserDataTransfer {
  return (tx, userId, from, to) => {
    const direct = accountData.find(userId, undefined, DIRECT_CHATS);
    const replaced = direct === undefined ? undefined : withReplacement(direct, from, to);
    if (replaced !== undefined) accountData.set(userId, undefined, DIRECT_CHATS, replaced);
    for (const transfer of transfers) transfer(tx, userId, from, to);
  };
}

/** Direct chats with the new room wherever the old one is (spec: "Direct Messaging"); undefined if that changes nothing. */
function withReplacement(direct: JsonObject, from: RoomId, to: RoomId): JsonObject | undefined {
  const entries = Object.entries(direct);
  const isBehind = (rooms: JsonValue): rooms is readonly JsonValue[] =>
    Array.isArray(rooms) && rooms.includes(from) && !rooms.includes(to);
  if (!entries.some(([, rooms]) => isBehind(rooms))) return undefined;
  return Object.fromEntries(entries.map(([user, rooms]) => [user, isBehind(rooms) ? [...rooms, to] : rooms]));
}

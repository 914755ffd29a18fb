import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import type { RoomSyncPart, SyncContribution, SyncPart, SyncWindow } from './types.ts';

/** What all contributions gave to one room. */
export interface RoomParts {
  readonly accountData: JsonObject[];
  readonly ephemeral: JsonObject[];
  unreadNotifications: RoomSyncPart['unreadNotifications'];
  unreadThreadNotifications: Record<string, JsonValue> | undefined;
}

/** What all contributions gave to one answer. */
export interface Parts {
  readonly accountData: readonly JsonObject[];
  readonly presence: readonly JsonObject[];
  readonly toDevice: readonly JsonObject[];
  readonly deviceListsChanged: ReadonlySet<UserId>;
  readonly deviceListsLeft: ReadonlySet<UserId>;
  readonly oneTimeKeysCount: Readonly<Record<string, number>>;
  readonly unusedFallbackKeyTypes: readonly string[];
  readonly rooms: ReadonlyMap<RoomId, RoomParts>;
}

/** Asks every contribution for its part and joins them. `pause` is awaited between two, so that others get their turn. */
export async function collectParts(
  contributions: readonly SyncContribution[],
  window: SyncWindow,
  pause: () => Promise<void> | undefined,
): Promise<Parts> {
  const accountData: JsonObject[] = [];
  const presence: JsonObject[] = [];
  const toDevice: JsonObject[] = [];
  const changed = new Set<UserId>();
  const left = new Set<UserId>();
  const oneTimeKeysCount: Record<string, number> = {};
  const fallback = new Set<string>();
  const rooms = new Map<RoomId, RoomParts>();
  for (const contribution of contributions) {
    const part: SyncPart = contribution.contribute(window);
    accountData.push(...(part.accountData ?? []));
    presence.push(...(part.presence ?? []));
    toDevice.push(...(part.toDevice ?? []));
    for (const user of part.deviceLists?.changed ?? []) changed.add(user);
    for (const user of part.deviceLists?.left ?? []) left.add(user);
    Object.assign(oneTimeKeysCount, part.oneTimeKeysCount);
    for (const type of part.unusedFallbackKeyTypes ?? []) fallback.add(type);
    for (const [roomId, roomPart] of part.rooms ?? []) addRoomPart(rooms, roomId, roomPart);
    const paused = pause();
    if (paused !== undefined) await paused;
  }
  // Whoever both changed and went is still somebody whose devices the client has to look up.
  for (const user of changed) left.delete(user);
  return {
    accountData,
    presence,
    toDevice,
    deviceListsChanged: changed,
    deviceListsLeft: left,
    oneTimeKeysCount,
    unusedFallbackKeyTypes: [...fallback],
    rooms,
  };
}

function addRoomPart(rooms: Map<RoomId, RoomParts>, roomId: RoomId, part: RoomSyncPart): void {
  let room = rooms.get(roomId);
  if (room === undefined) {
    room = { accountData: [], ephemeral: [], unreadNotifications: undefined, unreadThreadNotifications: undefined };
    rooms.set(roomId, room);
  }
  room.accountData.push(...(part.accountData ?? []));
  room.ephemeral.push(...(part.ephemeral ?? []));
  room.unreadNotifications = part.unreadNotifications ?? room.unreadNotifications;
  if (part.unreadThreadNotifications !== undefined) {
    room.unreadThreadNotifications = { ...room.unreadThreadNotifications, ...part.unreadThreadNotifications };
  }
}

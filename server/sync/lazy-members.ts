import { LRUCache } from 'lru-cache';
import type { DeviceId, EventId, RoomId, UserId } from '../matrix/identifiers.ts';
import type { StreamPosition } from '../storage/types.ts';
import { atMost } from '../util/lru.ts';

/** Rooms of devices whose members are remembered, and members of each. What is forgotten is merely sent again. */
const REMEMBERED_ROOMS = 5_000;
const REMEMBERED_MEMBERS = 500;

interface Sent {
  readonly eventId: EventId;
  /** The end of the window they were sent in. */
  readonly at: StreamPosition;
}

/** Who is sent members: a device, or one of several connections of it that know nothing of each other. */
export interface MembersHolder {
  readonly userId: UserId;
  readonly deviceId: DeviceId | undefined;
  readonly connection?: number;
}

/**
 * Which members each device has been sent, room by room (spec: client-server API, "Lazy-loading room members"). One
 * counts as known once the device has come back with a token of the answer that held it, or of a later one: an answer
 * that never arrived teaches nothing.
 */
export class LazyMembers {
  readonly #rooms = new LRUCache<string, LRUCache<UserId, Sent>>(atMost(REMEMBERED_ROOMS));

  /** Whether the device, which has synced up to `since`, holds the event as the user's membership. */
  isKnown(device: MembersHolder, roomId: RoomId, member: UserId, eventId: EventId, since: StreamPosition): boolean {
    const sent = this.#rooms.get(keyOf(device, roomId))?.get(member);
    return sent !== undefined && sent.eventId === eventId && sent.at <= since;
  }

  /** The members go out in an answer whose window ends at `at`. */
  remember(device: MembersHolder, roomId: RoomId, members: ReadonlyMap<UserId, EventId>, at: StreamPosition): void {
    if (members.size === 0) return;
    const key = keyOf(device, roomId);
    let room = this.#rooms.get(key);
    if (room === undefined) {
      room = new LRUCache<UserId, Sent>(atMost(REMEMBERED_MEMBERS));
      this.#rooms.set(key, room);
    }
    for (const [member, eventId] of members) room.set(member, { eventId, at });
  }
}

function keyOf(device: MembersHolder, roomId: RoomId): string {
  // Neither user nor room IDs hold NUL.
  return `${device.userId}\0${roomId}\0${device.deviceId ?? ''}\0${device.connection ?? ''}`;
}

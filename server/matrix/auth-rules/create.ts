import type { RoomEvent } from '../events/event.ts';
import { isUserId, serverNameOf } from '../identifiers.ts';
import { findRoomVersion } from '../room-versions.ts';
import { allowed, rejected, type Verdict } from './auth-state.ts';

/** Auth rule 1, m.room.create: it needs no state, for it is the start of all state. */
export function checkCreate(event: RoomEvent): Verdict {
  const { version, content } = event;
  // 1.1: it has prev_events.
  if (event.prevEvents.length > 0) return rejected('an m.room.create event cannot follow other events');
  // 1.2: from version 12 on the room ID is this event's hash, so the event cannot hold it.
  if (version.roomIdIsCreateHash) {
    if (Object.hasOwn(event.pdu, 'room_id')) return rejected('an m.room.create event has no room_id in this version');
  } else {
    const colon = event.roomId.indexOf(':');
    if (colon === -1 || event.roomId.slice(colon + 1) !== serverNameOf(event.sender)) {
      return rejected('the room ID names another server than its creator');
    }
  }
  // 1.3: room_version is present and not recognised.
  if (Object.hasOwn(content, 'room_version')) {
    const named = content['room_version'];
    if (typeof named !== 'string' || findRoomVersion(named) === undefined)
      return rejected('the room version is not known');
  }
  // 1.4 up to version 10: creator is missing.
  if (!version.creatorIsSender && !Object.hasOwn(content, 'creator')) return rejected('content.creator is missing');
  // 1.4 from version 12 on: additional_creators is anything but a list of user IDs.
  if (version.privilegedCreators && Object.hasOwn(content, 'additional_creators')) {
    const additional = content['additional_creators'];
    if (!Array.isArray(additional) || !additional.every((user) => typeof user === 'string' && isUserId(user))) {
      return rejected('additional_creators is not a list of user IDs');
    }
  }
  // 1.5 (1.4 in version 11).
  return allowed;
}

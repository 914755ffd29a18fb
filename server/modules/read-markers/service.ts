import { forbidden, notFound } from '../../matrix/errors.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { EventReader, MembershipReader, Visibility } from '../../rooms/types.ts';
import type { Database } from '../../storage/types.ts';
import type { ReadMarkerStore } from './store.ts';

export interface ReadMarkerNeeds {
  readonly db: Database;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly rooms: Pick<MembershipReader, 'isJoined'>;
  readonly visibility: Pick<Visibility, 'canSee'>;
}

export interface ReadMarkers {
  /**
   * Moves a user's marker to an event; it never goes back.
   * @throws MatrixError M_FORBIDDEN (not in the room), M_NOT_FOUND (no such event there)
   */
  set(roomId: RoomId, userId: UserId, eventId: EventId): void;
  /** The event a user's marker is on. */
  find(roomId: RoomId, userId: UserId): EventId | undefined;
}

export function readMarkerService(needs: ReadMarkerNeeds & { store: ReadMarkerStore }): ReadMarkers {
  const { db, events, rooms, visibility, store } = needs;
  return {
    find: (roomId, userId) => store.find(userId, roomId)?.eventId,
    set: (roomId, userId, eventId) => {
      if (!rooms.isJoined(roomId, userId)) throw forbidden('You are not in this room');
      const event = events.findEvent(eventId);
      if (event === undefined || event.roomId !== roomId || !visibility.canSee(userId, event)) {
        throw notFound('There is no such event in this room');
      }
      const old = store.find(userId, roomId);
      const moves =
        old === undefined ||
        old.eventDepth < event.depth ||
        (old.eventDepth === event.depth && old.eventPosition < event.position);
      if (!moves) return;
      db.write((tx) =>
        store.put(tx, userId, { roomId, eventId, eventDepth: event.depth, eventPosition: event.position }),
      );
    },
  };
}

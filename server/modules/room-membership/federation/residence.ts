import { forbidden, MatrixError, notFound } from '../../../matrix/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';
import type { FederationParts } from './needs.ts';

/** Whether this server can help another into or out of a room, or tell it about one. */
export interface Residence {
  /** Whether one of our users is joined to the room: only then do we know how it stands. */
  isHere(roomId: RoomId): boolean;
  /** @throws MatrixError M_NOT_FOUND for a room we are not in, M_FORBIDDEN for a server that its ACL shuts out */
  require(origin: ServerName, roomId: RoomId): { readonly version: RoomVersion };
  /** Spec: "Server Access Control Lists (ACLs)". @throws MatrixError M_FORBIDDEN */
  requireAllowed(origin: ServerName, roomId: RoomId): void;
}

export function createResidence({ needs, federation }: Pick<FederationParts, 'needs' | 'federation'>): Residence {
  const isHere = (roomId: RoomId): boolean => needs.members.listLocalJoined(roomId).length > 0;
  const requireAllowed = (origin: ServerName, roomId: RoomId): void => {
    if (!federation.acls.isAllowed(origin, roomId)) throw forbidden('This room is closed to your server');
  };
  return {
    isHere,
    requireAllowed,
    require: (origin, roomId) => {
      const room = needs.events.findRoom(roomId);
      if (room === undefined || !isHere(roomId)) throw notFound('This server is not in the room');
      requireAllowed(origin, roomId);
      return { version: room.version };
    },
  };
}

/** A server speaks for its own users only. @throws MatrixError M_FORBIDDEN */
export function requireOwnUser(origin: ServerName, userId: UserId): void {
  if (serverNameOf(userId) !== origin) throw forbidden('A server may only act for its own users');
}

/** @throws MatrixError M_INCOMPATIBLE_ROOM_VERSION with the version the room has */
export function requireVersion(known: readonly string[], { id }: RoomVersion): void {
  if (!known.includes(id)) throw incompatibleVersion(id);
}

export function incompatibleVersion(versionId: string): MatrixError {
  return new MatrixError('M_INCOMPATIBLE_ROOM_VERSION', `The room is of version ${versionId}`, {
    fields: { room_version: versionId },
  });
}

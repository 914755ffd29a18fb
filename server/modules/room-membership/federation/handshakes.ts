import { forbidden, limitExceeded } from '../../../matrix/errors.ts';
import type { RoomId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { FederationParts } from './needs.ts';
import { type Residence, requireOwnUser, requireVersion } from './residence.ts';

/** What a server gets to complete and hand in. */
export type Template = { readonly room_version: string; readonly event: JsonObject };

/**
 * The first half of the handshakes by which other servers' users join, knock and leave (spec: server-server API, "Joining
 * Rooms", "Knocking upon a room", "Leaving Rooms"): the event they could send now. Each throws MatrixError: M_FORBIDDEN,
 * M_NOT_FOUND for a room we are not in.
 */
export interface Handshakes {
  /** @throws also M_INCOMPATIBLE_ROOM_VERSION, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN, M_LIMIT_EXCEEDED */
  makeJoin(origin: ServerName, roomId: RoomId, userId: UserId, versions: readonly string[]): Template;
  /** @throws also M_INCOMPATIBLE_ROOM_VERSION */
  makeKnock(origin: ServerName, roomId: RoomId, userId: UserId, versions: readonly string[]): Template;
  makeLeave(origin: ServerName, roomId: RoomId, userId: UserId): Template;
  /**
   * Who of ours vouches for a join, where the room lets in members of others (spec: "Restricted rooms"); undefined where
   * nobody has to.
   */
  findAuthoriser(roomId: RoomId, userId: UserId): UserId | undefined;
}

export function createHandshakes({ needs, federation, membership }: FederationParts, residence: Residence): Handshakes {
  const { members, limits } = needs;

  function template(roomId: RoomId, userId: UserId, content: JsonObject): Template {
    const { version, event } = federation.templates.build({
      roomId,
      type: 'm.room.member',
      sender: userId,
      stateKey: userId,
      content,
    });
    return { room_version: version.id, event };
  }

  function findAuthoriser(roomId: RoomId, userId: UserId): UserId | undefined {
    const place = members.findMember(roomId, userId)?.membership;
    if (place === 'join' || place === 'invite') return undefined;
    // Whoever is banned stays out, no matter what could be found out about them.
    if (place === 'ban') throw forbidden('The user is banned from the room');
    return membership.authoriseJoin(roomId, userId);
  }

  return {
    findAuthoriser,

    makeJoin: (origin, roomId, userId, versions) => {
      requireOwnUser(origin, userId);
      const { version } = residence.require(origin, roomId);
      requireVersion(versions, version);
      const wait = limits.joinsPerRoom.peek(roomId);
      if (wait > 0) throw limitExceeded(wait);
      const authoriser = findAuthoriser(roomId, userId);
      return template(roomId, userId, {
        membership: 'join',
        ...(authoriser === undefined ? {} : { join_authorised_via_users_server: authoriser }),
      });
    },

    makeKnock: (origin, roomId, userId, versions) => {
      requireOwnUser(origin, userId);
      const { version } = residence.require(origin, roomId);
      requireVersion(versions, version);
      if (!version.knocking) throw forbidden(`Rooms of version ${version.id} cannot be knocked on`);
      return template(roomId, userId, { membership: 'knock' });
    },

    makeLeave: (origin, roomId, userId) => {
      requireOwnUser(origin, userId);
      residence.require(origin, roomId);
      return template(roomId, userId, { membership: 'leave' });
    },
  };
}

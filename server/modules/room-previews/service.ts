import { type MatrixError, notFound } from '../../matrix/errors.ts';
import {
  isRoomAlias,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import { findRoomVersion } from '../../matrix/room-versions.ts';
import type { MembershipReader } from '../../rooms/types.ts';

/** What a room shows of itself from outside. */
export interface RoomSummary {
  readonly name?: string | undefined;
  readonly topic?: string | undefined;
  readonly avatarUrl?: string | undefined;
  readonly canonicalAlias?: string | undefined;
  readonly joinedMembers: number;
  readonly worldReadable: boolean;
  readonly guestCanJoin: boolean;
  /** `invite` where the room has no rule. */
  readonly joinRule: string;
  readonly roomType?: string | undefined;
  /** The algorithm messages are encrypted with. */
  readonly encryption?: string | undefined;
  readonly roomVersion: string;
  /** Whether users of other servers may ever join. */
  readonly federates: boolean;
}

/** A room this server is not in, as another server describes it. */
export interface OutsideRoom {
  /** For clients, checked. */
  readonly summary: JsonObject;
  readonly joinRule: string;
  readonly worldReadable: boolean;
  readonly roomVersion: string | undefined;
  /** The rooms whose members may join it. */
  readonly allowedRooms: readonly RoomId[];
}

export interface PreviewNeeds {
  readonly members: Pick<MembershipReader, 'findMember' | 'isJoined' | 'listLocalJoined' | 'listMembers'>;
  /** Of a room this server has the state of. */
  readonly summaries: { find(roomId: RoomId): RoomSummary | undefined };
  readonly aliases: {
    find(alias: RoomAlias): Promise<{ readonly roomId: RoomId; readonly servers: readonly ServerName[] } | undefined>;
  };
  /** The rooms whose members may join this one uninvited; undefined where no such rule is in force. */
  readonly listAllowedRooms: (roomId: RoomId) => readonly RoomId[] | undefined;
  /** Whether a server has somebody in the room. */
  readonly isInRoom: (server: ServerName, roomId: RoomId) => boolean;
  /** Whether the room's own rules let a server take part (spec: "Server Access Control Lists"). */
  readonly isAllowed: (server: ServerName, roomId: RoomId) => boolean;
  /** A room as one of a few servers describes it, within seconds; undefined if none does. */
  readonly findElsewhere: (roomId: RoomId, via: readonly ServerName[]) => Promise<OutsideRoom | undefined>;
}

/** How a summary is asked for. */
export interface SummaryRequest {
  /** Servers to ask where this one is not in the room. */
  readonly via: readonly ServerName[];
  /** Called before others are asked; what it throws refuses that. */
  readonly beforeAsking: () => void;
}

/** Rooms as those see them who have not joined (yet). */
export interface RoomPreviews {
  /**
   * The summary of a room (spec: `GET /room_summary/{roomIdOrAlias}`) as the user, or somebody not logged in, may have it.
   * @throws MatrixError M_NOT_FOUND where there is no such room, or it does not show itself to them
   */
  summarise(userId: UserId | undefined, room: RoomId | RoomAlias, request: SummaryRequest): Promise<JsonObject>;
  /** The summary of a room whose present state this server knows; whom it is shown to, the following tell. */
  describe(roomId: RoomId): JsonObject | undefined;
  /** Whether the room shows itself to this user, or to somebody not logged in. */
  isShownTo(userId: UserId | undefined, roomId: RoomId): boolean;
  /** Whether the room shows itself to another server: one of its users could read or join it. */
  isShownToServer(server: ServerName, roomId: RoomId): boolean;
  /** Whether a room that this server is not in shows itself to this user, or to somebody not logged in. */
  isShownElsewhere(userId: UserId | undefined, room: OutsideRoom & { readonly roomId: RoomId }): boolean;
}

export function createPreviews(needs: PreviewNeeds): RoomPreviews {
  const { members, summaries, aliases, listAllowedRooms, isInRoom, isAllowed, findElsewhere } = needs;

  /** Whether what we know of the room is how it is: somebody of ours is in it, or nobody who could have changed it. */
  function findCurrent(roomId: RoomId): RoomSummary | undefined {
    const summary = summaries.find(roomId);
    const isUpToDate = summary?.joinedMembers === 0 || members.listLocalJoined(roomId).length > 0;
    return isUpToDate ? summary : undefined;
  }

  /** Whether the user is in the room, was asked in, or is in one whose members may come in. */
  function isNear(userId: UserId, roomId: RoomId, allowed: readonly RoomId[]): boolean {
    const membership = members.findMember(roomId, userId)?.membership;
    if (membership === 'join' || membership === 'invite') return true;
    return allowed.some((other) => members.isJoined(other, userId));
  }

  function isShown(userId: UserId | undefined, roomId: RoomId, summary: RoomSummary): boolean {
    if (summary.worldReadable || isOpen(summary)) return true;
    return userId !== undefined && isNear(userId, roomId, listAllowedRooms(roomId) ?? []);
  }

  function isShownElsewhere(userId: UserId | undefined, room: OutsideRoom & { readonly roomId: RoomId }): boolean {
    if (room.worldReadable || isOpen(room)) return true;
    return userId !== undefined && isNear(userId, room.roomId, allowsMembers(room) ? room.allowedRooms : []);
  }

  function describe(roomId: RoomId): JsonObject | undefined {
    const summary = findCurrent(roomId);
    if (summary === undefined) return undefined;
    const allowed = listAllowedRooms(roomId) ?? [];
    return { ...toJson(roomId, summary), ...(allowed.length === 0 ? {} : { allowed_room_ids: allowed }) };
  }

  /** The summary as other servers give it, if the user may have that. */
  async function describeElsewhere(
    userId: UserId | undefined,
    roomId: RoomId,
    { via, beforeAsking }: SummaryRequest,
  ): Promise<JsonObject | undefined> {
    const member = userId === undefined ? undefined : members.findMember(roomId, userId);
    const servers = member?.membership === 'invite' ? [serverNameOf(member.sender), ...via] : via;
    if (servers.length === 0) return undefined;
    beforeAsking();
    const room = await findElsewhere(roomId, servers);
    if (room === undefined || !isShownElsewhere(userId, { ...room, roomId })) return undefined;
    return room.summary;
  }

  return {
    describe,
    isShownTo: (userId, roomId) => {
      const summary = findCurrent(roomId);
      return summary !== undefined && isShown(userId, roomId, summary);
    },
    isShownToServer: (server, roomId) => {
      const summary = findCurrent(roomId);
      if (summary === undefined || !isAllowed(server, roomId)) return false;
      if (isInRoom(server, roomId)) return true;
      // Nobody can come in from there, and to read a room from outside takes a server that is in it.
      if (!summary.federates) return false;
      if (summary.worldReadable || isOpen(summary)) return true;
      if ((listAllowedRooms(roomId) ?? []).some((other) => isInRoom(server, other))) return true;
      return members.listMembers(roomId, 'invite').some(({ userId }) => serverNameOf(userId) === server);
    },
    isShownElsewhere,
    summarise: async (userId, room, { via, beforeAsking }) => {
      const target = isRoomAlias(room) ? await aliases.find(room) : { roomId: room, servers: [] };
      if (target === undefined) throw nothingToShow();
      const { roomId, servers } = target;
      const known = findCurrent(roomId);
      const summary =
        known === undefined
          ? await describeElsewhere(userId, roomId, { via: [...via, ...servers], beforeAsking })
          : isShown(userId, roomId, known)
            ? describe(roomId)
            : undefined;
      if (summary === undefined) throw nothingToShow();
      if (userId === undefined) return summary;
      return { ...summary, membership: members.findMember(roomId, userId)?.membership ?? 'leave' };
    },
  };
}

const nothingToShow = (): MatrixError => notFound('There is no such room, or it may not be shown to you');

/** The rules of a room, as far as they tell who may come in. */
type Entrance = Pick<OutsideRoom, 'joinRule' | 'roomVersion'>;

/** Whether anybody may join the room or ask to. A version that is not told is one that knows its own rules. */
function isOpen({ joinRule, roomVersion }: Entrance): boolean {
  if (joinRule === 'public') return true;
  const version = roomVersion === undefined ? undefined : findRoomVersion(roomVersion);
  const knows = (rule: 'knocking' | 'knockRestrictedJoins'): boolean =>
    roomVersion === undefined || version?.[rule] === true;
  return (
    (joinRule === 'knock' && knows('knocking')) || (joinRule === 'knock_restricted' && knows('knockRestrictedJoins'))
  );
}

/** Whether members of some other rooms may come in. */
function allowsMembers({ joinRule, roomVersion }: Entrance): boolean {
  if (joinRule === 'knock_restricted') return isOpen({ joinRule, roomVersion });
  return (
    joinRule === 'restricted' && (roomVersion === undefined || findRoomVersion(roomVersion)?.restrictedJoins === true)
  );
}

function toJson(roomId: RoomId, summary: RoomSummary): JsonObject {
  const { name, topic, avatarUrl, canonicalAlias, roomType, encryption } = summary;
  return {
    room_id: roomId,
    num_joined_members: summary.joinedMembers,
    world_readable: summary.worldReadable,
    guest_can_join: summary.guestCanJoin,
    join_rule: summary.joinRule,
    room_version: summary.roomVersion,
    ...(name === undefined ? {} : { name }),
    ...(topic === undefined ? {} : { topic }),
    ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
    ...(canonicalAlias === undefined ? {} : { canonical_alias: canonicalAlias }),
    ...(roomType === undefined ? {} : { room_type: roomType }),
    ...(encryption === undefined ? {} : { encryption }),
  };
}

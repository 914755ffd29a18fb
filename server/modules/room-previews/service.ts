import { notFound } from '../../matrix/errors.ts';
import { isRoomAlias, type RoomAlias, type RoomId, type UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import { roomVersions } from '../../matrix/room-versions.ts';
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
}

export interface PreviewNeeds {
  readonly members: Pick<MembershipReader, 'findMember' | 'isJoined' | 'listLocalJoined'>;
  /** Of a room this server has the state of. */
  readonly summaries: { find(roomId: RoomId): RoomSummary | undefined };
  readonly aliases: {
    find(alias: RoomAlias): Promise<{ readonly roomId: RoomId } | undefined> | { readonly roomId: RoomId } | undefined;
  };
  /** The rooms whose members may join this one uninvited; undefined where no such rule is in force. */
  readonly listAllowedRooms: (roomId: RoomId) => readonly RoomId[] | undefined;
}

/** Rooms as those see them who have not joined (yet). */
export interface RoomPreviews {
  /**
   * The summary of a room (spec: `GET /room_summary/{roomIdOrAlias}`) as the user, or somebody not logged in, may have it.
   * @throws MatrixError M_NOT_FOUND where there is no such room, or it does not show itself to them
   */
  summarise(userId: UserId | undefined, room: RoomId | RoomAlias): Promise<JsonObject>;
  /** Whether the room shows itself to this user, or to somebody not logged in. */
  isShownTo(userId: UserId | undefined, roomId: RoomId): boolean;
}

export function createPreviews({ members, summaries, aliases, listAllowedRooms }: PreviewNeeds): RoomPreviews {
  /** Whether what we know of the room is how it is: somebody of ours is in it, or nobody who could have changed it. */
  function findCurrent(roomId: RoomId): RoomSummary | undefined {
    const summary = summaries.find(roomId);
    const isUpToDate = summary?.joinedMembers === 0 || members.listLocalJoined(roomId).length > 0;
    return isUpToDate ? summary : undefined;
  }

  function isShown(userId: UserId | undefined, roomId: RoomId, summary: RoomSummary): boolean {
    if (summary.worldReadable || isOpen(summary)) return true;
    if (userId === undefined) return false;
    const membership = members.findMember(roomId, userId)?.membership;
    if (membership === 'join' || membership === 'invite') return true;
    return (listAllowedRooms(roomId) ?? []).some((allowed) => members.isJoined(allowed, userId));
  }

  return {
    isShownTo: (userId, roomId) => {
      const summary = findCurrent(roomId);
      return summary !== undefined && isShown(userId, roomId, summary);
    },
    summarise: async (userId, room) => {
      const roomId = isRoomAlias(room) ? (await aliases.find(room))?.roomId : room;
      const summary = roomId === undefined ? undefined : findCurrent(roomId);
      if (roomId === undefined || summary === undefined || !isShown(userId, roomId, summary)) {
        throw notFound('There is no such room, or it may not be shown to you');
      }
      const membership = userId === undefined ? undefined : (members.findMember(roomId, userId)?.membership ?? 'leave');
      const allowed = listAllowedRooms(roomId) ?? [];
      return {
        ...toJson(roomId, summary),
        ...(allowed.length === 0 ? {} : { allowed_room_ids: allowed }),
        ...(membership === undefined ? {} : { membership }),
      };
    },
  };
}

/** Whether anybody may join the room or ask to. */
function isOpen({ joinRule, roomVersion }: RoomSummary): boolean {
  const version = roomVersions.get(roomVersion);
  return (
    joinRule === 'public' ||
    (joinRule === 'knock' && version?.knocking === true) ||
    (joinRule === 'knock_restricted' && version?.knockRestrictedJoins === true)
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

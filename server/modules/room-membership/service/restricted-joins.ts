import { forbidden, MatrixError } from '../../../matrix/errors.ts';
import {
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../../matrix/json.ts';
import { creatorsOf, type PowerLevels, readPowerLevels } from '../../../matrix/power-levels.ts';
import type { MembershipNeeds } from './needs.ts';

/** Rooms that let members of other rooms in (spec: "Restricted rooms"). */
export interface RestrictedJoins {
  /**
   * The rooms whose members may join this one without an invite; undefined where its join rule is another, or its
   * version does not know the rule.
   */
  listAllowedRooms(roomId: RoomId): readonly RoomId[] | undefined;
  /**
   * Checks that the user, neither invited nor a member, meets a condition of a restricted room.
   * @throws MatrixError M_FORBIDDEN if they do not; M_UNABLE_TO_AUTHORISE_JOIN if this server cannot tell
   */
  checkConditions(userId: UserId, allowed: readonly RoomId[]): void;
  /** A local member who has the power to invite, to vouch for a join. */
  findAuthoriser(roomId: RoomId): UserId | undefined;
  /** Other servers that have such a member. */
  listAuthorisingServers(roomId: RoomId): readonly ServerName[];
}

/** @throws MatrixError M_UNABLE_TO_GRANT_JOIN: the conditions are met, but nobody here can vouch for it */
export function unableToGrantJoin(): MatrixError {
  return new MatrixError('M_UNABLE_TO_GRANT_JOIN', 'No member of the room on this server may invite users');
}

export function createRestrictedJoins({
  settings: { serverName },
  events,
  state,
  members,
}: Pick<MembershipNeeds, 'settings' | 'events' | 'state' | 'members'>): RestrictedJoins {
  function levelsOf(roomId: RoomId): PowerLevels {
    return readPowerLevels(
      state.findCurrent(roomId, 'm.room.create', ''),
      state.findCurrent(roomId, 'm.room.power_levels', ''),
    );
  }

  return {
    listAllowedRooms: (roomId) => {
      const version = events.findRoom(roomId)?.version;
      const rules = state.findCurrent(roomId, 'm.room.join_rules', '')?.content;
      const rule = rules?.['join_rule'];
      const isRestricted =
        (rule === 'restricted' && version?.restrictedJoins === true) ||
        (rule === 'knock_restricted' && version?.knockRestrictedJoins === true);
      if (!isRestricted) return undefined;
      const allow = rules?.['allow'];
      return Array.isArray(allow) ? allow.flatMap(roomOfCondition) : [];
    },

    checkConditions: (userId, allowed) => {
      if (allowed.some((roomId) => members.isJoined(roomId, userId))) return;
      // Of our own users we know every room they are in; of others only the rooms we are in too.
      const isOurs = serverNameOf(userId) === serverName;
      if (!isOurs && allowed.some((roomId) => members.listLocalJoined(roomId).length === 0)) {
        throw new MatrixError('M_UNABLE_TO_AUTHORISE_JOIN', 'This server is not in all rooms whose members may join');
      }
      throw forbidden('You are in none of the rooms whose members may join this one');
    },

    findAuthoriser: (roomId) => {
      const levels = levelsOf(roomId);
      const needed = levels.requiredFor('invite');
      return members.listLocalJoined(roomId).find((userId) => levels.powerLevelOf(userId) >= needed);
    },

    listAuthorisingServers: (roomId) => {
      const levels = levelsOf(roomId);
      const needed = levels.requiredFor('invite');
      const others = (servers: readonly ServerName[]): ServerName[] =>
        [...new Set(servers)].filter((server) => server !== serverName);
      // A user without a name has the level of all who are not listed.
      if (levels.powerLevelOf('') >= needed) return others(members.listServers(roomId));
      const create = state.findCurrent(roomId, 'm.room.create', '');
      const listed = state.findCurrent(roomId, 'm.room.power_levels', '')?.content['users'];
      const users = [
        ...(create === undefined ? [] : creatorsOf(create)),
        ...(isJsonObject(listed) ? Object.keys(listed).filter(isUserId) : []),
      ];
      return others(
        users
          .filter((userId) => levels.powerLevelOf(userId) >= needed && members.isJoined(roomId, userId))
          .map(serverNameOf),
      );
    },
  };
}

/** Conditions of a kind we do not know can never be met. */
function roomOfCondition(condition: JsonValue): RoomId[] {
  if (!isJsonObject(condition) || condition['type'] !== 'm.room_membership') return [];
  const roomId = condition['room_id'];
  return typeof roomId === 'string' && isRoomId(roomId) ? [roomId] : [];
}

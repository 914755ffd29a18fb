import type { RoomEvent } from './events/event.ts';
import { isUserId, type UserId } from './identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from './json.ts';
import type { RoomVersion } from './room-versions.ts';

/** What a user may need a level for besides sending events. */
export type PowerAction = 'ban' | 'kick' | 'invite' | 'redact';

/** The power levels of a room at some point, defaults filled in (client-server API, m.room.power_levels). */
export interface PowerLevels {
  /** A user's level; `Infinity` for a creator in room version 12 on. */
  powerLevelOf(user: string): number;
  /** The level needed to send an event of this type; membership and third-party invites have rules of their own. */
  requiredLevel(type: string, isState: boolean): number;
  requiredFor(action: PowerAction): number;
  /** The level needed to notify under this key of `notifications`, such as `room` for @room. */
  requiredToNotify(key: string): number;
}

const STATE_DEFAULT = 50;
const EVENTS_DEFAULT = 0;
const NOTIFICATION_DEFAULT = 50;
const ACTION_DEFAULTS: Readonly<Record<PowerAction, number>> = { ban: 50, kick: 50, invite: 0, redact: 50 };
/** What the creator has while a room has no m.room.power_levels (room versions 1 to 11). */
const LONE_CREATOR_LEVEL = 100;

// Room version 1, "power levels as strings": sign, leading zeroes and surrounding whitespace are fine, a point is not.
const STRINGY_LEVEL = /^\s*[+-]?[0-9]+\s*$/;

/**
 * One level as the room version writes it: an integer from version 10 on, before that also a float (truncated) or a
 * string. Undefined when it is absent or no level.
 */
export function readLevel(value: JsonValue | undefined, version: RoomVersion): number | undefined {
  if (typeof value === 'number') {
    if (version.integerPowerLevels) return Number.isSafeInteger(value) ? value : undefined;
    return Number.isFinite(value) ? Math.trunc(value) : undefined;
  }
  if (typeof value !== 'string' || version.integerPowerLevels || !STRINGY_LEVEL.test(value)) return undefined;
  const level = Number(value);
  return Number.isFinite(level) ? level : undefined;
}

/**
 * The room's creators, the create event's sender first: `content.creator` up to version 10, the sender in 11, and from
 * 12 on the sender and `content.additional_creators`.
 */
export function creatorsOf(create: RoomEvent): readonly UserId[] {
  const { version, content, sender } = create;
  if (!version.creatorIsSender) {
    return typeof content['creator'] === 'string' && isUserId(content['creator']) ? [content['creator']] : [];
  }
  if (!version.privilegedCreators || !Array.isArray(content['additional_creators'])) return [sender];
  const additional = content['additional_creators'].filter(
    (user: JsonValue): user is UserId => typeof user === 'string' && isUserId(user),
  );
  return [...new Set([sender, ...additional])];
}

// Keys come from other servers: an event type may well be called "constructor".
function entryOf(map: JsonValue | undefined, key: string): JsonValue | undefined {
  return isJsonObject(map) && Object.hasOwn(map, key) ? map[key] : undefined;
}

/**
 * The power levels that follow from the room's create event and its m.room.power_levels, either of which may be
 * missing. Nothing is copied: each answer is read from the event's content when asked for.
 */
export function readPowerLevels(create: RoomEvent | undefined, powerLevels: RoomEvent | undefined): PowerLevels {
  const version = powerLevels?.version ?? create?.version;
  const content: JsonObject = powerLevels?.content ?? {};
  const read = (value: JsonValue | undefined): number | undefined => version && readLevel(value, version);
  const isCreator = (user: string): boolean =>
    create !== undefined && creatorsOf(create).some((creator) => creator === user);

  return {
    powerLevelOf(user) {
      if (version?.privilegedCreators && isCreator(user)) return Number.POSITIVE_INFINITY;
      if (!powerLevels) return isCreator(user) ? LONE_CREATOR_LEVEL : 0;
      return read(entryOf(content['users'], user)) ?? read(content['users_default']) ?? 0;
    },
    requiredLevel(type, isState) {
      return (
        read(entryOf(content['events'], type)) ??
        (isState
          ? (read(content['state_default']) ?? STATE_DEFAULT)
          : (read(content['events_default']) ?? EVENTS_DEFAULT))
      );
    },
    requiredFor(action) {
      return read(content[action]) ?? ACTION_DEFAULTS[action];
    },
    requiredToNotify(key) {
      return read(entryOf(content['notifications'], key)) ?? NOTIFICATION_DEFAULT;
    },
  };
}

import type { RoomEvent } from '../../../matrix/events/event.ts';
import { isUserId, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { creatorsOf, readLevel } from '../../../matrix/power-levels.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';

const LEVELS = ['ban', 'events_default', 'invite', 'kick', 'redact', 'state_default', 'users_default'] as const;
const MAPS = ['events', 'notifications', 'users'] as const;
const TOMBSTONE = 'm.room.tombstone';
const STATE_DEFAULT = 50;
const CREATOR_LEVEL = 100;
const RESTRICTED_LEVEL = 50;
/** Spec: `POST /createRoom`, 3, for room version 12 on. */
const PRIVILEGED_TOMBSTONE_LEVEL = 150;

type Levels = Readonly<Record<string, number>>;

/** m.room.power_levels whose every level is an integer, as all room versions take it. */
export type CleanLevels = JsonObject & { readonly events: Levels; readonly users: Levels };

/** Levels as integers: what older rooms wrote otherwise is converted, and what is no level at all left out. */
export function cleanLevels(event: RoomEvent): CleanLevels {
  const { content, version } = event;
  const read = (value: JsonValue | undefined): number | undefined => {
    const level = readLevel(value, version);
    return level !== undefined && Number.isSafeInteger(level) ? level : undefined;
  };
  const readMap = (map: JsonValue | undefined): Levels => {
    const entries = Object.entries(isJsonObject(map) ? map : {});
    return Object.fromEntries(
      entries.flatMap(([key, value]): [string, number][] => {
        const level = read(value);
        return level === undefined ? [] : [[key, level]];
      }),
    );
  };
  const clean: Record<string, JsonValue> = { ...content };
  for (const key of LEVELS) {
    const level = read(content[key]);
    if (level === undefined) delete clean[key];
    else clean[key] = level;
  }
  for (const key of MAPS) {
    if (content[key] !== undefined) clean[key] = readMap(content[key]);
  }
  const users = Object.entries(readMap(content['users'])).filter(([user]) => isUserId(user));
  return { ...clean, events: readMap(content['events']), users: Object.fromEntries(users) };
}

/** The level under a key of the content, or what holds where there is none. */
function levelIn(levels: JsonObject, key: string, fallback: number): number {
  const level = levels[key];
  return typeof level === 'number' ? level : fallback;
}

/** The levels of the room that replaces another. */
export interface ReplacementLevels {
  /** What holds at first: enough for the user to set everything up. */
  readonly first: JsonObject;
  /** What holds in the end, if that is something else. */
  readonly final: JsonObject | undefined;
}

/**
 * Turns a room's levels into those of its replacement.
 *
 * Creators of room version 12 on are not listed there; where the old room's creators were of that kind and the new one
 * has none, they are listed as high as anybody. `bannedUsers` are to be banned by `user`, who must outrank them for it.
 */
export function replacementLevels({
  old,
  oldCreate,
  version,
  user,
  creators,
  bannedUsers,
}: {
  readonly old: RoomEvent;
  readonly oldCreate: RoomEvent;
  readonly version: RoomVersion;
  readonly user: UserId;
  /** Of the new room, `user` first. */
  readonly creators: readonly UserId[];
  readonly bannedUsers: readonly string[];
}): ReplacementLevels {
  const clean = cleanLevels(old);
  if (version.privilegedCreators) {
    const users = Object.entries(clean.users).filter(([listed]) => !creators.some((creator) => creator === listed));
    const stateDefault = levelIn(clean, 'state_default', STATE_DEFAULT);
    const tombstone = clean.events[TOMBSTONE] ?? stateDefault;
    const events =
      tombstone > stateDefault
        ? clean.events
        : { ...clean.events, [TOMBSTONE]: Math.max(PRIVILEGED_TOMBSTONE_LEVEL, stateDefault + 1) };
    return { first: { ...clean, events, users: Object.fromEntries(users) }, final: undefined };
  }

  const wanted = oldCreate.version.privilegedCreators ? withCreatorsListed(clean, creatorsOf(oldCreate)) : clean;
  const usersDefault = levelIn(wanted, 'users_default', 0);
  const levelOf = (someone: string): number => wanted.users[someone] ?? usersDefault;
  const needed = Math.max(
    levelIn(wanted, 'state_default', STATE_DEFAULT),
    ...Object.values(wanted.events),
    ...(bannedUsers.length === 0 ? [] : [levelIn(wanted, 'ban', 50)]),
    ...bannedUsers.map((banned) => levelOf(banned) + 1),
  );
  if (levelOf(user) >= needed) return { first: wanted, final: undefined };
  return { first: { ...wanted, users: { ...wanted.users, [user]: needed } }, final: wanted };
}

function withCreatorsListed(levels: CleanLevels, creators: readonly UserId[]): CleanLevels {
  const highest = Math.max(CREATOR_LEVEL, ...Object.values(levels.users), ...Object.values(levels.events));
  return { ...levels, users: { ...levels.users, ...Object.fromEntries(creators.map((user) => [user, highest])) } };
}

/**
 * The levels that keep most members of a replaced room from speaking and inviting there (spec: "Room Upgrades", server
 * behaviour 6). Undefined if they are kept from it already.
 */
export function restrictedLevels(event: RoomEvent): JsonObject | undefined {
  const levels = cleanLevels(event);
  const needed = Math.max(RESTRICTED_LEVEL, levelIn(levels, 'users_default', 0) + 1);
  const isOpen = (key: string): boolean => levelIn(levels, key, 0) < needed;
  if (!isOpen('events_default') && !isOpen('invite')) return undefined;
  return {
    ...levels,
    ...(isOpen('events_default') ? { events_default: needed } : {}),
    ...(isOpen('invite') ? { invite: needed } : {}),
  };
}

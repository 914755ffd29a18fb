import type { RoomEvent } from '../events/event.ts';
import { isUserId } from '../identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json.ts';
import { creatorsOf, readLevel } from '../power-levels.ts';
import type { RoomVersion } from '../room-versions.ts';
import { type AuthState, allowed, powerLevelsIn, rejected, type Verdict } from './auth-state.ts';

const SINGLE_LEVELS = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'];

/**
 * Auth rule 10, m.room.power_levels, numbered as in room version 12. (It is rule 10 in versions 1 to 5 and rule 9 in 6
 * to 11; before version 10 neither 10.1 nor 10.2 exist, before version 12 there is no 10.4.)
 */
export function checkPowerLevels(event: RoomEvent, create: RoomEvent, auth: AuthState): Verdict {
  const { version, content } = event;
  // 10.1, 10.2, 10.3
  const shape = checkShape(content, version);
  if (!shape.allowed) return shape;
  // 10.4: creators have their power from the create event alone.
  if (
    version.privilegedCreators &&
    creatorsOf(create).some((user) => Object.hasOwn(entriesOf(content, 'users'), user))
  ) {
    return rejected('a creator of the room cannot be given a power level');
  }
  // 10.5
  const current = auth.find('m.room.power_levels', '');
  if (!current) return allowed;

  const power = powerLevelsIn(auth).powerLevelOf(event.sender);
  // 10.6
  for (const name of SINGLE_LEVELS) {
    const { before, after } = change(current.content, content, name, version);
    if (before === after) continue;
    if (exceeds(before, power) || exceeds(after, power))
      return rejected(`the sender lacks the power to change ${name}`);
  }
  // 10.7, 10.8
  for (const map of version.notificationPowerLevels ? ['events', 'notifications'] : ['events']) {
    const old = entriesOf(current.content, map);
    const next = entriesOf(content, map);
    for (const name of keysOfEither(old, next)) {
      const { before, after } = change(old, next, name, version);
      if (before === after) continue;
      if (exceeds(before, power) || exceeds(after, power)) {
        return rejected(`the sender lacks the power to change an entry of ${map}`);
      }
    }
  }
  const old = entriesOf(current.content, 'users');
  const next = entriesOf(content, 'users');
  for (const user of keysOfEither(old, next)) {
    const { before, after } = change(old, next, user, version);
    if (before === after) continue;
    // 10.9: equals cannot demote each other.
    if (user !== event.sender && before !== undefined && before >= power) {
      return rejected('the sender lacks the power to change the level of this user');
    }
    // 10.10
    if (exceeds(after, power)) return rejected('the sender cannot give away more power than they have');
  }
  // 10.11
  return allowed;
}

function checkShape(content: JsonObject, version: RoomVersion): Verdict {
  // 10.1
  for (const name of SINGLE_LEVELS) {
    if (isUnreadable(content[name], version)) return rejected(`${name} is not a power level`);
  }
  // 10.2
  for (const map of version.notificationPowerLevels ? ['events', 'notifications'] : ['events']) {
    const entries = content[map];
    if (entries === undefined) continue;
    if (!isJsonObject(entries) || Object.values(entries).some((level) => isUnreadable(level, version))) {
      return rejected(`${map} is not an object of power levels`);
    }
  }
  // 10.3: an event without `users` is fine, for then nobody has a level of their own.
  const users = content['users'];
  if (users === undefined) return allowed;
  if (!isJsonObject(users)) return rejected('users is not an object of power levels');
  for (const [user, level] of Object.entries(users)) {
    if (!isUserId(user)) return rejected('users names something that is no user');
    if (readLevel(level, version) === undefined) return rejected('users is not an object of power levels');
  }
  return allowed;
}

/**
 * Whether a value is present and no power level.
 * NOT-SPEC: before version 10 the rules ask this of `users` alone. An event whose other levels nobody can read is
 * rejected all the same, because the later rules compare those levels; `null` counts as absent there, as other servers
 * have it.
 */
function isUnreadable(value: JsonValue | undefined, version: RoomVersion): boolean {
  if (value === undefined || (value === null && !version.integerPowerLevels)) return false;
  return readLevel(value, version) === undefined;
}

function entriesOf(content: JsonObject, map: string): JsonObject {
  const entries = content[map];
  return isJsonObject(entries) ? entries : {};
}

function keysOfEither(one: JsonObject, other: JsonObject): ReadonlySet<string> {
  return new Set([...Object.keys(one), ...Object.keys(other)]);
}

/** A level on both sides, undefined where it is absent: what is not written down is neither current nor new. */
function change(old: JsonObject, next: JsonObject, key: string, version: RoomVersion) {
  return {
    before: Object.hasOwn(old, key) ? readLevel(old[key], version) : undefined,
    after: Object.hasOwn(next, key) ? readLevel(next[key], version) : undefined,
  };
}

function exceeds(level: number | undefined, power: number): boolean {
  return level !== undefined && level > power;
}

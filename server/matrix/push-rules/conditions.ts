import type { UserId } from '../identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json.ts';
import { compileGlob, compileLiteral, foldCase, type Glob } from './glob.ts';
import type { PushCondition } from './rules.ts';

/** An event made ready to be asked by the rules of many users (see `preparePushEvent`). */
export interface PushEvent {
  readonly sender: string;
  readonly roomId: string;
  /** `content.body` in lower case, where it is a string. */
  readonly loweredBody: string | undefined;
  /** The event as conditions see it, with the keys of the client format. */
  readonly properties: JsonObject;
}

/** What conditions ask about besides the event. All but the first two are the same for every member of the room. */
export interface PushContext {
  readonly userId: UserId;
  /** The user's display name in the room, for `contains_display_name`. */
  readonly displayName: string | undefined;
  /** Joined members. */
  readonly memberCount: number;
  /** Infinity for the creators of a room of version 12. */
  readonly senderPowerLevel: number;
  /** `notifications` of the room's power levels. */
  readonly notificationPowerLevels: Readonly<Record<string, number>>;
  /** Whether the user follows the thread the event is in; undefined outside threads, and where threads are not followed. */
  readonly threadSubscription?: boolean | undefined;
}

/** A condition made ready. */
export type Condition = (event: PushEvent, context: PushContext) => boolean;

const never: Condition = () => false;

/**
 * Makes a condition ready (spec: client-server API, "Conditions"). One of an unknown kind, or without the keys its kind
 * needs, never holds.
 */
export function compileCondition(condition: PushCondition): Condition {
  const { kind, key, pattern, value, is, subscribed } = condition;
  switch (kind) {
    case 'event_match':
      return typeof key === 'string' && typeof pattern === 'string' ? eventMatch(key, pattern) : never;
    case 'event_property_is':
      return typeof key === 'string' && isScalar(value) ? eventPropertyIs(key, value) : never;
    case 'event_property_contains':
      return typeof key === 'string' && isScalar(value) ? eventPropertyContains(key, value) : never;
    case 'contains_display_name':
      return containsDisplayName;
    case 'room_member_count':
      return typeof is === 'string' ? roomMemberCount(is) : never;
    case 'io.element.msc4306.thread_subscription':
      return typeof subscribed === 'boolean' ? threadSubscriptionIs(subscribed) : never;
    case 'sender_notification_permission':
      return typeof key === 'string' ? senderNotificationPermission(key) : never;
    default:
      return never;
  }
}

const BODY_PATH = ['content', 'body'];

/** `event_match`: the value matches as a whole, that of `content.body` in words. */
export function eventMatch(key: string, pattern: string): Condition {
  const path = parsePropertyPath(key);
  if (path.length === BODY_PATH.length && path.every((part, i) => part === BODY_PATH[i])) {
    const glob = compileGlob(pattern);
    return ({ loweredBody }) => loweredBody !== undefined && glob.matchesWords(loweredBody);
  }
  if (!/[*?]/.test(pattern)) {
    const lowered = foldCase(pattern);
    return ({ properties }) => {
      const value = findProperty(properties, path);
      // Mostly the two are equal, or plainly different, without folding.
      return typeof value === 'string' && (value === pattern || foldCase(value) === lowered);
    };
  }
  const glob = compileGlob(pattern);
  return ({ properties }) => {
    const value = findProperty(properties, path);
    return typeof value === 'string' && glob.matchesWhole(foldCase(value));
  };
}

type Scalar = string | number | boolean | null;

function isScalar(value: JsonValue | undefined): value is Scalar {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  return value === null || typeof value === 'string' || typeof value === 'boolean';
}

function eventPropertyIs(key: string, value: Scalar): Condition {
  const path = parsePropertyPath(key);
  return ({ properties }) => findProperty(properties, path) === value;
}

function eventPropertyContains(key: string, value: Scalar): Condition {
  const path = parsePropertyPath(key);
  return ({ properties }) => {
    const list = findProperty(properties, path);
    return Array.isArray(list) && list.includes(value);
  };
}

// Names come from the room, one for each of its members: kept a while, so that each is made ready once.
const nameGlobs = new Map<string, Glob>();
const NAME_GLOBS_KEPT = 2000;

const containsDisplayName: Condition = ({ loweredBody }, { displayName }) => {
  if (loweredBody === undefined || displayName === undefined || displayName === '') return false;
  let glob = nameGlobs.get(displayName);
  if (glob === undefined) {
    if (nameGlobs.size >= NAME_GLOBS_KEPT) nameGlobs.clear();
    glob = compileLiteral(displayName);
    nameGlobs.set(displayName, glob);
  }
  return glob.matchesWords(loweredBody);
};

const MEMBER_COUNT = /^(==|<=|>=|<|>)?([0-9]+)$/;

function roomMemberCount(is: string): Condition {
  const [, comparison = '==', digits] = MEMBER_COUNT.exec(is) ?? [];
  if (digits === undefined) return never;
  const count = Number(digits);
  switch (comparison) {
    case '<':
      return (_, { memberCount }) => memberCount < count;
    case '<=':
      return (_, { memberCount }) => memberCount <= count;
    case '>':
      return (_, { memberCount }) => memberCount > count;
    case '>=':
      return (_, { memberCount }) => memberCount >= count;
    default:
      return (_, { memberCount }) => memberCount === count;
  }
}

/** MSC4306. */
function threadSubscriptionIs(subscribed: boolean): Condition {
  return (_, { threadSubscription }) => threadSubscription === subscribed;
}

/** What `notifications` of the power levels asks for where it does not say (spec: m.room.power_levels). */
const DEFAULT_NOTIFICATION_LEVEL = 50;

function senderNotificationPermission(key: string): Condition {
  return (_, { senderPowerLevel, notificationPowerLevels }) => {
    const set = Object.hasOwn(notificationPowerLevels, key) ? notificationPowerLevels[key] : undefined;
    return senderPowerLevel >= (set ?? DEFAULT_NOTIFICATION_LEVEL);
  };
}

/**
 * The property names in a dot-separated path (spec: appendices, "Dot-separated property paths"): `\.` is a dot within a
 * name, `\\` a backslash; before anything else a backslash is itself.
 */
export function parsePropertyPath(path: string): readonly string[] {
  const names: string[] = [];
  let name = '';
  for (let i = 0; i < path.length; i++) {
    const character = path.charAt(i);
    const next = path.charAt(i + 1);
    if (character === '\\' && (next === '.' || next === '\\')) {
      name += next;
      i++;
    } else if (character === '.') {
      names.push(name);
      name = '';
    } else {
      name += character;
    }
  }
  names.push(name);
  return names;
}

function findProperty(properties: JsonObject, path: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = properties;
  for (const name of path) {
    if (!isJsonObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

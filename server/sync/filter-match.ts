import type { EventId, RoomId, UserId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import type { PersistedEvent } from '../rooms/types.ts';
import type { EventFilter, RoomEventFilter, SyncFilter } from './filter.ts';

/** What a filter looks at. An event of ours is one; so is what stands in an answer. */
export interface Matchable {
  readonly type: string;
  readonly sender?: string | undefined;
  readonly roomId?: string | undefined;
  readonly content?: JsonObject | undefined;
}

/** A filter made ready: its lists as sets, its patterns taken apart. */
export interface EventMatcher {
  /** Nothing can get through it: there is no need to look for events. */
  readonly none: boolean;
  matches(event: Matchable): boolean;
  /** Whether events of the type may get through: cheaper than to load the event first. */
  allowsType(type: string): boolean;
  /** Whether events of the room may get through. */
  allowsRoom(roomId: string): boolean;
}

/** Which of some events have been related to in certain ways; kept by who keeps relations. */
export interface RelatedEvents {
  /** Those of `events` to which an event of one of `senders` and of one of `relTypes` relates. Undefined: any. */
  eventsRelatedBy(
    events: readonly PersistedEvent[],
    by: { readonly senders: readonly UserId[] | undefined; readonly relTypes: readonly string[] | undefined },
  ): ReadonlySet<EventId>;
}

const matchers = new WeakMap<EventFilter, EventMatcher>();

/** The matcher of a filter; made once for each filter object. `limit` and `related_by_*` are not its business. */
export function eventMatcher(filter: RoomEventFilter): EventMatcher {
  const known = matchers.get(filter);
  if (known !== undefined) return known;
  const made = buildMatcher(filter);
  matchers.set(filter, made);
  return made;
}

function buildMatcher(filter: RoomEventFilter): EventMatcher {
  const types = filter.types === undefined ? undefined : typeTest(filter.types);
  const notTypes = filter.notTypes === undefined ? undefined : typeTest(filter.notTypes);
  const senders = filter.senders === undefined ? undefined : new Set<string>(filter.senders);
  const notSenders = new Set<string>(filter.notSenders);
  const rooms = filter.rooms === undefined ? undefined : new Set<string>(filter.rooms);
  const notRooms = new Set<string>(filter.notRooms);
  const { containsUrl } = filter;
  const relations = listTest(filter.relTypes, filter.notRelTypes);
  const labels = listTest(filter.labels, filter.notLabels);
  const allowsType = (type: string): boolean => types?.(type) !== false && notTypes?.(type) !== true;
  const allowsRoom = (roomId: string): boolean => rooms?.has(roomId) !== false && !notRooms.has(roomId);
  return {
    none: [filter.types, filter.senders, filter.rooms, filter.relTypes, filter.labels].some(
      (list) => list?.length === 0,
    ),
    allowsType,
    allowsRoom,
    matches: ({ type, sender, roomId, content }) => {
      if (!allowsType(type)) return false;
      if (sender === undefined ? senders !== undefined : senders?.has(sender) === false || notSenders.has(sender)) {
        return false;
      }
      if (roomId !== undefined && !allowsRoom(roomId)) return false;
      if (relations?.(relTypesOf(content)) === false || labels?.(labelsOf(content)) === false) return false;
      return containsUrl === undefined || containsUrl === (content !== undefined && Object.hasOwn(content, 'url'));
    },
  };
}

/** Whether any of some words is among those wanted, and none among the unwanted; undefined where all will do. */
function listTest(
  wanted: readonly string[] | undefined,
  unwanted: readonly string[] | undefined,
): ((words: readonly string[]) => boolean) | undefined {
  if (wanted === undefined && unwanted === undefined) return undefined;
  const allowed = wanted === undefined ? undefined : new Set(wanted);
  const refused = new Set(unwanted);
  return (words) =>
    (allowed === undefined || words.some((word) => allowed.has(word))) && !words.some((word) => refused.has(word));
}

function relTypesOf(content: JsonObject | undefined): string[] {
  const relatesTo = content?.['m.relates_to'];
  const relType = isJsonObject(relatesTo) ? relatesTo['rel_type'] : undefined;
  return typeof relType === 'string' ? [relType] : [];
}

function labelsOf(content: JsonObject | undefined): string[] {
  const labels = content?.['org.matrix.labels'];
  return Array.isArray(labels) ? labels.filter((label) => typeof label === 'string') : [];
}

/** Whether a type is one of `patterns`, in which `*` stands for any sequence of characters. */
function typeTest(patterns: readonly string[]): (type: string) => boolean {
  const exact = new Set<string>();
  const wild: string[] = [];
  for (const pattern of patterns) {
    if (pattern.includes('*')) wild.push(pattern);
    else exact.add(pattern);
  }
  if (wild.length === 0) return (type) => exact.has(type);
  return (type) => exact.has(type) || wild.some((pattern) => matchesPattern(pattern, type));
}

/**
 * Whether all of `text` matches `pattern`. Goes back to the last `*` only, so that no pattern costs more than the
 * product of both lengths; a regular expression could be made to take forever.
 */
export function matchesPattern(pattern: string, text: string): boolean {
  let inPattern = 0;
  let inText = 0;
  let star = -1;
  let resume = 0;
  while (inText < text.length) {
    if (pattern[inPattern] === '*') {
      star = inPattern;
      inPattern += 1;
      resume = inText;
    } else if (inPattern < pattern.length && pattern[inPattern] === text[inText]) {
      inPattern += 1;
      inText += 1;
    } else if (star !== -1) {
      inPattern = star + 1;
      resume += 1;
      inText = resume;
    } else {
      return false;
    }
  }
  while (pattern[inPattern] === '*') inPattern += 1;
  return inPattern === pattern.length;
}

/** The test for rooms that a filter's own `rooms` and `not_rooms` make, or undefined where it has neither. */
export function roomTest(filter: SyncFilter['room']): ((roomId: RoomId) => boolean) | undefined {
  if (filter.rooms === undefined && filter.notRooms === undefined) return undefined;
  const rooms = filter.rooms === undefined ? undefined : new Set(filter.rooms);
  const notRooms = new Set(filter.notRooms);
  return (roomId) => rooms?.has(roomId) !== false && !notRooms.has(roomId);
}

/** Those of `events` that `related_by_senders` and `related_by_rel_types` of the filter let through. */
export function filterRelated<Event extends PersistedEvent>(
  events: readonly Event[],
  filter: RoomEventFilter,
  related: RelatedEvents | undefined,
): readonly Event[] {
  const { relatedBySenders: senders, relatedByRelTypes: relTypes } = filter;
  if ((senders === undefined && relTypes === undefined) || events.length === 0) return events;
  if (related === undefined) return [];
  const found = related.eventsRelatedBy(events, { senders, relTypes });
  return events.filter((event) => found.has(event.eventId));
}

/** Those of what a contribution gave that the filter lets through. Its `content.user_id` counts as the sender where there is no other. */
export function filterParts(
  parts: readonly JsonObject[] | undefined,
  filter: RoomEventFilter,
  roomId?: RoomId,
): readonly JsonObject[] {
  if (parts === undefined || parts.length === 0) return [];
  const matcher = eventMatcher(filter);
  return parts.filter((part) => matcher.matches(asMatchable(part, roomId)));
}

function asMatchable(part: JsonObject, roomId: RoomId | undefined): Matchable {
  const content = isJsonObject(part['content']) ? part['content'] : undefined;
  const sender = part['sender'] ?? content?.['user_id'];
  return {
    type: typeof part['type'] === 'string' ? part['type'] : '',
    sender: typeof sender === 'string' ? sender : undefined,
    roomId,
    content,
  };
}

type FieldTree = Map<string, FieldTree | 'all'>;

/**
 * What cuts an event down to the given fields (spec: filters, `event_fields`; appendices, "Dot-separated property
 * paths"). An object that is named only in part keeps the named parts.
 */
export function fieldTrimmer(paths: readonly string[]): (event: JsonObject) => JsonObject {
  const tree: FieldTree = new Map();
  for (const path of paths) insertPath(tree, splitPath(path));
  return (event) => trim(event, tree) ?? {};
}

function insertPath(tree: FieldTree, keys: readonly string[]): void {
  let node = tree;
  for (const [index, key] of keys.entries()) {
    const next = node.get(key);
    if (next === 'all') return;
    if (index === keys.length - 1) {
      node.set(key, 'all');
    } else if (next === undefined) {
      const made: FieldTree = new Map();
      node.set(key, made);
      node = made;
    } else {
      node = next;
    }
  }
}

/** `content.m\.relates_to` is `content`, `m.relates_to`. Only dots and backslashes are escaped. */
function splitPath(path: string): string[] {
  const keys: string[] = [];
  let key = '';
  for (let at = 0; at < path.length; at += 1) {
    const char = path.charAt(at);
    const next = path.charAt(at + 1);
    if (char === '\\' && (next === '.' || next === '\\')) {
      key += next;
      at += 1;
    } else if (char === '.') {
      keys.push(key);
      key = '';
    } else {
      key += char;
    }
  }
  keys.push(key);
  return keys;
}

function trim(value: JsonObject, tree: FieldTree): JsonObject | undefined {
  const kept: [string, JsonValue][] = [];
  for (const [key, below] of tree) {
    const inner = Object.hasOwn(value, key) ? value[key] : undefined;
    if (inner === undefined) continue;
    if (below === 'all') {
      kept.push([key, inner]);
    } else if (isJsonObject(inner)) {
      const part = trim(inner, below);
      if (part !== undefined) kept.push([key, part]);
    }
  }
  // fromEntries defines keys rather than assigning them, so that a key such as "__proto__" stays a key.
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

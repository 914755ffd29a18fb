import type { Static } from 'typebox';
import { roomId, text, userId } from '../http/schemas.ts';
import { Type } from '../http/type.ts';
import { bodyCheck } from '../http/validate.ts';
import { notJson } from '../matrix/errors.ts';
import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { JsonValue } from '../matrix/json.ts';

/** A filter on events (spec: client-server API, "Filtering"). */
export interface EventFilter {
  readonly limit?: number;
  readonly types?: readonly string[];
  readonly notTypes?: readonly string[];
  readonly senders?: readonly UserId[];
  readonly notSenders?: readonly UserId[];
}
/** A filter on the events of rooms. */
export interface RoomEventFilter extends EventFilter {
  readonly rooms?: readonly RoomId[];
  readonly notRooms?: readonly RoomId[];
  readonly containsUrl?: boolean;
  readonly lazyLoadMembers?: boolean;
  readonly includeRedundantMembers?: boolean;
  readonly unreadThreadNotifications?: boolean;
  readonly relatedBySenders?: readonly UserId[];
  readonly relatedByRelTypes?: readonly string[];
  /** How the event itself relates to another (MSC3874). */
  readonly relTypes?: readonly string[];
  readonly notRelTypes?: readonly string[];
  /** Words in `org.matrix.labels` of the content (MSC2326). */
  readonly labels?: readonly string[];
  readonly notLabels?: readonly string[];
}
/** A whole filter, read and checked. */
export interface SyncFilter {
  readonly eventFields?: readonly string[];
  readonly eventFormat: 'client' | 'federation';
  readonly presence: EventFilter;
  readonly accountData: EventFilter;
  readonly room: {
    readonly rooms?: readonly RoomId[];
    readonly notRooms?: readonly RoomId[];
    readonly includeLeave: boolean;
    readonly timeline: RoomEventFilter;
    readonly state: RoomEventFilter;
    readonly ephemeral: RoomEventFilter;
    readonly accountData: RoomEventFilter;
  };
}

/** Events of a room in one answer, where a filter does not say how many. */
export const DEFAULT_TIMELINE_LIMIT = 10;

// Zero is not "greater than 0", but clients have long asked for no timeline that way.
const limit = Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }));
const users = Type.Optional(Type.Array(userId));
const rooms = Type.Optional(Type.Array(roomId));
// A pattern may be longer than what it matches, but not by much.
const names = Type.Optional(Type.Array(text(1_024)));
const flag = Type.Optional(Type.Boolean());

const eventFilterKeys = { limit, types: names, not_types: names, senders: users, not_senders: users };
const eventFilterSchema = Type.Object(eventFilterKeys);

/** The schema of a RoomEventFilter (spec: room_event_filter.yaml). Unknown keys are allowed. */
export const roomEventFilterSchema = Type.Object({
  ...eventFilterKeys,
  rooms,
  not_rooms: rooms,
  contains_url: flag,
  lazy_load_members: flag,
  include_redundant_members: flag,
  unread_thread_notifications: flag,
  related_by_senders: users,
  related_by_rel_types: names,
  'org.matrix.msc3874.rel_types': names,
  'org.matrix.msc3874.not_rel_types': names,
  'org.matrix.labels': names,
  'org.matrix.not_labels': names,
});

/** The schema of a filter definition (spec: sync_filter.yaml). Unknown keys are allowed, and kept when it is stored. */
export const syncFilterSchema = Type.Object({
  event_fields: names,
  event_format: Type.Optional(Type.Union([Type.Literal('client'), Type.Literal('federation')])),
  presence: Type.Optional(eventFilterSchema),
  account_data: Type.Optional(eventFilterSchema),
  room: Type.Optional(
    Type.Object({
      rooms,
      not_rooms: rooms,
      include_leave: flag,
      timeline: Type.Optional(roomEventFilterSchema),
      state: Type.Optional(roomEventFilterSchema),
      ephemeral: Type.Optional(roomEventFilterSchema),
      account_data: Type.Optional(roomEventFilterSchema),
    }),
  ),
});

type EventFilterJson = Static<typeof eventFilterSchema>;
type RoomEventFilterJson = Static<typeof roomEventFilterSchema>;
type SyncFilterJson = Static<typeof syncFilterSchema>;

const checkSyncFilter = bodyCheck(syncFilterSchema);
const checkRoomEventFilter = bodyCheck(roomEventFilterSchema);

/** The filter that lets everything through, a default number of events per room. */
export const emptyFilter: SyncFilter = readSyncFilter({}, undefined);

/**
 * Reads a filter definition. `timelineLimit` is the most events per room this server gives, whatever the filter asks
 * for; undefined for no such limit.
 * @throws MatrixError M_BAD_JSON where the definition does not have the form the spec gives it
 */
export function parseFilter(definition: JsonValue, timelineLimit?: number): SyncFilter {
  return readSyncFilter(checkSyncFilter(definition) as SyncFilterJson, timelineLimit);
}

/**
 * Reads a RoomEventFilter, as `/messages`, `/context` and `/search` take it.
 * @throws MatrixError M_BAD_JSON where it does not have the form the spec gives it
 */
export function parseRoomEventFilter(definition: JsonValue): RoomEventFilter {
  return readRoomEventFilter(checkRoomEventFilter(definition) as RoomEventFilterJson);
}

/** What a filter in the text of a parameter says. @throws MatrixError M_NOT_JSON if that is not JSON. */
export function parseFilterText(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    if (error instanceof SyntaxError) throw notJson('The filter is not JSON');
    throw error;
  }
}

function readSyncFilter(json: SyncFilterJson, timelineLimit: number | undefined): SyncFilter {
  const room = json.room ?? {};
  const timeline = readRoomEventFilter(room.timeline ?? {});
  const asked = timeline.limit ?? DEFAULT_TIMELINE_LIMIT;
  return {
    ...given('eventFields', json.event_fields),
    eventFormat: json.event_format ?? 'client',
    presence: readEventFilter(json.presence ?? {}),
    accountData: readEventFilter(json.account_data ?? {}),
    room: {
      ...given('rooms', room.rooms),
      ...given('notRooms', room.not_rooms),
      includeLeave: room.include_leave ?? false,
      timeline: { ...timeline, limit: timelineLimit === undefined ? asked : Math.min(asked, timelineLimit) },
      state: readRoomEventFilter(room.state ?? {}),
      ephemeral: readRoomEventFilter(room.ephemeral ?? {}),
      accountData: readRoomEventFilter(room.account_data ?? {}),
    },
  };
}

function readRoomEventFilter(json: RoomEventFilterJson): RoomEventFilter {
  return {
    ...readEventFilter(json),
    ...given('rooms', json.rooms),
    ...given('notRooms', json.not_rooms),
    ...given('containsUrl', json.contains_url),
    ...given('lazyLoadMembers', json.lazy_load_members),
    ...given('includeRedundantMembers', json.include_redundant_members),
    ...given('unreadThreadNotifications', json.unread_thread_notifications),
    ...given('relatedBySenders', json.related_by_senders),
    ...given('relatedByRelTypes', json.related_by_rel_types),
    ...given('relTypes', json['org.matrix.msc3874.rel_types']),
    ...given('notRelTypes', json['org.matrix.msc3874.not_rel_types']),
    ...given('labels', json['org.matrix.labels']),
    ...given('notLabels', json['org.matrix.not_labels']),
  };
}

function readEventFilter(json: EventFilterJson): EventFilter {
  return {
    ...given('limit', json.limit),
    ...given('types', json.types),
    ...given('notTypes', json.not_types),
    ...given('senders', json.senders),
    ...given('notSenders', json.not_senders),
  };
}

/** An object with that key, or without it where there is no value. */
function given<Key extends string, Value>(key: Key, value: Value | undefined): { readonly [K in Key]?: Value } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [K in Key]?: Value };
}

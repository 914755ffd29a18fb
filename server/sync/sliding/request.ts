import type { Static } from 'typebox';
import { mapOf, text } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { invalidParam } from '../../matrix/errors.ts';
import { isRoomId, type RoomId, type UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import { RequiredState, type StateElement, type StateRule } from './required-state.ts';

/*
 * The request of simplified sliding sync (MSC4186). Clients of today write it as the first servers that had it took it
 * (`ranges`, pairs under `required_state`, `is_invite`); the proposal has since given some keys another form. Both are read.
 */

/** The most lists, and rooms, that one request may name (MSC4186). */
const MOST_LISTS = 100;
const MOST_SUBSCRIPTIONS = 100;
/** How long (characters) all the state together may be that one request wishes for: some of it is kept for each room. */
const MOST_REQUIRED = 262_144;
/** Events of one room in one answer; a client that wants more pages back. */
export const MOST_EVENTS = 100;

const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const pair = Type.Array(text(255), { minItems: 2, maxItems: 2 });
const range = Type.Array(count, { minItems: 2, maxItems: 2 });
const element = Type.Object({ type: Type.Optional(text(255)), state_key: Type.Optional(text(255)) });
const elements = Type.Optional(Type.Array(element, { maxItems: 1_000 }));
const requiredState = Type.Union([
  Type.Array(pair, { maxItems: 1_000 }),
  Type.Object({ include: elements, exclude: elements, lazy_members: Type.Optional(Type.Boolean()) }),
]);
const flag = Type.Optional(Type.Boolean());
const texts = Type.Optional(Type.Array(Type.String(), { maxItems: 1_000 }));
const roomTypes = Type.Optional(Type.Array(Type.Union([Type.String(), Type.Null()]), { maxItems: 1_000 }));
const config = { timeline_limit: count, required_state: Type.Optional(requiredState) };

const listSchema = Type.Object({
  ...config,
  range: Type.Optional(range),
  ranges: Type.Optional(Type.Array(range, { maxItems: 100 })),
  filters: Type.Optional(
    Type.Object({
      is_dm: flag,
      is_encrypted: flag,
      is_invite: flag,
      is_invited: flag,
      room_types: roomTypes,
      not_room_types: roomTypes,
      spaces: texts,
      tags: texts,
      not_tags: texts,
    }),
  ),
});
const subscriptionSchema = Type.Object(config);
/** What extensions have in common; each has keys of its own besides. */
const extensionSchema = Type.Object({
  enabled: flag,
  lists: texts,
  rooms: texts,
  since: Type.Optional(Type.String()),
  limit: Type.Optional(count),
});

export const presence = Type.Optional(
  Type.Union([Type.Literal('offline'), Type.Literal('online'), Type.Literal('unavailable')]),
);
/** What stands in the query today, and in the body by the proposal. */
export const timing = { pos: Type.Optional(Type.String()), timeout: Type.Optional(count) };

export const requestBody = Type.Object({
  ...timing,
  set_presence: Type.Optional(Type.String()),
  conn_id: Type.Optional(text(255)),
  txn_id: Type.Optional(text(255)),
  lists: Type.Optional(mapOf(listSchema)),
  room_subscriptions: Type.Optional(mapOf(subscriptionSchema)),
  extensions: Type.Optional(mapOf(extensionSchema)),
});
export type RequestBody = Static<typeof requestBody>;

/** How much of a room is told. */
export interface RoomConfig {
  readonly timelineLimit: number;
  readonly required: RequiredState;
}

/** Which rooms a list is of. */
export interface ListFilters {
  readonly isDm: boolean | undefined;
  readonly isEncrypted: boolean | undefined;
  readonly isInvited: boolean | undefined;
  readonly roomTypes: readonly (string | null)[] | undefined;
  readonly notRoomTypes: readonly (string | null)[];
  readonly spaces: readonly RoomId[] | undefined;
  readonly tags: readonly string[] | undefined;
  readonly notTags: readonly string[];
}

export interface ListRequest {
  /** Both ends belong to it. No ranges: all of the list. */
  readonly ranges: readonly (readonly [number, number])[] | undefined;
  readonly filters: ListFilters;
  readonly config: RoomConfig;
}

/** An extension somebody wants. `['*']` stands for all lists, or all rooms subscribed to. */
export interface ExtensionRequest {
  readonly lists: readonly string[];
  readonly rooms: readonly string[];
  readonly since: string | undefined;
  readonly limit: number | undefined;
  /** As the client wrote it. */
  readonly config: JsonObject;
}

export interface SlidingRequest {
  readonly connId: string;
  readonly lists: ReadonlyMap<string, ListRequest>;
  readonly subscriptions: ReadonlyMap<RoomId, RoomConfig>;
  /** Those that are switched on. */
  readonly extensions: ReadonlyMap<string, ExtensionRequest>;
  /** The client reads state that is gone: it asked in the proposal's newer form. */
  readonly wantsStubs: boolean;
}

/**
 * Reads a request whose form has been checked.
 * @throws MatrixError M_INVALID_PARAM for too many lists or rooms, or too much state
 */
export function readRequest(body: RequestBody, viewer: UserId, limit: number | undefined): SlidingRequest {
  const asked = Object.entries(body.lists ?? {});
  const rooms = Object.entries(body.room_subscriptions ?? {});
  if (asked.length > MOST_LISTS) throw invalidParam(`At most ${MOST_LISTS} lists can be asked for`);
  if (rooms.length > MOST_SUBSCRIPTIONS) throw invalidParam(`At most ${MOST_SUBSCRIPTIONS} rooms can be subscribed to`);
  const most = Math.min(limit ?? MOST_EVENTS, MOST_EVENTS);
  const wishes = new Set<string>();
  let length = 0;
  const configOf = (given: Static<typeof subscriptionSchema>): RoomConfig => {
    const required = RequiredState.of([readRule(given.required_state ?? [], viewer)]);
    if (!wishes.has(required.text)) length += required.text.length;
    if (length > MOST_REQUIRED) throw invalidParam('The required_state is too long');
    wishes.add(required.text);
    return { timelineLimit: Math.min(given.timeline_limit, most), required };
  };
  const lists = asked.map(([name, list]) => [name, { ...readWindow(list), config: configOf(list) }] as const);
  return {
    connId: body.conn_id ?? '',
    lists: new Map(lists),
    subscriptions: new Map(
      rooms.flatMap(([roomId, room]) => (isRoomId(roomId) ? [[roomId, configOf(room)] as const] : [])),
    ),
    extensions: new Map(Object.entries(body.extensions ?? {}).flatMap(readExtension)),
    wantsStubs: [...asked, ...rooms].some(([, { required_state: state }]) => state !== undefined && !isPairs(state)),
  };
}

function readWindow(list: Static<typeof listSchema>): Pick<ListRequest, 'ranges' | 'filters'> {
  const { filters = {} } = list;
  const ranges = list.ranges ?? (list.range === undefined ? undefined : [list.range]);
  for (const [from, to] of ranges ?? []) {
    if (from === undefined || to === undefined || from > to) throw invalidParam('A range ends before it begins');
  }
  return {
    ranges: ranges?.map(([from = 0, to = 0]) => [from, to] as const),
    filters: {
      isDm: filters.is_dm,
      isEncrypted: filters.is_encrypted,
      isInvited: filters.is_invited ?? filters.is_invite,
      // Clients that write a list for every key mean nothing by an empty one.
      roomTypes: unlessEmpty(filters.room_types),
      notRoomTypes: filters.not_room_types ?? [],
      spaces: filters.spaces?.filter(isRoomId),
      tags: unlessEmpty(filters.tags),
      notTags: filters.not_tags ?? [],
    },
  };
}

function unlessEmpty<Item>(items: readonly Item[] | undefined): readonly Item[] | undefined {
  return items?.length === 0 ? undefined : items;
}

function readExtension([name, config]: [string, Static<typeof extensionSchema>]): [string, ExtensionRequest][] {
  if (config.enabled !== true) return [];
  const { lists = ['*'], rooms = ['*'], since, limit } = config;
  return [[name, { lists, rooms, since, limit, config: config as JsonObject }]];
}

type GivenState = Static<typeof requiredState>;

function isPairs(given: GivenState): given is string[][] {
  return Array.isArray(given);
}

function readRule(given: GivenState, viewer: UserId): StateRule {
  if (isPairs(given)) return readPairs(given, viewer);
  const read = (list: readonly Static<typeof element>[] = []): StateElement[] =>
    list.map(({ type, state_key: stateKey }) => ({ type, stateKey }));
  return {
    include: read(given.include),
    exclude: read(given.exclude),
    lazyMembers: given.lazy_members ?? false,
  };
}

function readPairs(pairs: readonly string[][], viewer: UserId): StateRule {
  const include: StateElement[] = [];
  let lazyMembers = false;
  for (const [type = '', stateKey = ''] of pairs) {
    if (stateKey === '$LAZY') {
      lazyMembers ||= type === 'm.room.member';
      continue;
    }
    include.push({
      type: type === '*' ? undefined : type,
      stateKey: stateKey === '*' ? undefined : stateKey === '$ME' ? viewer : stateKey,
    });
  }
  return { include, exclude: [], lazyMembers };
}

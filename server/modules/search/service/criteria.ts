import type { Static } from 'typebox';
import { Type } from '../../../http/type.ts';
import { invalidParam } from '../../../matrix/errors.ts';
import { isRoomId, isUserId, type RoomId, type UserId } from '../../../matrix/identifiers.ts';
import { parseRoomEventFilter, type RoomEventFilter, roomEventFilterSchema } from '../../../sync/filter.ts';
import { NEWEST } from '../store.ts';
import { type Field, FIELDS } from './documents.ts';
import { parseQuery, type Query } from './query.ts';

const flag = Type.Optional(Type.Boolean());
const number = Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }));

/** Spec: search.yaml, "Room Events Criteria". */
const roomEventsSchema = Type.Object({
  search_term: Type.String(),
  keys: Type.Optional(
    Type.Array(Type.Union([Type.Literal('content.body'), Type.Literal('content.name'), Type.Literal('content.topic')])),
  ),
  filter: Type.Optional(roomEventFilterSchema),
  order_by: Type.Optional(Type.Union([Type.Literal('recent'), Type.Literal('rank')])),
  event_context: Type.Optional(Type.Object({ before_limit: number, after_limit: number, include_profile: flag })),
  include_state: flag,
  groupings: Type.Optional(
    Type.Object({
      group_by: Type.Optional(
        Type.Array(Type.Object({ key: Type.Union([Type.Literal('room_id'), Type.Literal('sender')]) })),
      ),
    }),
  ),
});

/** The body of a search. */
export const searchSchema = Type.Object({
  search_categories: Type.Object({ room_events: Type.Optional(roomEventsSchema) }),
});

export type GroupKey = 'room_id' | 'sender';

/** What is to be found, and how it is to be shown. */
export interface Criteria {
  readonly query: Query;
  readonly fields: readonly Field[];
  /** Without its `rooms`. */
  readonly filter: RoomEventFilter;
  /** The only rooms to look in, and those they were upgraded from. */
  readonly rooms: readonly RoomId[] | undefined;
  readonly limit: number;
  readonly order: 'recent' | 'rank';
  readonly groupBy: ReadonlySet<GroupKey>;
  readonly context: { readonly before: number; readonly after: number; readonly profiles: boolean } | undefined;
  readonly withState: boolean;
}

const DEFAULT_LIMIT = 10;
const MOST_RESULTS = 100;
const DEFAULT_CONTEXT = 5;
const MOST_CONTEXT = 50;

/** Reads what is searched for. @throws MatrixError M_BAD_JSON */
export function readCriteria(asked: Static<typeof roomEventsSchema>): Criteria {
  const { rooms, ...filter } = asked.filter ?? {};
  const { event_context: context } = asked;
  return {
    query: parseQuery(asked.search_term),
    fields: FIELDS.filter((field) => asked.keys?.includes(`content.${field}`) !== false),
    filter: parseRoomEventFilter(filter),
    rooms,
    limit: Math.min(filter.limit ?? DEFAULT_LIMIT, MOST_RESULTS),
    order: asked.order_by ?? 'rank',
    groupBy: new Set(asked.groupings?.group_by?.map(({ key }) => key)),
    context: context && {
      before: Math.min(context.before_limit ?? DEFAULT_CONTEXT, MOST_CONTEXT),
      after: Math.min(context.after_limit ?? DEFAULT_CONTEXT, MOST_CONTEXT),
      profiles: context.include_profile ?? false,
    },
    withState: asked.include_state ?? false,
  };
}

/** Where a search goes on. */
export interface Batch {
  /** Only what is before this place in the order of time counts. */
  readonly before: number;
  /** Results given so far. */
  readonly seen: number;
  readonly group:
    | { readonly key: 'room_id'; readonly value: RoomId }
    | { readonly key: 'sender'; readonly value: UserId }
    | undefined;
}

export const FIRST_BATCH: Batch = { before: NEWEST, seen: 0, group: undefined };

export function formatBatch({ before, seen, group }: Batch): string {
  const parts = group === undefined ? [before, seen] : [before, seen, group.key, group.value];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** @throws MatrixError M_INVALID_PARAM for what `formatBatch` never wrote */
export function parseBatch(text: string): Batch {
  const parts = parseJson(Buffer.from(text, 'base64url').toString());
  const [before, seen, key, value]: unknown[] = Array.isArray(parts) ? parts : [];
  if (isCount(before) && isCount(seen)) {
    if (key === undefined) return { before, seen, group: undefined };
    if (key === 'room_id' && typeof value === 'string' && isRoomId(value))
      return { before, seen, group: { key, value } };
    if (key === 'sender' && typeof value === 'string' && isUserId(value))
      return { before, seen, group: { key, value } };
  }
  throw invalidParam('next_batch is not from a search');
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

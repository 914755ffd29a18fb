import { isRoomId, isServerName, type RoomId, type ServerName } from '../../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';

/** Children of one space that count, whoever asks; those after are as if they were not there. */
export const MAX_CHILDREN = 1_000;
/** Links of one space that are looked at at all, to find the first of them in their order. */
export const MAX_LINKS = 5_000;
/** Servers of a link that may be asked about the child. */
const MAX_VIA = 3;
/** Content of a link that is passed on as it is, UTF-16 units. */
const MAX_CONTENT = 2_048;
/** Servers that are left of a content longer than that; together they are no longer than an event. */
const MAX_SHOWN_VIA = 20;

const ORDER = /^[\x20-\x7E]{1,50}$/;

/** An m.space.child event, as far as it matters here. */
export interface ChildEvent {
  readonly stateKey: string | undefined;
  readonly sender: string;
  readonly content: JsonObject;
  /** ms since the epoch. */
  readonly originServerTs: number;
}

/** That a room is a child of a space. */
export interface ChildLink {
  readonly roomId: RoomId;
  /** A few servers that can be asked about the child. */
  readonly via: readonly ServerName[];
  readonly suggested: boolean;
  readonly order: string | undefined;
  readonly originServerTs: number;
  /** The event as others are shown it (spec: "Stripped state", with `origin_server_ts`). */
  readonly stripped: JsonObject;
}

/** Reads a link; undefined where the event makes no room a child (spec: "m.space.child"). */
export function readLink({ stateKey, sender, content, originServerTs }: ChildEvent): ChildLink | undefined {
  if (stateKey === undefined || !isRoomId(stateKey)) return undefined;
  const { via, suggested, order } = content;
  if (!Array.isArray(via) || via.length === 0) return undefined;
  const names = via.filter((name: JsonValue) => typeof name === 'string');
  if (names.length < via.length) return undefined;
  return {
    roomId: stateKey,
    via: names.filter(isServerName).slice(0, MAX_VIA),
    suggested: suggested === true,
    order: typeof order === 'string' && ORDER.test(order) ? order : undefined,
    originServerTs,
    stripped: {
      type: 'm.space.child',
      state_key: stateKey,
      sender,
      origin_server_ts: originServerTs,
      content: presentable(content, names),
    },
  };
}

/** Whatever else somebody has put into a link is for other clients to read, as long as it is short. */
function presentable(content: JsonObject, via: readonly string[]): JsonObject {
  if (JSON.stringify(content).length <= MAX_CONTENT) return content;
  const { suggested, order } = content;
  return {
    via: via.filter(isServerName).slice(0, MAX_SHOWN_VIA),
    ...(typeof order === 'string' && ORDER.test(order) ? { order } : {}),
    ...(typeof suggested === 'boolean' ? { suggested } : {}),
  };
}

/** The links in the order of their children (spec: "Ordering of children within a space"), the first of them. */
export function inOrder(links: readonly ChildLink[]): ChildLink[] {
  return [...links].sort(compareLinks).slice(0, MAX_CHILDREN);
}

function compareLinks(a: ChildLink, b: ChildLink): number {
  if (a.order !== b.order) {
    if (a.order === undefined) return 1;
    if (b.order === undefined) return -1;
    // Both are ASCII, where code units are code points.
    return a.order < b.order ? -1 : 1;
  }
  return a.originServerTs - b.originServerTs || Buffer.compare(Buffer.from(a.roomId), Buffer.from(b.roomId));
}

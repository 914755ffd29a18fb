import type { Requester } from '../../http/route.ts';
import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../matrix/json.ts';
import { parseFilter } from '../filter.ts';
import { type RoomSectionNeeds, RoomSections } from '../room-sections.ts';
import { STREAM_START } from '../../storage/types.ts';
import { type ComputedWindow, computeWindow, type WindowNeeds } from '../window.ts';
import type { Sent, SentChanges } from './connection-store.ts';
import type { Connection } from './connections.ts';
import { acknowledgeExtensions, type ExtensionNeeds, makeExtensions } from './extensions.ts';
import { directRoomsOf, findWanted, type ListNeeds, type Wanted, type WantedRoom } from './lists.ts';
import { RequiredState } from './required-state.ts';
import type { SlidingRequest } from './request.ts';
import { type AnswerContext, type RoomResult, type RoomResultNeeds, RoomResults } from './room-results.ts';

export interface SlidingNeeds extends ListNeeds, ExtensionNeeds {
  readonly windows: WindowNeeds;
  readonly sections: RoomSectionNeeds;
  readonly results: RoomResultNeeds;
  /** Gives a promise to wait for when it is the others' turn. */
  readonly slices: () => () => Promise<void> | undefined;
}

/** An answer without its position, and what it changes. */
export interface SlidingAnswer {
  readonly body: JsonObject;
  readonly changes: SentChanges;
  /** There is nothing in it that a waiting client would want to be woken for. */
  readonly empty: boolean;
  readonly keyCounts: string;
  readonly window: ComputedWindow;
}

const ROOMS = '';
const NOTHING_REQUIRED = RequiredState.of([]);

/** Puts one answer together, up to the present. What it costs depends on what changed, and on the rooms told anew. */
export async function makeAnswer(
  needs: SlidingNeeds,
  requester: Requester,
  connection: Connection,
  request: SlidingRequest,
  options: { readonly acknowledge: boolean },
): Promise<SlidingAnswer> {
  const pause = needs.slices();
  const { since, initial } = connection;
  const window = computeWindow(needs.windows, { requester, since, filter: parseFilter({}), fullState: false });
  if (options.acknowledge) acknowledgeExtensions(needs, window, request);
  const { userId, ignoredUsers } = window;
  const asksForRooms = request.lists.size + request.subscriptions.size > 0;
  const directRooms = asksForRooms ? directRoomsOf(needs, userId) : new Set<RoomId>();
  const isHidden = (inviter: UserId): boolean => needs.windows.isInviteHidden?.(inviter, userId) === true;
  const wanted: Wanted = asksForRooms
    ? findWanted(needs, request, { userId, ignoredUsers, directRooms, isHidden })
    : { counts: new Map(), rooms: new Map() };
  const context: AnswerContext = {
    window,
    connection: connection.nid,
    initial,
    directRooms,
    wantsStubs: request.wantsStubs,
    recounted: initial || !asksForRooms ? new Set() : findRecounted(needs, window),
    countsOf: (roomId) => countsOf(needs, window, roomId),
    strippedOf: (room) => strippedOf(needs, window, room.member),
  };
  const results = new Map<RoomId, RoomResult>();
  const changes: SentChanges = new Map();
  const rooms = await tellRooms(needs, { connection, request, wanted, context, results, changes, pause });
  const { sent } = connection;
  const extensions = await makeExtensions(needs, { window, request, initial, wanted, results, sent, changes, pause });
  const lists = Object.fromEntries([...wanted.counts].map(([name, count]) => [name, { count }]));
  return {
    body: {
      ...(wanted.counts.size > 0 ? { lists } : {}),
      rooms,
      extensions: extensions.json,
    },
    changes,
    empty: Object.keys(rooms).length === 0 && extensions.empty,
    keyCounts: extensions.keyCounts,
    window,
  };
}

interface Telling {
  readonly connection: Connection;
  readonly request: SlidingRequest;
  readonly wanted: Wanted;
  readonly context: AnswerContext;
  readonly results: Map<RoomId, RoomResult>;
  readonly changes: SentChanges;
  readonly pause: () => Promise<void> | undefined;
}

async function tellRooms(needs: SlidingNeeds, telling: Telling): Promise<JsonObject> {
  const { connection, wanted, context, results, changes, pause } = telling;
  const held = connection.sent.get(ROOMS) ?? new Map<RoomId, Sent>();
  const changed = new Map<RoomId, Sent | undefined>();
  const made = new RoomResults(needs.results, context);
  const told: Record<string, JsonValue> = {};
  const tell = async (asked: WantedRoom): Promise<void> => {
    const { roomId } = asked.room;
    const sent = held.get(roomId);
    if (!made.mayTell(asked, sent)) return;
    const result = made.tell(asked, sent);
    if (result.json !== undefined) {
      told[roomId] = result.json;
      results.set(roomId, result);
    }
    if (sent === undefined || !isSame(sent, result.sent)) changed.set(roomId, result.sent);
    const paused = pause();
    if (paused !== undefined) await paused;
  };
  for (const asked of wanted.rooms.values()) await tell(asked);
  for (const [roomId, sent] of held) {
    if (wanted.rooms.has(roomId)) continue;
    const { lists, subscriptions } = telling.request;
    const isAbout = lists.size > 0 || subscriptions.has(roomId);
    const left = isAbout ? leftRoom(needs, context, roomId, sent) : undefined;
    if (left === undefined) {
      noteUnseen(context, roomId, sent, changed);
      continue;
    }
    // That they are out of a room the client has been told of is told once, wherever it would stand in a list.
    await tell(left);
    changed.set(roomId, undefined);
  }
  if (changed.size > 0) changes.set(ROOMS, changed);
  return told;
}

/** A room that the client holds and that the viewer has left of their own accord, or been refused. */
function leftRoom(needs: SlidingNeeds, { window }: AnswerContext, roomId: RoomId, sent: Sent): WantedRoom | undefined {
  if (window.allJoined.has(roomId) || needs.index.of(window.userId).rooms.has(roomId)) return undefined;
  const room = needs.index.findDeparted(window.userId, roomId);
  if (room === undefined) return undefined;
  const config = { timelineLimit: sent.limit ?? 1, required: sent.required ?? NOTHING_REQUIRED };
  return { room, config, lists: [] };
}

/** Something may have happened in a room that is out of sight now: it is told once the room is seen again. */
function noteUnseen(
  { window, recounted }: AnswerContext,
  roomId: RoomId,
  sent: Sent,
  changed: Map<RoomId, Sent | undefined>,
): void {
  if (window.newlyJoined.has(roomId) || window.rejoined.has(roomId)) {
    // It has to be told anew, but is not forgotten: that the viewer is out of it, if it comes to that, is news still.
    changed.set(roomId, { upTo: undefined, place: STREAM_START });
  } else if (sent.upTo !== undefined) return;
  else if (window.active.has(roomId) || window.left.has(roomId) || recounted.has(roomId)) {
    changed.set(roomId, { ...sent, upTo: window.since });
  }
}

function isSame(a: Sent, b: Sent): boolean {
  return (
    a.upTo === b.upTo &&
    a.limit === b.limit &&
    a.required?.text === b.required?.text &&
    (a.direct ?? false) === (b.direct ?? false) &&
    a.place === b.place
  );
}

function findRecounted({ contributions }: SlidingNeeds, window: ComputedWindow): Set<RoomId> {
  const recounted = new Set<RoomId>();
  for (const contribution of contributions()) {
    if (contribution.sliding !== 'rooms') continue;
    for (const roomId of contribution.contribute(window).rooms?.keys() ?? []) recounted.add(roomId);
  }
  return recounted;
}

function countsOf({ contributions }: SlidingNeeds, window: ComputedWindow, roomId: RoomId): JsonObject {
  for (const contribution of contributions()) {
    if (contribution.sliding !== 'rooms') continue;
    const counts = contribution.complete?.(window, roomId).unreadNotifications;
    if (counts !== undefined) return counts;
  }
  return {};
}

function strippedOf(
  { sections }: SlidingNeeds,
  window: ComputedWindow,
  member: WantedRoom['room']['member'],
): readonly JsonObject[] {
  const { events } = new RoomSections(sections, window, 'state').stripped(member);
  return Array.isArray(events) ? events : [];
}

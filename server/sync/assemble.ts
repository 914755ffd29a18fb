import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import type { StreamPosition } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { filterParts, roomTest } from './filter-match.ts';
import { collectParts, type Parts } from './parts.ts';
import { type RoomSectionNeeds, RoomSections, type StateSection } from './room-sections.ts';
import type { SyncTokens } from './token.ts';
import type { ComputedWindow } from './window.ts';

/** How long (ms) an answer is worked on before others get their turn. */
const SLICE_MS = 8;

export interface AssembleNeeds extends RoomSectionNeeds {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly tokens: Pick<SyncTokens, 'format'>;
  readonly removedRooms?:
    | ((userId: UserId, since: StreamPosition, now: StreamPosition) => readonly RoomId[])
    | undefined;
}

/** An answer of /sync, and whether it holds anything that a waiting client would want to be woken for. */
export interface Answer {
  readonly body: JsonObject;
  readonly empty: boolean;
  /** Differs when the device's own keys do: they are told in every answer, so they alone make none non-empty. */
  readonly keyCounts: string;
}

/**
 * Puts the answer of /sync together (spec: client-server API, /sync): the kernel's own sections of each room, and what
 * the contributions give. A long one is made in slices, all of the same window: what happens meanwhile is left to the
 * next request.
 */
export async function assemble(
  needs: AssembleNeeds,
  window: ComputedWindow,
  stateSection: StateSection,
): Promise<Answer> {
  const pause = slices(needs.clock);
  const parts = await collectParts(needs.contributions(), window, pause);
  const sections = new RoomSections(needs, window, stateSection);
  const join: Record<string, JsonValue> = {};
  for (const roomId of joinedRoomsToTell(window, parts)) {
    const room = sections.joined(roomId, parts.rooms.get(roomId));
    if (room !== undefined) join[roomId] = room;
    const paused = pause();
    if (paused !== undefined) await paused;
  }
  const leave: Record<string, JsonValue> = {};
  for (const [roomId, departed] of window.departures) {
    leave[roomId] = sections.left(roomId, departed, parts.rooms.get(roomId));
    const paused = pause();
    if (paused !== undefined) await paused;
  }
  if (!window.initial) {
    // Nothing is left of them to show.
    const isWanted = roomTest(window.filter.room);
    for (const roomId of needs.removedRooms?.(window.userId, window.since, window.now) ?? []) {
      if (!window.allJoined.has(roomId) && isWanted?.(roomId) !== false) leave[roomId] ??= REMOVED;
    }
  }
  const invite: Record<string, JsonValue> = {};
  for (const [roomId, member] of window.invites) invite[roomId] = { invite_state: sections.stripped(member) };
  const knock: Record<string, JsonValue> = {};
  for (const [roomId, member] of window.knocks) knock[roomId] = { knock_state: sections.stripped(member) };
  return finish(needs.tokens, window, parts, { join, invite, knock, leave });
}

/** What is told of a room that was removed from this server. */
const REMOVED: JsonObject = { state: { events: [] }, timeline: { events: [], limited: false } };

function* joinedRoomsToTell(window: ComputedWindow, parts: Parts): Generator<RoomId> {
  if (window.initial || window.fullState) {
    yield* window.joined.keys();
    return;
  }
  const told = new Set<RoomId>([...window.active, ...window.newlyJoined, ...window.rejoined]);
  for (const roomId of parts.rooms.keys()) if (window.joined.has(roomId)) told.add(roomId);
  yield* told;
}

function finish(
  tokens: Pick<SyncTokens, 'format'>,
  window: ComputedWindow,
  parts: Parts,
  rooms: Record<'join' | 'invite' | 'knock' | 'leave', Record<string, JsonValue>>,
): Answer {
  const body: Record<string, JsonValue> = {};
  const addEvents = (key: string, events: readonly JsonObject[]): void => {
    if (events.length > 0) body[key] = { events };
  };
  addEvents('account_data', filterParts(parts.accountData, window.filter.accountData));
  addEvents('presence', filterParts(parts.presence, window.filter.presence));
  addEvents('to_device', parts.toDevice);
  // A new client knows of nobody's devices, so there is no change to tell it of.
  if (!window.initial && parts.deviceListsChanged.size + parts.deviceListsLeft.size > 0) {
    // Only those that name somebody, as clients and tests of other servers expect.
    body['device_lists'] = {
      ...(parts.deviceListsChanged.size === 0 ? {} : { changed: [...parts.deviceListsChanged] }),
      ...(parts.deviceListsLeft.size === 0 ? {} : { left: [...parts.deviceListsLeft] }),
    };
  }
  const told = Object.entries(rooms).filter(([, section]) => Object.keys(section).length > 0);
  if (told.length > 0) body['rooms'] = Object.fromEntries(told);
  const empty = Object.keys(body).length === 0;

  const keys: JsonObject = {
    device_one_time_keys_count: parts.oneTimeKeysCount,
    device_unused_fallback_key_types: parts.unusedFallbackKeyTypes,
  };
  return { body: { next_batch: tokens.format(window.now), ...keys, ...body }, empty, keyCounts: JSON.stringify(keys) };
}

/** Something to call between two steps: gives a promise to wait for when the others' turn has come. */
export function slices(clock: Pick<Clock, 'monotonic'>): () => Promise<void> | undefined {
  let started = clock.monotonic();
  return () => {
    if (clock.monotonic() - started < SLICE_MS) return undefined;
    return nextTurn().then(() => {
      started = clock.monotonic();
    });
  };
}

import type { RoomId } from '../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../matrix/json.ts';
import { STREAM_START, type StreamPosition } from '../../storage/types.ts';
import { collectParts, type Parts } from '../parts.ts';
import type { SyncTokens } from '../token.ts';
import type { JoinedRoom, SyncContribution, SyncWindow } from '../types.ts';
import type { ComputedWindow } from '../window.ts';
import type { Sent, SentChanges, SentRooms } from './connection-store.ts';
import type { Wanted } from './lists.ts';
import type { ExtensionRequest, SlidingRequest } from './request.ts';
import type { RoomResult } from './room-results.ts';

/** Extensions that tell something of rooms which stays true: a room that was out of sight is caught up on. */
const LASTING: ReadonlySet<string> = new Set(['account_data', 'receipts']);

export interface ExtensionNeeds {
  readonly contributions: () => readonly SyncContribution[];
  readonly tokens: Pick<SyncTokens, 'format' | 'parse'>;
}

export interface ExtensionContext {
  readonly window: ComputedWindow;
  readonly request: SlidingRequest;
  readonly initial: boolean;
  readonly wanted: Wanted;
  readonly results: ReadonlyMap<RoomId, RoomResult>;
  readonly sent: SentRooms;
  readonly changes: SentChanges;
  readonly pause: () => Promise<void> | undefined;
}

export interface ExtensionAnswer {
  readonly json: JsonObject;
  readonly empty: boolean;
  /** Differs when the device's own keys do: they are told always, so they alone make no answer. */
  readonly keyCounts: string;
}

interface Section {
  readonly json: JsonObject;
  readonly empty: boolean;
}

/** Takes note of what the device shows to have: a message that is told once waits until then. */
export function acknowledgeExtensions(needs: ExtensionNeeds, window: ComputedWindow, request: SlidingRequest): void {
  for (const [name, extension] of request.extensions) {
    const since = parseSince(needs.tokens, extension);
    if (since === undefined) continue;
    for (const contribution of contributionsTo(needs, name)) contribution.acknowledge?.({ ...window, since });
  }
}

/** The extensions that were asked for, each put together of what the modules give to it. */
export async function makeExtensions(needs: ExtensionNeeds, context: ExtensionContext): Promise<ExtensionAnswer> {
  const json: Record<string, JsonValue> = {};
  let empty = true;
  let keyCounts = '';
  for (const [name, extension] of context.request.extensions) {
    const contributions = contributionsTo(needs, name);
    if (contributions.length === 0) continue;
    const section = await makeSection(needs, name, extension, contributions, context);
    json[name] = section.json;
    if (!section.empty) empty = false;
    if (name === 'e2ee') {
      const { device_one_time_keys_count: keys, device_unused_fallback_key_types: fallback } = section.json;
      keyCounts = JSON.stringify([keys, fallback]);
    }
    if (Object.keys(section.json).length === 0) delete json[name];
  }
  return { json, empty, keyCounts };
}

function contributionsTo({ contributions }: ExtensionNeeds, name: string): SyncContribution[] {
  // That name is no extension's.
  return name === 'rooms' ? [] : contributions().filter(({ sliding }) => sliding === name);
}

async function makeSection(
  needs: ExtensionNeeds,
  name: string,
  extension: ExtensionRequest,
  contributions: readonly SyncContribution[],
  context: ExtensionContext,
): Promise<Section> {
  const { window, pause } = context;
  switch (name) {
    case 'to_device': {
      const since = parseSince(needs.tokens, extension) ?? STREAM_START;
      const { toDevice } = await collectParts(contributions, withLimit({ ...window, since }, extension), pause);
      return {
        json: { next_batch: needs.tokens.format(window.now), events: toDevice },
        empty: toDevice.length === 0,
      };
    }
    case 'e2ee':
      return encryptionSection(await collectParts(contributions, window, pause), context.initial);
    case 'account_data':
    case 'receipts':
    case 'typing':
      return roomsSection(name, extension, contributions, context);
    default: {
      const limited = withLimit(window, extension);
      const said = contributions.flatMap((contribution) => contribution.contribute(limited).extension ?? []);
      const json: JsonObject = Object.assign({}, ...said);
      return { json, empty: Object.keys(json).length === 0 };
    }
  }
}

function encryptionSection(parts: Parts, initial: boolean): Section {
  const { deviceListsChanged: changed, deviceListsLeft: left } = parts;
  const moved = !initial && changed.size + left.size > 0;
  return {
    json: {
      device_one_time_keys_count: parts.oneTimeKeysCount,
      device_unused_fallback_key_types: parts.unusedFallbackKeyTypes,
      ...(moved ? { device_lists: { changed: [...changed], left: [...left] } } : {}),
    },
    empty: !moved,
  };
}

async function roomsSection(
  name: 'account_data' | 'receipts' | 'typing',
  extension: ExtensionRequest,
  contributions: readonly SyncContribution[],
  context: ExtensionContext,
): Promise<Section> {
  const { window, initial, sent, changes, pause } = context;
  const relevant = relevantRooms(extension, context);
  const lasting = LASTING.has(name);
  const held = sent.get(name);
  const behind = roomsBehind(relevant, held, lasting, context);

  // Once for the rooms that the client has followed all along, and once for those that are news to it.
  const followed = initial ? { ...window, joined: new Map<RoomId, JoinedRoom>() } : window;
  const live = await collectParts(contributions, followed, pause);
  const rooms = new Map<RoomId, JsonValue>();
  const add = (roomId: RoomId, parts: Parts): void => {
    const shown = showRoom(name, parts, roomId);
    if (shown !== undefined) rooms.set(roomId, shown);
  };
  const changed = changes.get(name) ?? new Map<RoomId, Sent | undefined>();
  for (const roomId of live.rooms.keys()) {
    if (behind.rooms.has(roomId)) continue;
    if (relevant.has(roomId)) add(roomId, live);
    else if (lasting && held?.get(roomId)?.upTo === undefined && held?.has(roomId) === true) {
      changed.set(roomId, { upTo: window.since });
    }
  }
  if (behind.rooms.size > 0) {
    const missed: SyncWindow = { ...window, initial: false, since: behind.since, joined: behind.rooms };
    const parts = await collectParts(contributions, missed, pause);
    for (const roomId of behind.rooms.keys()) {
      add(roomId, parts);
      if (lasting) changed.set(roomId, { upTo: undefined });
    }
  }
  if (changed.size > 0) changes.set(name, changed);
  const told = Object.fromEntries(rooms);
  if (name !== 'account_data') return { json: rooms.size === 0 ? {} : { rooms: told }, empty: rooms.size === 0 };
  const empty = rooms.size === 0 && live.accountData.length === 0;
  return { json: empty ? {} : { global: live.accountData, rooms: told }, empty };
}

/**
 * The rooms of which the client has to be told more than what is new: everything (never told), or what happened since
 * they went out of sight.
 */
function roomsBehind(
  relevant: ReadonlySet<RoomId>,
  held: ReadonlyMap<RoomId, Sent> | undefined,
  lasting: boolean,
  { window, results }: ExtensionContext,
): { rooms: Map<RoomId, JoinedRoom>; since: StreamPosition } {
  const rooms = new Map<RoomId, JoinedRoom>();
  let { now: since } = window;
  for (const roomId of relevant) {
    const result = results.get(roomId);
    const of = held?.get(roomId);
    const isNew = result?.initial === true || (lasting && of === undefined);
    if (isNew) rooms.set(roomId, { newlyJoined: true, shown: new Set(result?.events) });
    else if (of?.upTo !== undefined) {
      rooms.set(roomId, { newlyJoined: false });
      if (of.upTo < since) since = of.upTo;
    }
  }
  return { rooms, since };
}

/** The rooms an extension is to speak of: those of some lists' windows, and some of those subscribed to. */
function relevantRooms({ lists, rooms }: ExtensionRequest, { wanted, request }: ExtensionContext): Set<RoomId> {
  const relevant = new Set<RoomId>();
  const anyList = lists.includes('*');
  const anyRoom = rooms.includes('*');
  for (const [roomId, { lists: matched }] of wanted.rooms) {
    const inList = anyList ? matched.length > 0 : matched.some((list) => lists.includes(list));
    const subscribed = request.subscriptions.has(roomId) && (anyRoom || rooms.includes(roomId));
    if (inList || subscribed) relevant.add(roomId);
  }
  return relevant;
}

function showRoom(name: 'account_data' | 'receipts' | 'typing', parts: Parts, roomId: RoomId): JsonValue | undefined {
  const room = parts.rooms.get(roomId);
  if (room === undefined) return undefined;
  if (name === 'account_data') return room.accountData.length === 0 ? undefined : room.accountData;
  const [first, ...others] = room.ephemeral;
  if (first === undefined) return undefined;
  // The extension has room for one event. Only who read one event in two threads needs two: the first stands for both.
  return others.reduce<JsonObject>((joined, event) => merge(event, joined, DOWN_TO_USERS), first);
}

/** Levels of an m.receipt: its own keys, events, kinds, users. What stands below belongs together. */
const DOWN_TO_USERS = 4;

/** All keys of both, so many levels down; where both say something of one thing, the second does. */
function merge(a: JsonObject, b: JsonObject, levels: number): JsonObject {
  const merged: Record<string, JsonValue> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    const other = merged[key];
    merged[key] = levels > 1 && isObject(other) && isObject(value) ? merge(other, value, levels - 1) : value;
  }
  return merged;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withLimit(window: SyncWindow, { limit }: ExtensionRequest): SyncWindow {
  return limit === undefined ? window : { ...window, limit };
}

/**
 * Where the device stands by an extension's own token. One that cannot be read, or is of a database that has since been
 * set back, counts as none: refusing it would keep a client that has no other from ever getting its messages.
 */
function parseSince(tokens: Pick<SyncTokens, 'parse'>, { since }: ExtensionRequest): StreamPosition | undefined {
  if (since === undefined) return undefined;
  try {
    return tokens.parse(since);
  } catch {
    return undefined;
  }
}

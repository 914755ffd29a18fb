import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RoomDetails, RoomSummary, StrangerInvite } from '../appliance/contract.ts';
import type { RoomListing, RoomsPort } from '../appliance/rooms/port.ts';
import type { Composition } from '../compose.ts';
import type { Config } from '../config/types.ts';
import { notFound } from '../matrix/errors.ts';
import { type RoomId, serverNameOf, type UserId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import type { RoomMember } from '../rooms/types.ts';
import type { Database } from '../storage/types.ts';

/** How long a list waits for sizes to be counted, ms; afterwards it shows what is known. */
const COUNTING_MS = 500;
/** Members shown of a room, those who are in it first. */
const MEMBERS_SHOWN = 1000;
/** Names of members that stand for the name of a room that has none. */
const NAMED = 3;
/** How much is done at a stretch, of many rooms. */
const ROOMS_AT_ONCE = 1_000;
const NAMES_AT_ONCE = 100;
const SORTED_AT_ONCE = 1_000;
const SPACE = 'm.space';

type Parts = Pick<Composition, 'accounts' | 'accountData' | 'directory' | 'membership' | 'rooms'> & {
  readonly config: Pick<Config, 'serverName'>;
  readonly db: Pick<Database, 'committed'>;
};

/** What is quickly known of all rooms, to choose from. */
interface Candidate {
  readonly roomId: RoomId;
  readonly version: string;
  readonly lastPosition: number;
  readonly name: string | undefined;
  readonly alias: string | undefined;
  readonly members: number;
  readonly isEncrypted: boolean;
  readonly isSpace: boolean;
  readonly bytes: number;
}

type Summary = ReturnType<Parts['directory']['summaries']['find']>;

export function roomsPort(parts: Parts): RoomsPort {
  const { accounts, directory, membership, rooms, db } = parts;
  const { serverName } = parts.config;
  const { members, state, purges, sizes } = rooms;
  /** Names that were made of members, good until something happens in the room. */
  const namesMade = new Map<RoomId, { readonly name: string; readonly lastPosition: number }>();

  function candidateOf(
    { roomId, version, lastPosition }: { roomId: RoomId; version: string; lastPosition: number },
    summary: Summary,
    bytes: number,
  ): Candidate {
    return {
      roomId,
      version,
      lastPosition,
      name: summary?.name,
      alias: summary?.canonicalAlias,
      members: summary?.joinedMembers ?? 0,
      isEncrypted: summary?.encryption !== undefined,
      isSpace: summary?.roomType === SPACE,
      bytes,
    };
  }

  /** All of them; others have their turn meanwhile. Rooms of which nothing is known but that they are blocked come last. */
  async function listCandidates(): Promise<Candidate[]> {
    const known = new Map<string, Summary>();
    for (let last: string | undefined = ''; last !== undefined; ) {
      const some = directory.summaries.listAfter(last, ROOMS_AT_ONCE);
      for (const summary of some) known.set(summary.roomId, summary);
      last = some.at(-1)?.roomId;
      await nextTurn();
    }
    const sizeOf = sizes.list();
    await nextTurn();
    const found: Candidate[] = [];
    for (const room of rooms.list()) {
      found.push(candidateOf(room, known.get(room.roomId), sizeOf.get(room.roomId)?.bytes ?? 0));
    }
    await nextTurn();
    const listed = new Set<string>(found.map(({ roomId }) => roomId));
    for (const roomId of purges.listBlocked()) {
      if (!listed.has(roomId)) found.push(candidateOf({ roomId, version: '', lastPosition: 0 }, undefined, 0));
    }
    return found;
  }

  function findCandidate(roomId: RoomId): Candidate | undefined {
    const version = state.findCurrent(roomId, 'm.room.create', '')?.version.id;
    if (version === undefined && !purges.isBlocked(roomId)) return undefined;
    const bytes = sizes.of(roomId).bytes;
    return candidateOf({ roomId, version: version ?? '', lastPosition: 0 }, directory.summaries.find(roomId), bytes);
  }

  /** What clients call a room without a name, about (spec: "Calculating the display name for a room"). */
  function nameByMembers(roomId: RoomId): string {
    const count = members.countMembers(roomId, 'join');
    const named = (how: 'join' | 'leave'): string[] =>
      members.listSome(roomId, how, NAMED).map(({ userId, displayName }) => displayName ?? userId);
    const names = named('join');
    if (names.length > 0) return count > NAMED ? `${names.join(', ')} and ${count - NAMED} more` : names.join(', ');
    const left = named('leave');
    return left.length === 0 ? 'Empty room' : `Empty room (was ${left.join(', ')})`;
  }

  /** By which the room is listed, and found. */
  function shownName({ roomId, name, alias, version, lastPosition }: Candidate): string {
    const own = name ?? alias;
    if (own !== undefined) return own;
    if (version === '') return roomId;
    const made = namesMade.get(roomId);
    if (made !== undefined && made.lastPosition === lastPosition) return made.name;
    const fresh = nameByMembers(roomId);
    if (lastPosition > 0) namesMade.set(roomId, { name: fresh, lastPosition });
    return fresh;
  }

  async function search(candidates: readonly Candidate[], words: string): Promise<readonly Candidate[]> {
    const wanted = words.trim().toLowerCase();
    if (wanted === '') return candidates;
    const found: Candidate[] = [];
    for (const [index, candidate] of candidates.entries()) {
      if (index % NAMES_AT_ONCE === 0) await nextTurn();
      const { roomId, alias = '' } = candidate;
      const isFound = [roomId, alias, shownName(candidate)].some((text) => text.toLowerCase().includes(wanted));
      if (isFound) found.push(candidate);
    }
    return found;
  }

  function nameOf(roomId: RoomId): string {
    const summary = directory.summaries.find(roomId);
    return summary?.name ?? summary?.canonicalAlias ?? nameByMembers(roomId);
  }

  /** Rooms that somebody here has for talking to one person (spec: "Direct messaging"). */
  function listDirect(): ReadonlySet<string> {
    const direct = new Set<string>();
    for (const userId of accounts.lookup.listLocalUsers()) {
      const content = parts.accountData.find(userId, undefined, 'm.direct') ?? {};
      for (const list of Object.values(content)) {
        if (Array.isArray(list)) for (const each of list) if (typeof each === 'string') direct.add(each);
      }
    }
    return direct;
  }

  function summarise(candidate: Candidate, direct: ReadonlySet<string>): RoomSummary {
    const { roomId, version, alias, isEncrypted, isSpace, bytes } = candidate;
    const latest = rooms.timeline.findLatest(roomId);
    return {
      roomId,
      name: shownName(candidate),
      ...(alias === undefined ? {} : { alias }),
      localMembers: members.listLocalJoined(roomId).length,
      members: members.countMembers(roomId, 'join'),
      isEncrypted,
      isDirect: direct.has(roomId),
      ...(isSpace ? { isSpace } : {}),
      isBlocked: purges.isBlocked(roomId),
      version,
      bytes,
      ...(latest === undefined ? {} : { lastActivityAt: latest.receivedTs }),
    };
  }

  function findInvites(userId: UserId): RoomMember[] {
    return members.listRoomsOf(userId, ['invite']).filter(({ sender }) => serverNameOf(sender) !== serverName);
  }

  function check(roomId: RoomId): void {
    const isKnown =
      state.findCurrent(roomId, 'm.room.create', '') !== undefined || members.listLocal(roomId).length > 0;
    if (!isKnown) throw notFound('There is no such room here');
  }

  return {
    list: async ({ search: words, order, from, limit }) => {
      await sizes.refresh(COUNTING_MS);
      const found = await sortInPieces(await search(await listCandidates(), words), ORDERS[order]);
      const direct = listDirect();
      const page = found.slice(from, from + limit).map((candidate) => summarise(candidate, direct));
      return {
        rooms: page,
        total: found.length,
        ...(from + limit < found.length ? { next: from + limit } : {}),
      };
    },

    get: async (roomId): Promise<RoomDetails> => {
      await sizes.refresh(COUNTING_MS);
      const candidate = findCandidate(roomId);
      if (candidate === undefined) throw notFound('There is no such room here');
      const levels = state.findCurrent(roomId, 'm.room.power_levels', '')?.content;
      const creators = creatorsOf(state.findCurrent(roomId, 'm.room.create', ''));
      const topic = directory.summaries.find(roomId)?.topic;
      const shown = (['join', 'invite', 'knock', 'ban'] as const).flatMap((how) =>
        members.listSome(roomId, how, MEMBERS_SHOWN),
      );
      return {
        ...summarise(candidate, listDirect()),
        ...(topic === undefined ? {} : { topic }),
        membersList: shown.slice(0, MEMBERS_SHOWN).map(({ userId, displayName, membership: how }) => ({
          userId,
          ...(displayName === undefined ? {} : { displayName }),
          membership: how,
          powerLevel: powerOf(userId, levels, creators),
        })),
        servers: members.listServers(roomId).toSorted(),
        events: sizes.of(roomId).events,
        stateEvents: state.currentState(roomId).size,
      };
    },

    nameOf: (roomId) => {
      check(roomId);
      return nameOf(roomId);
    },
    listPresent: (roomId) => {
      check(roomId);
      return members.listLocal(roomId).filter((userId) => {
        const how = members.findMember(roomId, userId)?.membership;
        return how === 'join' || how === 'invite' || how === 'knock';
      });
    },
    leave: async (userId, roomId) => {
      await membership.leave(userId, roomId);
      await db.committed();
    },
    purge: (roomId, onProgress) => purges.purge(roomId, onProgress),
    listPurging: () => purges.list().flatMap(({ roomId, endedTs }) => (endedTs === undefined ? [roomId] : [])),
    setBlocked: async (roomId, blocked) => {
      purges.setBlocked(roomId, blocked);
      await db.committed();
    },

    listStrangerInvites: () =>
      accounts.lookup
        .listLocalUsers()
        .flatMap((userId) => findInvites(userId).map((invite) => describeInvite(parts, invite)))
        .toSorted((a, b) => b.at - a.at),
    declineStrangerInvite: async (userId, roomId) => {
      const invite = findInvites(userId).find((each) => each.roomId === roomId);
      if (invite === undefined || accounts.lookup.find(userId) === undefined) throw notFound('There is no such invite');
      await membership.leave(userId, roomId);
      await db.committed();
    },
  };
}

const ORDERS: Readonly<Record<RoomListing['order'], (a: Candidate, b: Candidate) => number>> = {
  // Rooms without a name come last.
  name: (a, b) => compareNames(a.name ?? a.alias, b.name ?? b.alias) || compareIds(a, b),
  size: (a, b) => b.bytes - a.bytes || compareIds(a, b),
  members: (a, b) => b.members - a.members || compareIds(a, b),
  activity: (a, b) => b.lastPosition - a.lastPosition || compareIds(a, b),
};
const collator = new Intl.Collator('en', { sensitivity: 'base', numeric: true });

function compareIds({ roomId: a }: Candidate, { roomId: b }: Candidate): number {
  return a < b ? -1 : Number(a > b);
}

/** Sorted, with others having their turn meanwhile: thousands of names take a while to compare. */
async function sortInPieces<Item>(items: readonly Item[], compare: (a: Item, b: Item) => number): Promise<Item[]> {
  let runs: Item[][] = [];
  for (let start = 0; start < items.length; start += SORTED_AT_ONCE) {
    runs.push(items.slice(start, start + SORTED_AT_ONCE).sort(compare));
    await nextTurn();
  }
  while (runs.length > 1) {
    const merged: Item[][] = [];
    for (let index = 0; index < runs.length; index += 2) {
      // Made of two that are in order, which the engine's sort takes as they are.
      merged.push([...(runs[index] ?? []), ...(runs[index + 1] ?? [])].sort(compare));
      await nextTurn();
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

function compareNames(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return collator.compare(a, b);
}

/** From room version 12 on, creators stand above all power levels. */
function creatorsOf(create: ReturnType<Composition['rooms']['state']['findCurrent']>): ReadonlySet<string> {
  if (create === undefined || !create.version.privilegedCreators) return new Set();
  const { additional_creators: more } = create.content;
  return new Set([create.sender, ...(Array.isArray(more) ? more.filter((each) => typeof each === 'string') : [])]);
}

/** What administrators of rooms usually have. */
const USUAL_TOP = 100;

/** A user's power; creators are shown with as much as anybody has. */
function powerOf(userId: UserId, levels: JsonObject | undefined, creators: ReadonlySet<string>): number {
  const users = isJsonObject(levels?.['users']) ? levels['users'] : {};
  if (creators.has(userId)) {
    return Object.values(users).reduce<number>((top, level) => Math.max(top, readLevel(level)), USUAL_TOP);
  }
  return readLevel(Object.hasOwn(users, userId) ? users[userId] : levels?.['users_default']);
}

/** Old rooms have levels that are text. */
function readLevel(level: JsonValue | undefined): number {
  const number = typeof level === 'string' ? Number.parseInt(level, 10) : level;
  return typeof number === 'number' && Number.isFinite(number) ? number : 0;
}

function describeInvite({ rooms }: Pick<Parts, 'rooms'>, invite: RoomMember): StrangerInvite {
  const { roomId, userId, sender, eventId } = invite;
  const shown = rooms.members.listStrippedState(roomId, userId);
  const textOf = (type: string, stateKey: string, key: string): string | undefined => {
    const event = shown.find((each) => each['type'] === type && each['state_key'] === stateKey);
    const content = event?.['content'];
    const text = isJsonObject(content) ? content[key] : undefined;
    return typeof text === 'string' && text !== '' ? text : undefined;
  };
  const roomName = textOf('m.room.name', '', 'name') ?? textOf('m.room.canonical_alias', '', 'alias');
  const senderName = textOf('m.room.member', sender, 'displayname');
  return {
    userId,
    roomId,
    ...(roomName === undefined ? {} : { roomName }),
    sender,
    ...(senderName === undefined ? {} : { senderName }),
    at: rooms.events.findEvent(eventId)?.receivedTs ?? 0,
  };
}

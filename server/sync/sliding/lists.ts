import { isRoomId, type RoomId, type UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { EventReader, StateReader } from '../../rooms/types.ts';
import type { ListFilters, ListRequest, RoomConfig, SlidingRequest } from './request.ts';
import type { ListedRoom, RoomIndex } from './room-index.ts';

/** What modules know of a user's rooms that lists are made by. */
export interface RoomLabels {
  /** The content of their `m.direct`: whom they write to, with the rooms for it (spec: "Direct Messaging"). */
  findDirectRooms(userId: UserId): JsonObject | undefined;
  /** The names of the tags of those rooms that have any. */
  taggedRooms(userId: UserId): ReadonlyMap<RoomId, ReadonlySet<string>>;
}

export interface ListNeeds {
  readonly index: RoomIndex;
  readonly labels: RoomLabels;
  readonly state: Pick<StateReader, 'currentState'>;
  readonly events: Pick<EventReader, 'listEvents'>;
}

/** A room that a request asks for, and how. */
export interface WantedRoom {
  readonly room: ListedRoom;
  readonly config: RoomConfig;
  /** The lists in whose window it stands. */
  readonly lists: readonly string[];
}

export interface Wanted {
  /** How many rooms each list has, in its window or not. */
  readonly counts: ReadonlyMap<string, number>;
  readonly rooms: ReadonlyMap<RoomId, WantedRoom>;
}

export interface Viewer {
  readonly userId: UserId;
  readonly ignoredUsers: ReadonlySet<UserId>;
  readonly directRooms: ReadonlySet<RoomId>;
  /** Whether invites of this user are kept from the viewer. */
  readonly isHidden: (inviter: UserId) => boolean;
}

interface Match {
  readonly room: ListedRoom;
  readonly lists: string[];
  readonly configs: RoomConfig[];
}

/** The rooms that stand in the windows of the lists, or are subscribed to. Everything is looked up in memory but what a filter asks for. */
export function findWanted(needs: ListNeeds, request: SlidingRequest, viewer: Viewer): Wanted {
  const { rooms: listed, order } = needs.index.of(viewer.userId);
  const shown = order.filter((room) => isShown(needs, room, viewer));
  const counts = new Map<string, number>();
  const matches = new Map<RoomId, Match>();
  for (const [name, list] of request.lists) {
    const test = filterTest(needs, list.filters, viewer);
    const filtered = test === undefined ? shown : shown.filter(test);
    counts.set(name, filtered.length);
    for (const room of windowOf(filtered, list)) {
      const match = matches.get(room.roomId);
      if (match === undefined) matches.set(room.roomId, { room, lists: [name], configs: [list.config] });
      else {
        match.lists.push(name);
        match.configs.push(list.config);
      }
    }
  }
  for (const [roomId, config] of request.subscriptions) {
    const match = matches.get(roomId);
    if (match !== undefined) match.configs.push(config);
    else {
      const room = findSubscribed(needs, listed.get(roomId), roomId, viewer);
      if (room !== undefined) matches.set(roomId, { room, lists: [], configs: [config] });
    }
  }
  const combine = combiner();
  const wanted = new Map<RoomId, WantedRoom>();
  for (const [roomId, { room, lists, configs }] of matches) {
    wanted.set(roomId, { room, lists, config: combine(configs) });
  }
  return { counts, rooms: wanted };
}

/** The rooms that are direct messages to a user. Clients write what they like there: the rest is passed over. */
export function directRoomsOf({ labels }: Pick<ListNeeds, 'labels'>, userId: UserId): ReadonlySet<RoomId> {
  const lists = Object.values(labels.findDirectRooms(userId) ?? {}).filter((list) => Array.isArray(list));
  return new Set(lists.flat().filter((roomId) => typeof roomId === 'string' && isRoomId(roomId)));
}

function isShown({ index }: ListNeeds, room: ListedRoom, { userId, ignoredUsers, isHidden }: Viewer): boolean {
  const { membership, sender } = room.member;
  if (membership === 'invite') return !ignoredUsers.has(sender) && !isHidden(sender);
  // To forget a room moves nothing in the stream, so the index has not heard of it.
  return room.departed === undefined || !index.isForgotten(userId, room.roomId);
}

/** Those who are or were in a room, or were asked in, may see it; nobody else yet (MSC4186, "Subscriptions"). */
function findSubscribed(
  needs: ListNeeds,
  listed: ListedRoom | undefined,
  roomId: RoomId,
  viewer: Viewer,
): ListedRoom | undefined {
  if (listed !== undefined) return isShown(needs, listed, viewer) ? listed : undefined;
  const room = needs.index.findDeparted(viewer.userId, roomId);
  return room?.departed?.leftAt === undefined || room.member.forgotten ? undefined : room;
}

function windowOf(rooms: readonly ListedRoom[], { ranges }: ListRequest): Iterable<ListedRoom> {
  if (ranges === undefined) return rooms;
  const [only] = ranges;
  if (ranges.length === 1 && only !== undefined) return rooms.slice(only[0], only[1] + 1);
  return new Set(ranges.flatMap(([from, to]) => rooms.slice(from, to + 1)));
}

type Test = (room: ListedRoom) => boolean;

/** Undefined if the filter lets everything through. */
function filterTest(needs: ListNeeds, filters: ListFilters, viewer: Viewer): Test | undefined {
  const { isDm, isEncrypted, isInvited, roomTypes, notRoomTypes, spaces, tags, notTags } = filters;
  const tests: Test[] = [];
  if (isInvited !== undefined) tests.push(({ member }) => (member.membership === 'invite') === isInvited);
  if (isDm !== undefined) tests.push(({ roomId }) => viewer.directRooms.has(roomId) === isDm);
  if (tags !== undefined || notTags.length > 0) {
    const tagged = needs.labels.taggedRooms(viewer.userId);
    const hasAny = (roomId: RoomId, names: readonly string[]): boolean => {
      const own = tagged.get(roomId);
      return own !== undefined && names.some((name) => own.has(name));
    };
    tests.push(({ roomId }) => !hasAny(roomId, notTags) && (tags === undefined || hasAny(roomId, tags)));
  }
  if (spaces !== undefined) {
    const children = childrenOf(needs, spaces, viewer.userId);
    tests.push(({ roomId }) => children.has(roomId));
  }
  if (isEncrypted !== undefined) tests.push((room) => needs.index.factsOf(room).encrypted === isEncrypted);
  if (roomTypes !== undefined || notRoomTypes.length > 0) {
    tests.push((room) => {
      const { type } = needs.index.factsOf(room);
      if (type === undefined || notRoomTypes.includes(type)) return false;
      return roomTypes === undefined || roomTypes.includes(type);
    });
  }
  return tests.length === 0 ? undefined : (room) => tests.every((test) => test(room));
}

/** The rooms named by spaces that the viewer is in; a child without a server to go through is none (spec: `m.space.child`). */
function childrenOf({ index, state, events }: ListNeeds, spaces: readonly RoomId[], userId: UserId): Set<string> {
  const { rooms } = index.of(userId);
  const children = new Set<string>();
  for (const space of spaces) {
    if (rooms.get(space)?.member.membership !== 'join') continue;
    const links = state.currentState(space).listType('m.space.child');
    for (const { stateKey, content } of events.listEvents(links.map(([, eventId]) => eventId))) {
      if (stateKey !== undefined && Array.isArray(content['via'])) children.add(stateKey);
    }
  }
  return children;
}

/** Joins what several rules want of one room (MSC4186, "Combining room configs"); the same ones only once. */
function combiner(): (configs: readonly RoomConfig[]) => RoomConfig {
  const known = new Map<RoomConfig, Map<RoomConfig, RoomConfig>>();
  const join = (a: RoomConfig, b: RoomConfig): RoomConfig => {
    const joined = known.get(a)?.get(b) ?? {
      timelineLimit: Math.max(a.timelineLimit, b.timelineLimit),
      required: a.required.union(b.required),
    };
    known.set(a, (known.get(a) ?? new Map<RoomConfig, RoomConfig>()).set(b, joined));
    return joined;
  };
  return (configs) => configs.reduce(join);
}

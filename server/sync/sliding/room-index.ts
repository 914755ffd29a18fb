import { LRUCache } from 'lru-cache';
import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../matrix/json.ts';
import type {
  EventReader,
  Membership,
  MembershipReader,
  RoomMember,
  StateReader,
  Timeline,
} from '../../rooms/types.ts';
import type { Database, StreamPosition } from '../../storage/types.ts';
import { atMost } from '../../util/lru.ts';
import { type DepartedRoom, findDeparture } from '../own-changes.ts';

const REMEMBERED_USERS = 200;
const LISTED: readonly Membership[] = ['join', 'invite', 'knock', 'leave', 'ban'];

/** What lists tell rooms apart by. */
export interface RoomFacts {
  /** Undefined where we cannot know: of an invite that came without the room's state. */
  readonly encrypted: boolean | undefined;
  readonly type: string | null | undefined;
}

/** A room as it stands in a user's list. */
export interface ListedRoom {
  readonly roomId: RoomId;
  readonly member: RoomMember;
  /** Where the stream last moved it: the order of the list. */
  readonly activity: StreamPosition;
  /** Set for a room the user is out of: how that came about. */
  readonly departed: DepartedRoom | undefined;
}

interface Remembered {
  readonly at: StreamPosition;
  readonly rooms: ReadonlyMap<RoomId, ListedRoom>;
  /** The most recently active first. */
  readonly order: readonly ListedRoom[];
}

export interface RoomIndexNeeds {
  readonly db: Pick<Database, 'position' | 'committed'>;
  readonly members: Pick<
    MembershipReader,
    'findMember' | 'listRoomsOf' | 'listMembershipChanges' | 'membershipAt' | 'listStrippedState'
  >;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly timeline: Pick<Timeline, 'listActiveRooms' | 'findLatest'>;
  /** Rooms that never appear in /sync. */
  readonly excluded: ReadonlySet<RoomId>;
}

/**
 * Each user's rooms by recent activity (MSC4186, "Lists"): joined, invited and knocked on, and those they were put out
 * of. Kept up by what changed since a user was last asked for.
 */
export class RoomIndex {
  readonly #needs: RoomIndexNeeds;
  readonly #remembered = new LRUCache<UserId, Remembered>(atMost(REMEMBERED_USERS));
  readonly #facts = new WeakMap<ListedRoom, RoomFacts>();

  constructor(needs: RoomIndexNeeds) {
    this.#needs = needs;
  }

  /** Memberships of these users are gone without having changed. */
  forget(users: readonly UserId[]): void {
    for (const userId of users) this.#remembered.delete(userId);
  }

  /** As it is now. Not to be changed; it does not change either. */
  of(userId: UserId): Pick<Remembered, 'rooms' | 'order'> {
    const now = this.#needs.db.position();
    const known = this.#remembered.get(userId);
    if (known?.at === now) return known;
    const made = known === undefined ? this.#list(userId, now) : this.#follow(userId, known, now);
    this.#remembered.set(userId, made);
    // What was read may yet be undone with its transaction, and its position would not come again to tell.
    this.#needs.db.committed().catch(() => this.#remembered.delete(userId));
    return made;
  }

  /** A room that is not in the list, as one the user is out of; undefined if they never had a place in it. */
  findDeparted(userId: UserId, roomId: RoomId): ListedRoom | undefined {
    const member = this.#needs.excluded.has(roomId) ? undefined : this.#needs.members.findMember(roomId, userId);
    if (member === undefined || (member.membership !== 'leave' && member.membership !== 'ban')) return undefined;
    return { roomId, member, activity: member.position, departed: findDeparture(this.#needs, member) };
  }

  /** Whether the user wants to hear no more of the room. */
  isForgotten(userId: UserId, roomId: RoomId): boolean {
    return this.#needs.members.findMember(roomId, userId)?.forgotten !== false;
  }

  /** Looked up when first asked for, since most lists do not ask. */
  factsOf(room: ListedRoom): RoomFacts {
    const known = this.#facts.get(room);
    if (known !== undefined) return known;
    const facts = this.#findFacts(room);
    this.#facts.set(room, facts);
    return facts;
  }

  #findFacts({ roomId, member }: ListedRoom): RoomFacts {
    const { state, members } = this.#needs;
    const create = state.findCurrent(roomId, 'm.room.create', '');
    if (create !== undefined) {
      const encrypted = state.findCurrent(roomId, 'm.room.encryption', '') !== undefined;
      return { encrypted, type: typeOf(create.content) };
    }
    const stripped = members.listStrippedState(roomId, member.userId);
    const shown = stripped.find(({ type }) => type === 'm.room.create');
    if (shown === undefined) return { encrypted: undefined, type: undefined };
    const content = shown['content'];
    return {
      encrypted: stripped.some(({ type }) => type === 'm.room.encryption'),
      type: isJsonObject(content) ? typeOf(content) : null,
    };
  }

  #list(userId: UserId, now: StreamPosition): Remembered {
    const rooms = new Map<RoomId, ListedRoom>();
    for (const member of this.#needs.members.listRoomsOf(userId, LISTED)) this.#put(rooms, member, now);
    return { at: now, rooms, order: inOrder(rooms) };
  }

  #follow(userId: UserId, known: Remembered, now: StreamPosition): Remembered {
    const changes = this.#needs.members.listMembershipChanges(userId, known.at, now);
    const active = this.#needs.timeline.listActiveRooms(known.at, now).filter((roomId) => known.rooms.has(roomId));
    if (changes.length === 0 && active.length === 0) return { ...known, at: now };
    const rooms = new Map(known.rooms);
    const moved = new Map(changes.map(({ roomId, after }) => [roomId, after]));
    for (const roomId of active) {
      const room = known.rooms.get(roomId);
      if (room !== undefined && !moved.has(roomId)) moved.set(roomId, room.member);
    }
    for (const member of moved.values()) this.#put(rooms, member, now);
    return { at: now, rooms, order: inOrder(rooms) };
  }

  #put(rooms: Map<RoomId, ListedRoom>, member: RoomMember, now: StreamPosition): void {
    const { roomId, membership, position } = member;
    rooms.delete(roomId);
    if (this.#needs.excluded.has(roomId)) return;
    if (membership === 'join') {
      const activity = this.#needs.timeline.findLatest(roomId, now)?.position ?? position;
      rooms.set(roomId, { roomId, member, activity, departed: undefined });
    } else if (membership === 'invite' || membership === 'knock') {
      rooms.set(roomId, { roomId, member, activity: position, departed: undefined });
    } else if (member.sender !== member.userId && !member.forgotten) {
      // Who leaves knows; who is put out may not. Who was never in it has lost nothing to see.
      const departed = findDeparture(this.#needs, member);
      if (departed.leftAt !== undefined) rooms.set(roomId, { roomId, member, activity: position, departed });
    }
  }
}

function typeOf(content: JsonObject): string | null {
  const type = content['type'];
  return typeof type === 'string' ? type : null;
}

function inOrder(rooms: ReadonlyMap<RoomId, ListedRoom>): ListedRoom[] {
  return [...rooms.values()].sort((a, b) => b.activity - a.activity || (a.roomId < b.roomId ? -1 : 1));
}

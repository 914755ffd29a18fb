import { redactEvent } from '../matrix/events/redact.ts';
import type { RoomEvent } from '../matrix/events/event.ts';
import { isUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../matrix/identifiers.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { ServerVisibility } from './federation-types.ts';
import { type Members, membershipOf } from './membership.ts';
import type { StateGroupId, StateGroups } from './state-groups.ts';
import type { PersistedEvent } from './types.ts';
import { type HistoryVisibility, readVisibility } from './visibility.ts';

/** What a room's state is checked against: whoever is in the room needs them whole, and gets them as auth chains anyway. */
const AUTH_TYPES: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.power_levels',
  'm.room.join_rules',
  'm.room.member',
  'm.room.third_party_invite',
]);

/** So many users are looked up one by one in a state sooner than two states are compared. */
const FEW = 50;

interface Parts {
  readonly events: EventStore;
  readonly groups: StateGroups;
  readonly members: Pick<Members, 'hasServer' | 'listUsersOf'>;
  readonly isErased: (userId: UserId) => boolean;
}

/**
 * What other servers may see of a room's history. The rules are those for users (spec: client-server API, "Room History
 * Visibility"), with a server seeing what any of its users may; what it may not see it gets redacted, so that the graph
 * stays whole.
 */
export class VisibilityToServers implements ServerVisibility {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  isInRoom(server: ServerName, roomId: RoomId): boolean {
    return this.#parts.members.hasServer(roomId, server);
  }

  show(server: ServerName, events: readonly PersistedEvent[]): readonly RoomEvent[] {
    const views = new Map<RoomId, ServerView>();
    return events.map((event) => {
      let view = views.get(event.roomId);
      if (view === undefined) views.set(event.roomId, (view = new ServerView(server, event.roomId, this.#parts)));
      return view.canSee(event) ? event : redactEvent(event);
    });
  }
}

/** Who of a server is in a room at one point: somebody joined, somebody invited, if there is anybody. */
interface Presence {
  readonly state: StateGroupId;
  readonly joined: UserId | undefined;
  readonly invited: UserId | undefined;
}

/** One server looking at one room. What was found out about a state is kept: most events in a row have nearly the same. */
class ServerView {
  readonly #server: ServerName;
  readonly #roomId: RoomId;
  readonly #parts: Parts;
  readonly #isInRoom: boolean;
  readonly #visibilities = new Map<StateGroupId, HistoryVisibility>();
  #presence: Presence | undefined;
  #users: readonly UserId[] | undefined;

  constructor(server: ServerName, roomId: RoomId, parts: Parts) {
    this.#server = server;
    this.#roomId = roomId;
    this.#parts = parts;
    this.#isInRoom = parts.members.hasServer(roomId, server);
  }

  canSee(event: PersistedEvent): boolean {
    // They wrote it.
    if (serverNameOf(event.sender) === this.#server) return true;
    const stored = this.#parts.events.asStored(event);
    if (stored === undefined || stored.verdict === 'rejected') return false;
    // Whoever was there to hear it has it: this is for those who ask again.
    if (this.#parts.isErased(stored.sender)) return false;
    const isState = stored.stateKey !== undefined;
    if (this.#isInRoom && isState && AUTH_TYPES.has(stored.type)) return true;
    // Of these is known that they were part of some state, which whoever is in the room can ask for.
    if (stored.stateBefore === undefined || stored.stateAfter === undefined) return this.#isInRoom && isState;
    if (this.#allows(stored.stateBefore)) return true;
    // Events that change what is asked for may be seen by what held before or by what holds after them.
    return this.#changesOutlook(stored) && this.#allows(stored.stateAfter);
  }

  #changesOutlook({ type, stateKey }: StoredEvent): boolean {
    if (type === 'm.room.history_visibility') return stateKey === '';
    return type === 'm.room.member' && stateKey !== undefined && this.#isOurs(stateKey);
  }

  #allows(state: StateGroupId): boolean {
    const visibility = this.#visibilityIn(state);
    // 1
    if (visibility === 'world_readable') return true;
    // 3: whoever is in the room now joined after the event, if not before it.
    if (visibility === 'shared' && this.#isInRoom) return true;
    const { joined, invited } = this.#presenceIn(state);
    // 2, 4
    return joined !== undefined || (visibility === 'invited' && invited !== undefined);
  }

  #visibilityIn(state: StateGroupId): HistoryVisibility {
    const known = this.#visibilities.get(state);
    if (known !== undefined) return known;
    const { events, groups } = this.#parts;
    const nid = groups.find(state, 'm.room.history_visibility', '');
    const visibility = readVisibility(nid === undefined ? undefined : events.getByNid(nid));
    this.#visibilities.set(state, visibility);
    return visibility;
  }

  #presenceIn(state: StateGroupId): Presence {
    const last = this.#presence;
    if (last?.state === state) return last;
    this.#users ??= this.#parts.members.listUsersOf(this.#roomId, this.#server);
    const users = this.#users;
    // Where a server has many users, only those are looked at whose place differs from the state that was asked about before.
    const changed = last === undefined || users.length <= FEW ? undefined : this.#usersThatDiffer(last.state, state);
    const find = (membership: 'join' | 'invite', was: UserId | undefined): UserId | undefined => {
      const isIt = (userId: UserId): boolean => this.#membershipIn(state, userId) === membership;
      if (changed?.length === 0 || (was !== undefined && isIt(was))) return was;
      const among = changed?.find(isIt);
      // Where there was nobody, nobody else can have become it.
      if (among !== undefined || (changed !== undefined && was === undefined)) return among;
      return users.find(isIt);
    };
    this.#presence = { state, joined: find('join', last?.joined), invited: find('invite', last?.invited) };
    return this.#presence;
  }

  #usersThatDiffer(from: StateGroupId, to: StateGroupId): UserId[] {
    const users: UserId[] = [];
    for (const { type, stateKey } of this.#parts.groups.difference(from, to)) {
      if (type === 'm.room.member' && isUserId(stateKey) && this.#isOurs(stateKey)) users.push(stateKey);
    }
    return users;
  }

  #membershipIn(state: StateGroupId, userId: UserId): string | undefined {
    const { events, groups } = this.#parts;
    const nid = groups.find(state, 'm.room.member', userId);
    return nid === undefined ? undefined : membershipOf(events.getByNid(nid));
  }

  /** Whether a user is one of the server that looks. */
  #isOurs(userId: string): boolean {
    return isUserId(userId) && serverNameOf(userId) === this.#server;
  }
}

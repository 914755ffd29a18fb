import { LRUCache } from 'lru-cache';
import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import type { EventReader, MembershipReader, RoomMember, RoomState, StateReader } from '../rooms/types.ts';
import type { Database, StreamPosition } from '../storage/types.ts';
import { findRoomChange } from './room-change.ts';
import { atMost } from '../util/lru.ts';

/** Heroes a client is shown (spec: `m.heroes`). */
const HEROES = 5;
const REMEMBERED_ROOMS = 2_000;

interface Remembered {
  readonly at: StreamPosition;
  /** One more than is shown, since the viewer is never among those shown. */
  readonly candidates: readonly UserId[];
}

export interface RoomSummary {
  readonly json: JsonObject;
  readonly heroes: readonly UserId[];
}

/** Counts and heroes of rooms (spec: /sync, RoomSummary). */
export class RoomSummaries {
  readonly #db: Pick<Database, 'position' | 'committed'>;
  readonly #members: Pick<MembershipReader, 'listMembers' | 'countMembers'>;
  readonly #events: Pick<EventReader, 'findEvent'>;
  readonly #state: Pick<StateReader, 'stateAt' | 'difference'>;
  readonly #remembered = new LRUCache<RoomId, Remembered>(atMost(REMEMBERED_ROOMS));

  constructor(needs: {
    db: Pick<Database, 'position' | 'committed'>;
    members: Pick<MembershipReader, 'listMembers' | 'countMembers'>;
    events: Pick<EventReader, 'findEvent'>;
    state: Pick<StateReader, 'stateAt' | 'difference'>;
  }) {
    this.#db = needs.db;
    this.#members = needs.members;
    this.#events = needs.events;
    this.#state = needs.state;
  }

  /** The summary of a room for a member of it; heroes only where the room has neither name nor alias. */
  of(roomId: RoomId, viewer: UserId, state: RoomState): RoomSummary {
    const json: Record<string, JsonValue> = {
      'm.joined_member_count': this.#members.countMembers(roomId, 'join'),
      'm.invited_member_count': this.#members.countMembers(roomId, 'invite'),
    };
    if (this.#hasText(state, 'm.room.name', 'name') || this.#hasText(state, 'm.room.canonical_alias', 'alias')) {
      return { json, heroes: [] };
    }
    const heroes = this.heroes(roomId, viewer);
    json['m.heroes'] = heroes;
    return { json, heroes };
  }

  /**
   * Up to five others after whom the room may be called: the first of those joined or invited, in the order of the
   * stream, or, where there are none, of those who have left.
   */
  heroes(roomId: RoomId, viewer: UserId): UserId[] {
    return this.#candidates(roomId, viewer)
      .filter((user) => user !== viewer)
      .slice(0, HEROES);
  }

  #candidates(roomId: RoomId, viewer: UserId): readonly UserId[] {
    const now = this.#db.position();
    const known = this.#remembered.get(roomId);
    if (known !== undefined && known.at < now) {
      const change = findRoomChange({ state: this.#state, events: this.#events }, roomId, known.at, now);
      if (change.memberships.size === 0) {
        this.#remember(roomId, { at: now, candidates: known.candidates });
        return known.candidates;
      }
    } else if (known !== undefined) {
      return known.candidates;
    }
    const present = [...this.#members.listMembers(roomId, 'join'), ...this.#members.listMembers(roomId, 'invite')];
    if (present.some(({ userId }) => userId !== viewer)) {
      const candidates = firstOf(present);
      this.#remember(roomId, { at: now, candidates });
      return candidates;
    }
    // Whoever is left alone sees who was there: rare, and different for each viewer, so not worth remembering.
    return firstOf([...this.#members.listMembers(roomId, 'leave'), ...this.#members.listMembers(roomId, 'ban')]);
  }

  #remember(roomId: RoomId, entry: Remembered): void {
    this.#remembered.set(roomId, entry);
    // What was read may yet be undone with its transaction.
    this.#db.committed().catch(() => this.#remembered.delete(roomId));
  }

  #hasText(state: RoomState, type: string, key: string): boolean {
    const eventId = state.find(type, '');
    const value = eventId === undefined ? undefined : this.#events.findEvent(eventId)?.content[key];
    return typeof value === 'string' && value !== '';
  }
}

function firstOf(members: readonly RoomMember[]): UserId[] {
  return [...members]
    .sort((a, b) => a.position - b.position || (a.userId < b.userId ? -1 : 1))
    .slice(0, HEROES + 1)
    .map(({ userId }) => userId);
}

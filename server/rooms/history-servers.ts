import { LRUCache } from 'lru-cache';
import type { Destinations } from '../federation/types.ts';
import { isUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../matrix/identifiers.ts';
import { isJsonObject } from '../matrix/json.ts';
import type { Clock } from '../util/clock.ts';
import { atMost } from '../util/lru.ts';
import type { MembershipReader, StateReader } from './types.ts';

interface Parts {
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly members: Pick<MembershipReader, 'listServers'>;
  readonly destinations: Pick<Destinations, 'readyAt'> | undefined;
}

const MOST_SERVERS = 5;
/** Rooms of which is remembered who answered last. */
const REMEMBERED = 1_000;

/** Whom to ask for a room's past. */
export class HistoryServers {
  readonly #parts: Parts;
  readonly #lastGood = new LRUCache<RoomId, ServerName>(atMost(REMEMBERED));

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * A few servers of the room, the most promising first: who answered last; those of `likely` users; those of the room's
   * creator and moderators, who as a rule have been there for long; any others. Who is being left alone is left out.
   */
  choose(roomId: RoomId, likely: readonly UserId[]): ServerName[] {
    const { clock, serverName, members, destinations } = this.#parts;
    const present = new Set(members.listServers(roomId));
    const lastGood = this.#lastGood.get(roomId);
    const elders = this.#listElders(roomId)
      .map(serverNameOf)
      .filter((server) => present.has(server));
    const candidates = new Set([
      ...(lastGood === undefined ? [] : [lastGood]),
      ...likely.map(serverNameOf),
      ...elders,
      ...present,
    ]);
    const chosen: ServerName[] = [];
    for (const server of candidates) {
      if (chosen.length === MOST_SERVERS) break;
      if (server === serverName || (destinations?.readyAt(server) ?? 0) > clock.now()) continue;
      chosen.push(server);
    }
    return chosen;
  }

  /** It gave what was asked for. */
  answered(roomId: RoomId, server: ServerName): void {
    this.#lastGood.set(roomId, server);
  }

  #listElders(roomId: RoomId): UserId[] {
    const { state } = this.#parts;
    const creator = state.findCurrent(roomId, 'm.room.create', '')?.sender;
    const levels = state.findCurrent(roomId, 'm.room.power_levels', '')?.content['users'];
    const moderators = Object.entries(isJsonObject(levels) ? levels : {})
      .filter(([userId, level]) => isUserId(userId) && typeof level === 'number' && level > 0)
      .toSorted(([, a], [, b]) => Number(b) - Number(a))
      .map(([userId]) => userId)
      .filter(isUserId);
    return [...(creator === undefined ? [] : [creator]), ...moderators];
  }
}

import { LRUCache } from 'lru-cache';
import { isUserId, type RoomAlias, type RoomId, type UserId } from '../../../matrix/identifiers.ts';
import type { MembershipReader, PersistedEvent, StateDelta } from '../../../rooms/types.ts';
import type { WriteTx } from '../../../storage/types.ts';
import { atMost } from '../../../util/lru.ts';
import type { ApplicationService } from './registry.ts';

/** Rooms of which it is remembered who has users in them. */
const REMEMBERED_ROOMS = 5_000;

export interface InterestNeeds {
  readonly services: readonly ApplicationService[];
  readonly members: Pick<MembershipReader, 'isJoined' | 'listLocalJoined' | 'listRoomsOf'>;
  readonly listAliases: (roomId: RoomId) => readonly RoomAlias[];
}

/** Which application services what happens is for (spec: application service API, "Registration"). */
export class Interest {
  readonly #needs: InterestNeeds;
  /** Services with a user in the room. */
  readonly #present = new LRUCache<RoomId, Set<ApplicationService>>(atMost(REMEMBERED_ROOMS));

  constructor(needs: InterestNeeds) {
    this.#needs = needs;
  }

  /** Whether a user of the service is in the room. */
  isPresent(service: ApplicationService, roomId: RoomId): boolean {
    return this.#presentIn(roomId).has(service);
  }

  /** Whether all that happens in the room is for the service. */
  concernsRoom(service: ApplicationService, roomId: RoomId): boolean {
    return (
      service.hasRoom(roomId) ||
      (service.knowsAliases && this.#needs.listAliases(roomId).some((alias) => service.hasAlias(alias))) ||
      this.isPresent(service, roomId)
    );
  }

  concernsEvent(service: ApplicationService, { type, sender, stateKey, roomId }: PersistedEvent): boolean {
    // Who makes a room is not in it yet when its first event comes.
    if (service.covers(sender)) return true;
    const target = type === 'm.room.member' && stateKey !== undefined && isUserId(stateKey) ? stateKey : undefined;
    return (target !== undefined && service.covers(target)) || this.concernsRoom(service, roomId);
  }

  /** Whether the user is the service's, or in a room with one of its users. */
  concernsUser(service: ApplicationService, userId: UserId): boolean {
    return service.covers(userId) || this.meets(service, userId);
  }

  /** Whether the user is in a room with one of the service's users. */
  meets(service: ApplicationService, userId: UserId): boolean {
    return this.#needs.members.listRoomsOf(userId, ['join']).some(({ roomId }) => this.isPresent(service, roomId));
  }

  /** Takes note of who came and went, in the write that stores it. */
  review(tx: WriteTx, roomId: RoomId, deltas: readonly StateDelta[]): void {
    for (const { type, stateKey } of deltas) {
      if (type !== 'm.room.member' || !isUserId(stateKey)) continue;
      const concerned = this.#needs.services.filter((service) => service.covers(stateKey));
      if (concerned.length === 0) continue;
      // Also where nothing is remembered yet: what is looked up before the write is undone would be remembered wrongly.
      tx.onRollback(() => this.#present.delete(roomId));
      const present = this.#present.peek(roomId);
      if (present === undefined) continue;
      // Whether another of its users is still there is only known from the list of them all.
      if (this.#needs.members.isJoined(roomId, stateKey)) for (const service of concerned) present.add(service);
      else this.#present.delete(roomId);
    }
  }

  #presentIn(roomId: RoomId): Set<ApplicationService> {
    const known = this.#present.get(roomId);
    if (known !== undefined) return known;
    const present = new Set<ApplicationService>();
    const { services, members } = this.#needs;
    for (const userId of members.listLocalJoined(roomId)) {
      if (present.size === services.length) break;
      for (const service of services) if (service.covers(userId)) present.add(service);
    }
    this.#present.set(roomId, present);
    return present;
  }
}

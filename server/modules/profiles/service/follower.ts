import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import type { EventSender, MembershipReader, StateReader } from '../../../rooms/types.ts';
import type { Follower } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';
import type { ProfileStore } from '../store.ts';

export interface ProfileFollowerNeeds {
  readonly log: Logger;
  readonly store: ProfileStore;
  readonly rooms: Pick<MembershipReader, 'listRoomsOf' | 'isJoined'>;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly sender: Pick<EventSender, 'send'>;
}

/** What told how somebody came to be in the room; a new event that only changes their name must not repeat it. */
const ONLY_ONCE = new Set(['reason', 'is_direct', 'third_party_invite', 'join_authorised_via_users_server']);

/**
 * Tells all rooms of a user when they change their name or picture (spec: "Events on Change of Profile Information"). It
 * goes on after a restart; rooms that were told already are passed over, since nothing would change there.
 */
export function profileFollower({ log, store, rooms, state, sender }: ProfileFollowerNeeds): Follower {
  /** The content of their member event as it should be; undefined if it is that already, or they are not in the room. */
  function contentFor(userId: UserId, roomId: RoomId): JsonObject | undefined {
    // Read anew for each room: they may have changed it again, or left, while other rooms were being told.
    const face = store.findFace(userId);
    const current = state.findCurrent(roomId, 'm.room.member', userId)?.content;
    if (face === undefined || current === undefined || !rooms.isJoined(roomId, userId)) return undefined;
    const { displayName, avatarUrl } = face;
    if (current['displayname'] === displayName && current['avatar_url'] === avatarUrl) return undefined;
    const content: Record<string, JsonValue> = {};
    for (const [key, value] of Object.entries(current)) {
      if (!ONLY_ONCE.has(key) && key !== 'displayname' && key !== 'avatar_url') content[key] = value;
    }
    if (displayName !== undefined) content['displayname'] = displayName;
    if (avatarUrl !== undefined) content['avatar_url'] = avatarUrl;
    return content;
  }

  async function tellRooms(userId: UserId, stopping: AbortSignal): Promise<void> {
    for (const { roomId } of rooms.listRoomsOf(userId, ['join'])) {
      if (stopping.aborted) return;
      const content = contentFor(userId, roomId);
      if (content === undefined) continue;
      try {
        await sender.send({ roomId, type: 'm.room.member', stateKey: userId, sender: userId, content });
      } catch (error) {
        // One room must not keep the others from hearing it; the next change tries it again.
        log.warn({ error, userId, roomId }, 'a room could not be told of a changed profile');
      }
      await nextTurn();
    }
  }

  return {
    name: 'profiles',
    follow: async (since, now, stopping) => {
      const users = store.listNewFaces(since, now);
      for (const userId of users) await tellRooms(userId, stopping);
      if (users.length === 0 || stopping.aborted) return undefined;
      // The cursor is to be stored now: what a user calls themselves in one room, later, must not be undone by a repeat.
      return () => {};
    },
  };
}

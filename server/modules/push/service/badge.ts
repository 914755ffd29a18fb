import type { UserId } from '../../../matrix/identifiers.ts';
import type { MembershipReader } from '../../../rooms/types.ts';
import type { UnreadStore } from '../store/unread.ts';

/** How much a user has not read, as one number. */
export type CountUnread = (userId: UserId) => number;

/**
 * Counts for the number on an app's icon: each invite is one, and of the rooms the user is in either each with something
 * unread is one (`countRooms`), or each of its notifications.
 */
export function unreadCounter({
  store,
  members,
  countRooms,
}: {
  readonly store: Pick<UnreadStore, 'listRoomTotals'>;
  readonly members: Pick<MembershipReader, 'listRoomsOf'>;
  readonly countRooms: boolean;
}): CountUnread {
  return (userId) => {
    const invited = new Set(members.listRoomsOf(userId, ['invite']).map(({ roomId }) => roomId));
    let badge = invited.size;
    for (const { roomId, notifications } of store.listRoomTotals(userId)) {
      if (!invited.has(roomId)) badge += countRooms ? 1 : notifications;
    }
    return badge;
  };
}

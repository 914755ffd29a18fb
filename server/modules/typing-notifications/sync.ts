import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { RoomSyncPart, SyncContribution } from '../../sync/types.ts';
import type { Typing } from './service.ts';

/** The m.typing of rooms where somebody started or stopped, and of rooms new to the viewer in which somebody types. */
export function typingContribution(typing: Typing): SyncContribution {
  return {
    name: 'typing-notifications',
    sliding: 'typing',
    contribute: (window) => {
      const rooms = new Map<RoomId, RoomSyncPart>();
      const add = (roomId: RoomId, users: ReadonlySet<UserId>): void => {
        const shown = [...users].filter((user) => !window.ignoredUsers.has(user));
        rooms.set(roomId, { ephemeral: [{ type: 'm.typing', content: { user_ids: shown } }] });
      };
      for (const [roomId, users] of typing.listSince(window.since, window.now)) {
        if (window.joined.has(roomId)) add(roomId, users);
      }
      if (!window.initial) {
        for (const [roomId, room] of window.joined) {
          const users = room.newlyJoined ? typing.listIn(roomId) : undefined;
          if (users !== undefined && users.size > 0) add(roomId, users);
        }
      }
      return { rooms };
    },
  };
}

import type { Edu, EduHandler } from '../../federation/types.ts';
import { badJson } from '../../matrix/errors.ts';
import { isRoomId, isUserId, type RoomId, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { ServerAcls } from '../../rooms/federation-types.ts';
import type { Typing } from './service.ts';

/** m.typing (server-server API, "Typing notifications"): a server speaks for its own users only. */
export function typingEdu({ typing, acls }: { typing: Typing; acls: ServerAcls }): EduHandler {
  return {
    accept: (origin, content) => {
      const { room_id: roomId, user_id: userId, typing: isTyping } = content;
      if (typeof roomId !== 'string' || !isRoomId(roomId)) throw badJson('room_id is not a room ID');
      if (typeof userId !== 'string' || !isUserId(userId)) throw badJson('user_id is not a user ID');
      if (typeof isTyping !== 'boolean') throw badJson('typing is neither true nor false');
      if (serverNameOf(userId) !== origin || !acls.isAllowed(origin, roomId)) return;
      typing.setRemote(roomId, userId, isTyping);
    },
  };
}

/** What a local user does as other servers are told. */
export function toTypingEdu(roomId: RoomId, userId: UserId, typing: boolean): Edu {
  return { type: 'm.typing', content: { room_id: roomId, user_id: userId, typing } };
}

import type { EduSender } from '../../federation/types.ts';
import { isUserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { ServerAcls } from '../../rooms/federation-types.ts';
import type { MembershipReader } from '../../rooms/types.ts';
import { toTypingEdu, typingEdu } from './edus.ts';
import { typingRoutes } from './routes.ts';
import { Typing, type TypingNeeds } from './service.ts';
import { typingContribution } from './sync.ts';

export type { TypingSender } from './service.ts';

export interface TypingModuleNeeds extends TypingNeeds {
  readonly rooms: Pick<MembershipReader, 'isJoined' | 'listServers'>;
  readonly acls: ServerAcls;
  /** Where what local users do goes. Absent on a server that does not federate. */
  readonly edus?: Pick<EduSender, 'send'> | undefined;
}

/** Who is typing (spec: "Typing Notifications"). */
export function typingNotifications(needs: TypingModuleNeeds): Module & { readonly typing: Typing } {
  const { rooms, acls, edus } = needs;
  const typing = new Typing({
    ...needs,
    sender: {
      send: (roomId, userId, isTyping) => {
        needs.sender?.send(roomId, userId, isTyping);
        edus?.send(rooms.listServers(roomId), toTypingEdu(roomId, userId, isTyping), `${roomId} ${userId}`);
      },
    },
  });
  return {
    name: 'typing-notifications',
    typing,
    routes: typingRoutes(typing),
    edus: { 'm.typing': typingEdu({ typing, acls }) },
    sync: [typingContribution(typing)],
    projections: [
      {
        name: 'typing-notifications',
        project: (tx, event) => {
          // Whoever leaves has stopped typing; whoever has said something has too, but their client tells us that.
          const { type, stateKey, content, roomId } = event;
          if (type !== 'm.room.member' || stateKey === undefined || !isUserId(stateKey)) return;
          if (content['membership'] !== 'join') tx.onCommit(() => typing.stop(roomId, stateKey));
        },
      },
    ],
    stop: () => typing.cancelTimers(),
  };
}

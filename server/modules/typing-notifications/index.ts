import type { EduSender } from '../../federation/types.ts';
import type { Module } from '../../module.ts';
import type { ServerAcls } from '../../rooms/federation-types.ts';
import type { MembershipReader } from '../../rooms/types.ts';
import { toTypingEdu, typingEdu } from './edus.ts';
import { typingRoutes } from './routes.ts';
import { Typing, type TypingNeeds } from './service.ts';
import { typingContribution } from './sync.ts';

export type { TypingSender } from './service.ts';

export interface TypingModuleNeeds extends TypingNeeds {
  readonly rooms: TypingNeeds['rooms'] & Pick<MembershipReader, 'listServers'>;
  readonly acls: ServerAcls;
  /** Where what local users do goes. Absent on a server that does not federate. */
  readonly edus?: Pick<EduSender, 'send'> | undefined;
}

/** Who is typing (spec: "Typing Notifications"). */
export function typingNotifications(needs: TypingModuleNeeds): Module & { readonly typing: Typing } {
  const { rooms, acls, edus } = needs;
  const typing = new Typing({
    ...needs,
    servers: {
      send: (roomId, userId, isTyping) => {
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
        project: (tx, { roomId }, { stateDeltas }) => {
          // Whoever leaves has stopped typing; whoever has said something has too, but their client tells us that.
          if (typing.listIn(roomId).size === 0) return;
          if (stateDeltas.some(({ type }) => type === 'm.room.member')) tx.onCommit(() => typing.review(roomId));
        },
      },
    ],
    stop: () => typing.cancelTimers(),
  };
}

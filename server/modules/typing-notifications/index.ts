import { isUserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import { typingRoutes } from './routes.ts';
import { Typing, type TypingNeeds } from './service.ts';
import { typingContribution } from './sync.ts';

export type { TypingSender } from './service.ts';

/** Who is typing (spec: "Typing Notifications"). */
export function typingNotifications(needs: TypingNeeds): Module & { readonly typing: Typing } {
  const typing = new Typing(needs);
  return {
    name: 'typing-notifications',
    typing,
    routes: typingRoutes(typing),
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

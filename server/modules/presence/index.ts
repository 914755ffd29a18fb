import type { EduSender } from '../../federation/types.ts';
import { isUserId, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { MembershipReader } from '../../rooms/types.ts';
import type { StreamPosition } from '../../storage/types.ts';
import { presenceEdu } from './edus.ts';
import { presenceRoutes } from './routes/presence.ts';
import { Presence, type PresenceNeeds } from './service/presence.ts';
import { RemotePresence } from './service/remote.ts';
import { PresenceStore } from './store.ts';
import { presenceContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { ShownPresence } from './service/board.ts';
export type { Presence, PresenceSender, PresenceSettings } from './service/presence.ts';

export interface PresenceModuleNeeds extends PresenceNeeds {
  readonly rooms: PresenceNeeds['rooms'] &
    Pick<MembershipReader, 'listServers' | 'listLocalJoined' | 'listMembershipChanges'>;
  /** Where what is shown of local users goes. Absent on a server that does not federate. */
  readonly edus?: Pick<EduSender, 'send'> | undefined;
}

/** Who is there, and who is active (spec: "Presence"). */
export function presence(needs: PresenceModuleNeeds): Module & {
  readonly presence: Presence;
} {
  const store = new PresenceStore(needs.db);
  const service: Presence = new Presence({
    ...needs,
    store,
    sender: {
      send: (userId, shown) => {
        needs.sender?.send(userId, shown);
        remote.tell(userId);
      },
    },
  });
  const remote = new RemotePresence({ ...needs, store, presence: service });
  const isLocal = (userId: UserId): boolean => serverNameOf(userId) === needs.serverName;
  return {
    name: 'presence',
    presence: service,
    routes: presenceRoutes(service),
    edus: { 'm.presence': presenceEdu(remote, needs.clock) },
    sync: [presenceContribution(service, isLocal)],
    projections: [
      {
        name: 'presence',
        project: (tx, { type, sender, roomId, stateKey, position }, { live, stateDeltas }) => {
          if (!live) return;
          if (type !== 'm.room.member') {
            // Memberships are often set on a user's behalf: when their name changes, or when they join of themselves.
            if (isLocal(sender)) tx.onCommit(() => service.active(sender));
          } else if (stateDeltas.length > 0 && stateKey !== undefined && isUserId(stateKey)) {
            const before = (position - 1) as StreamPosition;
            const changes = needs.rooms.listMembershipChanges(stateKey, before, position);
            const change = changes.find((each) => each.roomId === roomId);
            const [was, is] = [change?.before === 'join', change?.after.membership === 'join'];
            if (!was && is) tx.onCommit(() => remote.joined(roomId, stateKey));
            if (was && !is) tx.onCommit(() => remote.left(roomId, stateKey));
          }
        },
      },
    ],
    start: () => {
      service.start();
      remote.start();
    },
    stop: () => {
      remote.stop();
      service.stop();
    },
  };
}

import { type ServerName, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import { presenceRoutes } from './routes/presence.ts';
import { Presence, type PresenceNeeds } from './service/presence.ts';
import { PresenceStore } from './store.ts';
import { presenceContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { ShownPresence } from './service/board.ts';
export type { Presence, PresenceSender, PresenceSettings } from './service/presence.ts';

/** Who is there, and who is active (spec: "Presence"). */
export function presence(needs: PresenceNeeds & { readonly serverName: ServerName }): Module & {
  readonly presence: Presence;
} {
  const service = new Presence({ ...needs, store: new PresenceStore(needs.db) });
  const isLocal = (userId: UserId): boolean => serverNameOf(userId) === needs.serverName;
  return {
    name: 'presence',
    presence: service,
    routes: presenceRoutes(service),
    sync: [presenceContribution(service, isLocal)],
    projections: [
      {
        name: 'presence',
        project: (tx, { type, sender }, { live }) => {
          // Memberships are often set on a user's behalf: when their name changes, or when they join of themselves.
          if (!live || type === 'm.room.member' || !isLocal(sender)) return;
          tx.onCommit(() => service.active(sender));
        },
      },
    ],
    start: () => service.start(),
    stop: () => service.stop(),
  };
}

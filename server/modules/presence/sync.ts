import type { UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { SyncContribution, SyncWindow } from '../../sync/types.ts';
import type { ShownPresence } from './service/board.ts';
import type { Presence } from './service/presence.ts';

/** The presence of the viewer and of those they share a room with. */
export function presenceContribution(presence: Presence, isLocal: (userId: UserId) => boolean): SyncContribution {
  const { mode, offlineUsersOnSync } = presence.settings;

  function changedIn({ userId: viewer, since, now, initial, ignoredUsers }: SyncWindow): Map<UserId, ShownPresence> {
    const changed = new Map<UserId, ShownPresence>();
    for (const [userId, shown] of presence.listSince(since, now)) {
      // A client that knows nothing yet takes everybody to be away.
      const isNews = !initial || offlineUsersOnSync || shown.state !== 'offline';
      if (isNews && !ignoredUsers.has(userId) && presence.sees(viewer, userId)) {
        changed.set(userId, presence.find(userId) ?? shown);
      }
    }
    // But it wants to hear what its own user counts as.
    const own = initial ? presence.find(viewer) : undefined;
    if (own !== undefined) changed.set(viewer, own);
    return changed;
  }

  return {
    name: 'presence',
    contribute: (window) => {
      if (mode === 'off') return {};
      const changed = changedIn(window);
      const events: JsonObject[] = [...changed].map(([userId, shown]) => presence.toEvent(userId, shown));
      if (!window.initial || offlineUsersOnSync) {
        // Whoever is new to the viewer is shown as they are, changed or not.
        for (const userId of window.newlySharing()) {
          if (changed.has(userId) || window.ignoredUsers.has(userId) || !presence.sees(window.userId, userId)) continue;
          const shown = presence.find(userId);
          if (shown !== undefined || isLocal(userId)) events.push(presence.toEvent(userId, shown));
        }
      }
      return { presence: events };
    },
  };
}

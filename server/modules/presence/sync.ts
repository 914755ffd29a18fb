import type { UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { SyncContribution, SyncWindow } from '../../sync/types.ts';
import type { ShownPresence } from './service/board.ts';
import type { Presence } from './service/presence.ts';

/** The presence of the viewer and of those they share a room with. */
export function presenceContribution(presence: Presence, isLocal: (userId: UserId) => boolean): SyncContribution {
  const { mode, offlineUsersOnSync } = presence.settings;

  function isSeen({ userId: viewer, onlyRoom }: SyncWindow, userId: UserId): boolean {
    return presence.sees(viewer, userId) || (onlyRoom !== undefined && presence.isSeenIn(onlyRoom, userId));
  }

  /** Users who are shown whether anything changed or not: those new to the viewer, and all in a room looked into anew. */
  function newcomersTo(window: SyncWindow): Iterable<UserId> {
    const { initial, onlyRoom } = window;
    if (initial && onlyRoom !== undefined) return presence.listSeenIn(onlyRoom);
    return !initial || offlineUsersOnSync ? window.newlySharing() : [];
  }

  function changedIn(window: SyncWindow): Map<UserId, ShownPresence> {
    const { userId: viewer, since, now, initial, ignoredUsers } = window;
    const changed = new Map<UserId, ShownPresence>();
    for (const [userId, shown] of presence.listSince(since, now)) {
      // A client that knows nothing yet takes everybody to be away.
      const isNews = !initial || offlineUsersOnSync || shown.state !== 'offline';
      if (isNews && !ignoredUsers.has(userId) && isSeen(window, userId)) {
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
      for (const userId of newcomersTo(window)) {
        if (changed.has(userId) || window.ignoredUsers.has(userId) || !isSeen(window, userId)) continue;
        const shown = presence.find(userId);
        if (shown !== undefined || isLocal(userId)) events.push(presence.toEvent(userId, shown));
      }
      return { presence: events };
    },
  };
}

import type { RoomId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { RoomSyncPart, SyncContribution, SyncWindow } from '../../sync/types.ts';
import type { PushRules } from './service/rules.ts';
import type { PushRuleStore } from './store/rules.ts';
import type { ThreadCount, UnreadStore } from './store/unread.ts';

const NOTHING_UNREAD: readonly ThreadCount[] = [];

/** A user's rules as the account data of the same name. */
export function pushRulesEvent(rules: Pick<PushRules, 'list'>, userId: SyncWindow['userId']): JsonObject {
  return { global: rules.list(userId) };
}

/** Push rules that changed, as m.push_rules; all of them in an initial sync, since a client cannot do without. */
export function pushRulesContribution({
  rules,
  store,
}: {
  rules: Pick<PushRules, 'list'>;
  store: Pick<PushRuleStore, 'findChange'>;
}): SyncContribution {
  return {
    name: 'push-rules',
    sliding: 'account_data',
    contribute: ({ userId, since, initial }) => {
      // Where they changed once more after the window, they are told a bit early, and then again.
      const changed = initial || (store.findChange(userId) ?? 0) > since;
      return changed ? { accountData: [{ type: 'm.push_rules', content: pushRulesEvent(rules, userId) }] } : {};
    },
  };
}

/** What the viewer has not read (spec: client-server API, /sync, `unread_notifications`, `unread_thread_notifications`). */
export function unreadContribution({
  store,
}: {
  store: Pick<UnreadStore, 'listUser' | 'listRoom' | 'listChangedRooms'>;
}): SyncContribution {
  return {
    name: 'unread-counts',
    sliding: 'rooms',
    contribute: (window) => ({
      rooms: window.initial || window.fullState ? allRooms(store, window) : changedRooms(store, window),
    }),
    complete: (window, roomId) => countsOf(store.listRoom(window.userId, roomId), window),
  };
}

function allRooms(store: Pick<UnreadStore, 'listUser'>, window: SyncWindow): ReadonlyMap<RoomId, RoomSyncPart> {
  const byRoom = Map.groupBy(store.listUser(window.userId), ({ roomId }) => roomId);
  const parts = new Map<RoomId, RoomSyncPart>();
  for (const roomId of window.joined.keys()) parts.set(roomId, countsOf(byRoom.get(roomId) ?? NOTHING_UNREAD, window));
  return parts;
}

function changedRooms(
  store: Pick<UnreadStore, 'listRoom' | 'listChangedRooms'>,
  window: SyncWindow,
): ReadonlyMap<RoomId, RoomSyncPart> {
  const { userId, since, joined } = window;
  const parts = new Map<RoomId, RoomSyncPart>();
  const tell = (roomId: RoomId): void => {
    if (joined.has(roomId)) parts.set(roomId, countsOf(store.listRoom(userId, roomId), window));
  };
  for (const roomId of store.listChangedRooms(userId, since)) tell(roomId);
  for (const [roomId, { newlyJoined }] of joined) if (newlyJoined) tell(roomId);
  return parts;
}

function countsOf(unread: readonly ThreadCount[], { filter }: SyncWindow): RoomSyncPart {
  const perThread = filter.room.timeline.unreadThreadNotifications === true;
  let notifications = 0;
  let highlights = 0;
  const threads: [string, { notification_count: number; highlight_count: number }][] = [];
  for (const thread of unread) {
    if (perThread && thread.threadId !== 'main') {
      threads.push([thread.threadId, { notification_count: thread.notifications, highlight_count: thread.highlights }]);
    } else {
      notifications += thread.notifications;
      highlights += thread.highlights;
    }
  }
  return {
    unreadNotifications: { notification_count: notifications, highlight_count: highlights },
    ...(threads.length === 0 ? {} : { unreadThreadNotifications: Object.fromEntries(threads) }),
  };
}

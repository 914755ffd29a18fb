import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type {} from '../../rooms/types.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { notificationRoutes, type NotificationRouteNeeds } from './routes/notifications.ts';
import { ruleRoutes } from './routes/rules.ts';
import { Clearing } from './service/clearing.ts';
import { type CountingNeeds, type ReadReceipt, UnreadCounting } from './service/counting.ts';
import { pushRules } from './service/rules.ts';
import { Rulesets } from './service/rulesets.ts';
import { ClearingStore } from './store/clearing.ts';
import { PushRuleStore } from './store/rules.ts';
import { UnreadStore } from './store/unread.ts';
import { pushRulesContribution, unreadContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { ReadReceipt } from './service/counting.ts';

export interface PushNeeds extends CountingNeeds, NotificationRouteNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: CountingNeeds['events'] & NotificationRouteNeeds['events'];
  readonly visibility: CountingNeeds['visibility'] & NotificationRouteNeeds['visibility'];
  /** Whether anything is counted at all; rules can be kept and read in any case. */
  readonly settings: { readonly enabled: boolean };
}

/** Push rules, and what they find unread (spec: client-server API, "Push Notifications"). */
export function push(needs: PushNeeds): Module & {
  /** To be called in the write that stores a receipt of a local user. */
  readonly onRead: (tx: WriteTx, receipt: ReadReceipt) => void;
  /** Sets for a room that replaces another what a user set for that. */
  readonly copyRoomRules: (tx: WriteTx, userId: UserId, from: RoomId, to: RoomId) => void;
  readonly removeOfUser: (tx: WriteTx, userId: UserId) => void;
} {
  const { db } = needs;
  const ruleStore = new PushRuleStore(db);
  const unreadStore = new UnreadStore(db);
  const rulesets = new Rulesets(ruleStore);
  const rules = pushRules({ db, store: ruleStore, rulesets });
  const counting = new UnreadCounting({ ...needs, store: unreadStore, rulesets });
  const clearing = new Clearing({ ...needs, store: new ClearingStore(db) });
  return {
    name: 'push',
    routes: [...ruleRoutes(rules), ...notificationRoutes({ ...needs, store: unreadStore })],
    projections: needs.settings.enabled ? [counting] : [],
    sync: [pushRulesContribution({ rules, store: ruleStore }), unreadContribution({ store: unreadStore })],
    start: () => clearing.start(),
    stop: () => clearing.stop(),
    onRead: (tx, receipt) => counting.read(tx, receipt),
    copyRoomRules: (tx, userId, from, to) => rules.copyRoomRules(tx, userId, from, to),
    removeOfUser: (tx, userId) => {
      rules.removeAll(tx, userId);
      unreadStore.removeUser(tx, userId);
    },
  };
}

import type { Module } from '../../module.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { expiryPurge } from './purge.ts';
import { historyRoutes } from './routes/history.ts';
import { sendRoutes } from './routes/send.ts';
import { stateRoutes } from './routes/state.ts';
import { MessageExpiry } from './service/expiry.ts';
import { type History, roomHistory } from './service/history.ts';
import type { RoomEventsNeeds } from './service/needs.ts';
import { type Sending, sending } from './service/send.ts';
import { EphemeralMessages } from './store.ts';

export { migrations } from './schema.ts';
export type { History } from './service/history.ts';
export type {
  CanonicalAliases,
  DelayedSending,
  MemberStateChanges,
  PastElsewhere,
  RelationRules,
  RoomEventsNeeds,
  RoomEventsSettings,
} from './service/needs.ts';

export interface RoomEventsModuleNeeds extends RoomEventsNeeds {
  readonly clock: Clock;
  /** What it takes to take messages back by themselves (`enable_ephemeral_messages`); without it none is. */
  readonly ephemeral?: { readonly db: Database; readonly log: Logger } | undefined;
}

/**
 * Sending, redacting and reading the events of rooms (spec: client-server API, "Getting events for a room", "Sending
 * events to a room", "Redactions").
 */
export function roomEvents(
  needs: RoomEventsModuleNeeds,
): Module & { readonly history: History; readonly sending: Pick<Sending, 'sendAs'> } {
  const sends = sending(needs);
  const history = roomHistory(needs);
  const { ephemeral } = needs;
  const expiry = ephemeral && new MessageExpiry({ ...needs, ...ephemeral, store: new EphemeralMessages(ephemeral.db) });
  return {
    name: 'room-events',
    history,
    sending: sends,
    routes: [...sendRoutes(sends), ...stateRoutes(needs), ...historyRoutes(needs, history)],
    ...(expiry && {
      projections: [expiry.projection],
      ...(ephemeral && { purge: expiryPurge(ephemeral.db) }),
      start: () => expiry.start(),
      stop: () => expiry.stop(),
    }),
  };
}

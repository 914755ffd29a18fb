import type { RateLimit } from '../../http/rate-limit.ts';
import type { Module } from '../../module.ts';
import type { EventDecoration } from '../../sync/types.ts';
import { delayedEventPurge } from './purge.ts';
import { delayedEventRoutes } from './routes.ts';
import { type DelayedEventNeeds, DelayedEvents } from './service.ts';
import { DelayedEventStore } from './store.ts';

export { migrations } from './schema.ts';
export type { ClientSending, DelayedEventSettings, DelayedEvents } from './service.ts';

/** Events to be sent later (MSC4140). */
export function delayedEvents(
  needs: DelayedEventNeeds & { readonly limit: RateLimit },
): Module & { readonly delayed: DelayedEvents } {
  const store = new DelayedEventStore(needs.db);
  const delayed = new DelayedEvents(needs, store);
  return {
    name: 'delayed-events',
    delayed,
    routes: delayedEventRoutes(delayed, needs.limit),
    projections: [delayed.projection],
    purge: delayedEventPurge(needs.db),
    decorations: [delayIds(delayed)],
    // They were sent since, or called off: sending them now could say what nobody wants said.
    afterRestore: (tx) => store.removeWaiting(tx),
    start: () => delayed.start(),
    wake: () => delayed.wake(),
    stop: () => delayed.stop(),
  };
}

/** Tells the sender, and nobody else, which of their delayed events an event is. */
function delayIds(delayed: DelayedEvents): EventDecoration {
  return {
    name: 'delayed-events',
    decorate: (events, { userId }) => {
      const added = new Map<(typeof events)[number]['eventId'], { 'org.matrix.msc4140.delay_id': string }>();
      for (const { sender, eventId } of events) {
        const delayId = sender === userId ? delayed.findDelayId(eventId) : undefined;
        if (delayId !== undefined) added.set(eventId, { 'org.matrix.msc4140.delay_id': delayId });
      }
      return added;
    },
  };
}

import type { SyncContribution } from '../../sync/types.ts';
import type { ThreadSubscriptions } from './service.ts';

/** Changes told at once, unless fewer are asked for, and at most. */
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 512;

/** What sliding sync tells of the threads one follows (MSC4308); what does not fit is behind `prev_batch`. */
export function threadSubscriptionContribution(subscriptions: ThreadSubscriptions): SyncContribution {
  return {
    name: 'thread-subscriptions',
    sliding: 'io.element.msc4308.thread_subscriptions',
    slidingOnly: true,
    contribute: ({ userId, since, now, limit = DEFAULT_LIMIT }) => {
      const most = Math.min(Math.max(1, limit), MAX_LIMIT);
      const { subscribed, unsubscribed, count, prevBatch } = subscriptions.changesSince(userId, since, now, most);
      if (count === 0) return {};
      return {
        extension: {
          ...(Object.keys(subscribed).length === 0 ? {} : { subscribed }),
          ...(Object.keys(unsubscribed).length === 0 ? {} : { unsubscribed }),
          ...(prevBatch === undefined ? {} : { prev_batch: prevBatch }),
        },
      };
    },
  };
}

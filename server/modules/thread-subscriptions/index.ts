import type { Module } from '../../module.ts';
import type { StreamPosition } from '../../storage/types.ts';
import { subscriptionPurge } from './purge.ts';
import { threadSubscriptionRoutes } from './routes.ts';
import {
  threadSubscriptions as createSubscriptions,
  type ThreadSubscriptionNeeds,
  type ThreadSubscriptions,
} from './service.ts';
import { ThreadSubscriptionStore } from './store.ts';
import { threadSubscriptionContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { SubscriptionChanges, ThreadSubscriptions } from './service.ts';

/** Threads that users follow one by one (MSC4306). */
export function threadSubscriptions(
  needs: ThreadSubscriptionNeeds & { readonly positionOf: (token: string) => StreamPosition },
): Module & { readonly subscriptions: ThreadSubscriptions } {
  const subscriptions = createSubscriptions(needs, new ThreadSubscriptionStore(needs.db));
  return {
    name: 'thread-subscriptions',
    subscriptions,
    purge: subscriptionPurge(needs.db),
    sync: [threadSubscriptionContribution(subscriptions)],
    routes: threadSubscriptionRoutes({ db: needs.db, subscriptions, positionOf: needs.positionOf }),
  };
}

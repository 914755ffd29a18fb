import type { Module } from '../../module.ts';
import type { Database } from '../../storage/types.ts';
import { accountDataPurge } from './purge.ts';
import { accountDataRoutes } from './routes.ts';
import { accountDataService, type AccountData, type FindKeptElsewhere } from './service.ts';
import { AccountDataStore } from './store.ts';
import { accountDataContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { AccountData, FindKeptElsewhere } from './service.ts';

/** Data that clients keep with an account, globally and per room (spec: "Client Config"), and whom a user ignores. */
export function accountData({
  db,
  findKeptElsewhere,
}: {
  db: Database;
  readonly findKeptElsewhere?: FindKeptElsewhere;
}): Module & { readonly accountData: AccountData } {
  const store = new AccountDataStore(db);
  const service = accountDataService({ db, store, findKeptElsewhere });
  return {
    name: 'account-data',
    accountData: service,
    routes: accountDataRoutes(service),
    sync: [accountDataContribution(store)],
    purge: accountDataPurge(db),
  };
}

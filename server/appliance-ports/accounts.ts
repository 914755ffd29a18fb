import type { AccountsPort } from '../appliance/setup/port.ts';
import type { Composition } from '../compose.ts';

export function accountsPort({ accounts: { owners, lookup } }: Pick<Composition, 'accounts'>): AccountsPort {
  return {
    hasPeople: () => owners.hasPeople(),
    hasAdministrator: () => lookup.list({ kind: 'user', admin: true, deactivated: false }).length > 0,
    checkNewAccount: (account) => owners.checkNew(account),
    createAdministrator: (account) => owners.create(account),
    isAdministrator: (username, password) => owners.check(username, password),
  };
}

import type { AccountsPort } from '../appliance/setup/port.ts';
import type { Composition } from '../compose.ts';

export function accountsPort({ accounts: { owners, lookup } }: Pick<Composition, 'accounts'>): AccountsPort {
  return {
    hasPeople: () => owners.hasPeople(),
    hasAdministrator: () => lookup.list({ kind: 'user', admin: true, deactivated: false }).length > 0,
    onlyPerson: () => {
      const [first, ...others] = lookup.list({ kind: 'user', deactivated: false, limit: 2 });
      return others.length === 0 ? first?.userId : undefined;
    },
    checkNewAccount: (account) => owners.checkNew(account),
    createAdministrator: (account) => owners.create(account),
    signIn: (username, password) => owners.check(username, password),
    standingOf: (userId) => owners.standingOf(userId),
  };
}

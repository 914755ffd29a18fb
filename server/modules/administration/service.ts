import type { Requester } from '../../http/route.ts';
import { forbidden, invalidParam, notFound } from '../../matrix/errors.ts';
import { serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { AdministeredAccount, AdministrationNeeds } from './needs.ts';

/** What can be done to an account that can be undone. */
export type Measure = 'locked' | 'suspended';

/** Locking and suspending (spec: "Account locking", "Account suspension"). */
export interface Moderation {
  /** @throws MatrixError M_FORBIDDEN, M_INVALID_PARAM, M_NOT_FOUND */
  isTaken(by: Requester, userId: UserId, measure: Measure): boolean;
  /** The same, and M_FORBIDDEN for one's own account. */
  set(by: Requester, userId: UserId, measure: Measure, taken: boolean): void;
}

/**
 * Refuses whoever is no administrator, and users of other servers. In this order, so that nobody learns from the answer
 * who has an account.
 */
export function checkMayAdminister({ isAdmin }: Requester, userId: UserId, serverName: string): void {
  if (!isAdmin) throw forbidden('You are no administrator of this server');
  if (serverNameOf(userId) !== serverName) throw invalidParam('The user is not one of this server');
}

export function createModeration({ serverName, accounts }: AdministrationNeeds): Moderation {
  function get(by: Requester, userId: UserId): AdministeredAccount {
    checkMayAdminister(by, userId, serverName);
    const account = accounts.find(userId);
    if (account === undefined || account.deactivated) throw notFound('There is no such user');
    if (account.isAdmin && userId !== by.userId) throw forbidden('The user is an administrator, too');
    return account;
  }

  return {
    isTaken: (by, userId, measure) => get(by, userId)[measure],
    set: (by, userId, measure, taken) => {
      const account = get(by, userId);
      if (userId === by.userId) throw forbidden('Nobody can lock or suspend themselves');
      if (account[measure] === taken) return;
      if (measure === 'locked') accounts.setLocked(userId, taken);
      else accounts.setSuspended(userId, taken);
    },
  };
}

import type { UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { WriteTx } from '../../storage/types.ts';
import type { Timer } from '../../util/clock.ts';
import { accountRoutes } from './routes/account.ts';
import { linkRoutes } from './routes/links.ts';
import { requestTokenRoutes } from './routes/request-token.ts';
import { type AccountThreepids, createAccountThreepids } from './service/account.ts';
import { canonicalAddress, checkAllowed } from './service/addresses.ts';
import { createMsisdnDelegate } from './service/delegate.ts';
import { createIdentityServers } from './service/identity-servers.ts';
import { type AddressInvites, createAddressInvites } from './service/invites.ts';
import type { ThirdPartyIdsNeeds } from './service/needs.ts';
import { createValidationSessions, type ValidatedThreepid, type ValidationSessions } from './service/sessions.ts';
import { type Medium, type Purpose, ThreepidStore } from './store.ts';

export { migrations } from './schema.ts';
export type { ThirdPartyIdsNeeds, ThirdPartySettings } from './service/needs.ts';

const PRUNE_EVERY_MS = 3_600_000;

/** What the rest of the server uses of addresses. */
export interface ThirdPartyIds extends Module {
  readonly threepids: AccountThreepids;
  readonly invites: AddressInvites;
  readonly sessions: Pick<ValidationSessions, 'requestEmail'>;
  /** Whose address that is. */
  findOwner(medium: string, address: string): UserId | undefined;
  /** Whether that kind of address can be proved here at all. */
  canVerify(medium: Medium): boolean;
  /**
   * What a session has proved, as a stage of interactive authentication; undefined if nothing. Throws M_THREEPID_DENIED
   * for an address that new accounts may not have.
   */
  spend(tx: WriteTx, sid: string): void;
  findValidated(
    purpose: Purpose,
    medium: Medium,
    sid: string,
    clientSecret: string,
  ): Promise<ValidatedThreepid | undefined>;
}

/** Mail addresses and phone numbers of accounts, identity servers, invites by address (spec: "Third-party identifiers"). */
export function thirdPartyIds(
  needs: ThirdPartyIdsNeeds & { readonly checkPurpose: (purpose: Purpose) => void },
): ThirdPartyIds {
  const { db, clock, settings, mailer, templates, limit, interactiveAuth } = needs;
  const store = new ThreepidStore(db);
  const delegate =
    settings.msisdnDelegate === undefined
      ? undefined
      : createMsisdnDelegate(needs.trustedHttp, settings.msisdnDelegate);
  const identityServers = createIdentityServers({ ...needs, serverName: settings.serverName });
  const sessions = createValidationSessions(needs, store, delegate);
  const threepids = createAccountThreepids(needs, store, sessions, identityServers);

  let timer: Timer | undefined;
  const prune = (): void => {
    sessions.prune();
    timer = clock.after(PRUNE_EVERY_MS, prune);
  };

  return {
    name: 'third-party-ids',
    routes: [
      ...accountRoutes({ threepids, interactiveAuth }),
      ...requestTokenRoutes({ sessions, publicBaseUrl: settings.publicBaseUrl, checkPurpose: needs.checkPurpose }),
      ...linkRoutes({ sessions, templates, delegate, limit }),
    ],
    start: prune,
    stop: () => timer?.cancel(),
    threepids,
    sessions,
    invites: createAddressInvites(needs, identityServers),
    spend: (tx, sid) => sessions.spend(tx, sid),
    findOwner: (medium, address) => store.findOwner(medium, canonicalAddress(medium, address)),
    canVerify: (medium) => (medium === 'email' ? mailer.isEnabled : delegate !== undefined),
    findValidated: async (purpose, medium, sid, clientSecret) => {
      const found = await sessions.findValidated(purpose, medium, sid, clientSecret);
      if (found !== undefined && purpose !== 'password') checkAllowed(settings, found.medium, found.address);
      return found;
    },
  };
}

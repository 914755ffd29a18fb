/** The parts about people besides their accounts: addresses, consent to the policy, accounts that run out. */
import type { Config } from './config/types.ts';
import type { Federation } from './federation/federation.ts';
import type { RateLimit } from './http/rate-limit.ts';
import type { Mailer, Templates } from './mail/index.ts';
import type { SigningKey } from './matrix/signing.ts';
import type { AccountsModule } from './modules/accounts/index.ts';
import type { roomMembership } from './modules/room-membership/index.ts';
import type { Rooms } from './rooms/rooms.ts';
import type { Database } from './storage/types.ts';
import type { Clock } from './util/clock.ts';
import type { Logger } from './util/log.ts';
import type { Random } from './util/random.ts';
import { createTemplates } from './mail/templates.ts';
import type { UserId } from './matrix/identifiers.ts';
import type { Module } from './module.ts';
import { accountValidity } from './modules/account-validity/index.ts';
import { createCaptcha, type Proofs } from './modules/accounts/index.ts';
import { type Consent, consent } from './modules/consent/index.ts';
import { type ThirdPartyIds, thirdPartyIds, type ThirdPartyIdsNeeds } from './modules/third-party-ids/index.ts';
import { threepidSettings } from './settings.ts';
import type { WriteTx } from './storage/types.ts';

export interface PeopleNeeds {
  readonly config: Config;
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  readonly limit: (options: { perSecond: number; burstCount: number }) => RateLimit;
  readonly federation: Federation;
  readonly rooms: Rooms;
  readonly accounts: AccountsModule;
  readonly membership: ReturnType<typeof roomMembership>['membership'];
  readonly mailer: Mailer;
  readonly templates: Templates;
  readonly profiles: ThirdPartyIdsNeeds['profiles'];
  /** Whom a new or lost mail address concerns. */
  readonly onMailAdded: (tx: WriteTx, userId: UserId, address: string) => void;
  readonly onMailRemoved: (tx: WriteTx, userId: UserId, address: string) => void;
}

export interface People {
  readonly modules: readonly Module[];
  readonly threepids: ThirdPartyIds;
  readonly consent: Consent | undefined;
  /** What accounts can ask of people. */
  readonly proofs: Proofs;
  isExpired(userId: UserId): boolean;
  onRegistered(tx: WriteTx, userId: UserId): void;
  onDeactivated(tx: WriteTx, userId: UserId): void;
  onDeparting(userId: UserId): Promise<void>;
}

/** Makes them. Starts nothing. */
export function composePeople(house: PeopleNeeds): People {
  const { config, db, clock, random, log, limit, rooms, accounts, membership, mailer, templates, profiles } = house;
  const { network } = house.federation;
  // Where they are was chosen by whoever runs this server, on this machine more often than not.
  const trustedHttp = network.guardedHttp({ deny: [], allow: [] });

  const threepids = thirdPartyIds({
    db,
    clock,
    random,
    log,
    settings: threepidSettings(config),
    mailer,
    templates,
    http: network.http,
    trustedHttp,
    signingKey: house.signingKeys[0],
    interactiveAuth: accounts.interactiveAuth,
    hooks: {
      onAdded: [
        (tx, userId, { medium, address, registering }) => {
          if (medium === 'email' && registering) house.onMailAdded(tx, userId, address);
        },
      ],
      onRemoved: [
        (tx, userId, { medium, address }) => {
          if (medium === 'email') house.onMailRemoved(tx, userId, address);
        },
      ],
    },
    limit: limit(config.rateLimits.threepidValidation),
    inviteLimit: limit(config.rateLimits.thirdPartyInvite),
    sender: rooms.sender,
    state: rooms.state,
    profiles,
    invite: (by, roomId, invitee) => membership.invite(by, roomId, invitee, { limited: false }),
    checkDraft: (draft) => {
      consentModule?.consent.check(draft.sender);
      rooms.templates.build(draft);
    },
    checkPurpose: (purpose) => {
      if (purpose === 'register') accounts.checkRegistrationOpen();
      else if (purpose === 'add') threepids.threepids.checkChangesAllowed();
    },
  });

  const { userConsent, accountValidity: validity } = config;
  const consentModule =
    userConsent === undefined
      ? undefined
      : consent({
          db,
          clock,
          settings: { ...userConsent, serverName: config.serverName, publicBaseUrl: config.publicBaseUrl },
          policies: createTemplates({
            log,
            serverName: config.serverName,
            publicBaseUrl: config.publicBaseUrl,
            directories: [userConsent.policyDirectory],
          }),
          templates,
          users: accounts.lookup,
          onAgreed: (tx, userId) => tx.onCommit(() => void membership.autoJoin(userId)),
        });

  const validityModule =
    validity === undefined
      ? undefined
      : accountValidity({
          db,
          clock,
          random,
          log,
          settings: { ...validity, publicBaseUrl: config.publicBaseUrl },
          mailer,
          templates,
          users: accounts.lookup,
          addressesOf: (userId) =>
            threepids.threepids.list(userId).flatMap(({ medium, address }) => (medium === 'email' ? [address] : [])),
          displayNameOf: (userId) => profiles.find(userId)?.displayName,
        });

  const { captcha } = config.registration;
  const terms = consentModule?.consent.terms;
  const proofs: Proofs = {
    threepids: {
      canVerify: (medium) => threepids.canVerify(medium),
      findValidated: (...proof) => threepids.findValidated(...proof),
      findOwner: (medium, address) => threepids.findOwner(medium, address),
      add: (tx, userId, proved) => threepids.threepids.add(tx, userId, proved, { registering: true }),
      spend: (tx, sid) => threepids.spend(tx, sid),
      unbindAll: (userId, idServer) => threepids.threepids.unbindAll(userId, idServer),
    },
    ...(captcha === undefined ? {} : { captcha: createCaptcha(trustedHttp, captcha) }),
    ...(terms === undefined || consentModule === undefined
      ? {}
      : { terms: { ...terms, agreed: (tx, userId) => consentModule.consent.agreed(tx, userId) } }),
  };

  return {
    modules: [threepids, consentModule, validityModule].filter((module) => module !== undefined),
    threepids,
    consent: consentModule?.consent,
    proofs,
    isExpired: (userId) => validityModule?.isExpired(userId) ?? false,
    onRegistered: (tx, userId) => validityModule?.onRegistered(tx, userId),
    onDeactivated: (tx, userId) => {
      threepids.threepids.removeAll(tx, userId);
      consentModule?.consent.removeOfUser(tx, userId);
      validityModule?.removeOfUser(tx, userId);
    },
    onDeparting: async (userId) => {
      // What could not be reached before is tried once more, and again with the next start.
      await threepids.threepids.unbindAll(userId, undefined);
    },
  };
}

/**
 * Puts the server together: plain constructor calls, lowest layer first. The one file that knows every part. Where two
 * parts need each other, the later one is reached through a function that is called once both are there.
 */
import { composePush } from './compose-push.ts';
import { type ComposeNeeds, composeServices, type Composition, purgeHooks } from './compose-services.ts';
import { createFederation } from './federation/federation.ts';
import { RateLimit } from './http/rate-limit.ts';
import { isRoomId, localpartOf, type UserId } from './matrix/identifiers.ts';
import { collect, type Module } from './module.ts';
import { accountData } from './modules/account-data/index.ts';
import { accounts } from './modules/accounts/index.ts';
import { AppserviceRegistry } from './modules/application-services/index.ts';
import { type ContentRepository, contentRepository } from './modules/content-repository/index.ts';
import { joiningWithConsent, withConsent } from './modules/consent/index.ts';
import { deviceManagement } from './modules/device-management/index.ts';
import { endToEndEncryption } from './modules/end-to-end-encryption/index.ts';
import { invitePermission } from './modules/invite-permission/index.ts';
import { openid } from './modules/openid/index.ts';
import { presence } from './modules/presence/index.ts';
import { profiles } from './modules/profiles/index.ts';
import { readMarkers } from './modules/read-markers/index.ts';
import { receipts } from './modules/receipts/index.ts';
import { relations } from './modules/relations/index.ts';
import { roomCreation } from './modules/room-creation/index.ts';
import { roomDirectory } from './modules/room-directory/index.ts';
import { roomEvents } from './modules/room-events/index.ts';
import { roomMembership } from './modules/room-membership/index.ts';
import { roomUpgrades } from './modules/room-upgrades/index.ts';
import { sendToDevice } from './modules/send-to-device/index.ts';
import { tags } from './modules/tags/index.ts';
import { threading } from './modules/threading/index.ts';
import { userDirectory } from './modules/user-directory/index.ts';
import { createRooms, type Rooms } from './rooms/rooms.ts';
import type { Projection } from './rooms/types.ts';
import {
  accountLimits,
  accountsSettings,
  contentSettings,
  creationSettings,
  directorySettings,
  federationSettings,
  membershipLimits,
  mailSettings,
  membershipSettings,
  presenceSettings,
  profileSettings,
} from './settings.ts';
import { createMail } from './mail/mail.ts';
import { createSync } from './sync/sync.ts';
import type { EventDecoration, SyncContribution } from './sync/types.ts';

export { allMigrations } from './schema.ts';
export type { ComposeNeeds, Composition } from './compose-services.ts';

/** Makes every part of the server out of its configuration. Starts nothing. */
export function compose(needs: ComposeNeeds): Composition {
  const { config, db, clock, random, log, signingKeys, notaryKeys, version } = needs;
  const { serverName } = config;
  const [signingKey] = signingKeys;
  const limit = (options: { perSecond: number; burstCount: number }): RateLimit => new RateLimit({ ...options, clock });
  const limits = config.rateLimits;

  // Filled by the modules below, read when the first event or request comes.
  const projections: Projection[] = [];
  const contributions: SyncContribution[] = [];
  const decorations: EventDecoration[] = [];

  const { mailer, templates } = createMail({ db, clock, log, settings: mailSettings(config) });

  const appservices = new AppserviceRegistry({ ...config.appServices, serverName, log });

  const federation = createFederation({
    ...needs.network,
    serverName,
    db,
    clock,
    random,
    log,
    signingKeys,
    notaryKeys,
    version,
    settings: federationSettings(config, version),
    findPdu: (eventId) => rooms.events.findEvent(eventId)?.pdu,
  });
  const { client, destinations } = federation.network;
  const edus = federation.sender;

  const rooms: Rooms = createRooms({
    db,
    clock,
    random,
    log,
    serverName,
    signingKey,
    projections,
    isErased: (userId) => accountsModule.lookup.isErased(userId),
    redactionRetentionMs: config.rooms.redactionRetentionMs,
    purge: {
      leave: (userId, roomId) => membership.leave(userId, roomId),
      isSending: (roomId) => federation.sender.isSending(roomId),
      hooks: () => purgeHooks(sync, federation, modules),
    },
    prejoinState: config.rooms.prejoinState,
    dummyEventsThreshold: config.rooms.dummyEventsThreshold,
    federation: {
      client,
      keyRing: federation.keyRing,
      destinations,
      limit: config.rooms.remoteRoomLimit,
      isAdmin: (userId) => accountsModule.lookup.isAdmin(userId),
      joinHere: async ({ userId, roomId, content }) => {
        await membership.join(userId, roomId, { content });
      },
    },
  });

  const accountDataModule = accountData({
    db,
    findKeptElsewhere: (userId, roomId, type) => {
      const found = type === 'm.tag' && roomId !== undefined ? tagsModule.findTags(userId, roomId) : undefined;
      return found === undefined ? undefined : { tags: found };
    },
  });
  const ignoredUsers = (userId: UserId): ReadonlySet<UserId> => accountDataModule.accountData.ignoredUsers(userId);

  const invitesModule = invitePermission({
    accountData: accountDataModule.accountData,
    serverNotices: config.serverNotices?.userId,
  });
  const { mayInvite, isHidden: isInviteHidden } = invitesModule.permission;

  const sync = createSync({
    db,
    clock,
    events: rooms.events,
    state: rooms.state,
    members: rooms.members,
    timeline: rooms.timeline,
    visibility: rooms.visibility,
    sender: rooms.sender,
    contributions: () => contributions,
    decorations: () => decorations,
    ignoredUsers,
    isInviteHidden,
    presence: { beginSync: (requester, asked) => presenceModule.presence.beginSync(requester, asked) },
    labels: {
      findDirectRooms: (userId) => accountDataModule.accountData.find(userId, undefined, 'm.direct'),
      taggedRooms: (userId) => tagsModule.taggedRooms(userId),
    },
    published: { isPublished: (roomId) => directoryModule.publication.isPublished(roomId) },
    related: { eventsRelatedBy: (events, by) => relationsModule.relations.eventsRelatedBy(events, by) },
    filterTimelineLimit: config.sync.filterTimelineLimit,
    removedRooms: (userId, since, now) => rooms.purges.listRemovedFor(userId, since, now),
    excludedRooms: new Set(config.rooms.excludedFromSync.filter(isRoomId)),
  });

  const devicesModule = deviceManagement({
    db,
    clock,
    log,
    interactiveAuth: { guard: (request, act) => accountsModule.interactiveAuth.guard(request, act) },
    hooks: {
      onDeviceChanged: [(tx, userId, deviceId) => encryptionModule.onDeviceChanged(tx, userId, deviceId)],
      onDeviceDeleted: [
        (tx, userId, deviceId) => accountsModule.revokeDeviceTokens(tx, userId, deviceId),
        (tx, userId, deviceId) => accountDataModule.accountData.removeOfDevice(tx, userId, deviceId),
        (tx, userId, deviceId) => toDeviceModule.onDeviceDeleted(tx, userId, deviceId),
        (tx, userId, deviceId) => sync.removeDevice(tx, userId, deviceId),
        (tx, userId, deviceId) => encryptionModule.onDeviceDeleted(tx, userId, deviceId),
        (tx, userId, deviceId) => pushModule.onDeviceDeleted(tx, userId, deviceId),
      ],
    },
    creationLimit: limit(limits.loginAccount),
    isKeptUnused: (userId, deviceId) => encryptionModule.isDehydrated(userId, deviceId),
    settings: {
      deleteStaleDevicesAfterMs: config.sessions.deleteStaleDevicesAfterMs,
      userIpsMaxAgeMs: config.sessions.userIpsMaxAgeMs,
    },
  });

  const accountsModule = accounts({
    db,
    clock,
    random,
    log,
    settings: accountsSettings(config),
    limits: accountLimits(config, limit),
    devices: devicesModule.devices,
    hooks: {
      onRegistered: [
        (tx, { userId }) => presenceModule.presence.registered(tx, userId),
        (tx, { userId, displayName }) => profileService.initialise(tx, userId, displayName ?? localpartOf(userId)),
        (tx, { userId }) => userDirectoryModule.directory.refresh(tx, userId),
        (tx, account) => membership.onRegistered(tx, account),
        (tx, { userId }) => services.people.onRegistered(tx, userId),
      ],
      onDeactivated: [
        (tx, userId) => openidModule.removeOfUser(tx, userId),
        (tx, userId) => accountDataModule.accountData.removeAll(tx, userId),
        (tx, userId) => tagsModule.removeOfUser(tx, userId),
        (tx, userId) => encryptionModule.onDeactivated(tx, userId),
        (tx, userId) => receiptsModule.removeOfUser(tx, userId),
        (tx, userId) => pushModule.removeOfUser(tx, userId),
        (tx, userId) => readMarkersModule.removeOfUser(tx, userId),
        (tx, userId) => presenceModule.presence.remove(tx, userId),
        (tx, userId) => services.delayed.removeOfUser(tx, userId),
        (tx, userId) => services.people.onDeactivated(tx, userId),
        (tx, userId) => services.threads?.removeOfUser(tx, userId),
        (tx, userId, { erase }) => {
          if (erase) profileService.erase(tx, userId);
        },
        (tx, userId) => userDirectoryModule.directory.refresh(tx, userId),
      ],
      onDeparting: [
        (userId, { stopping }) => membership.leaveAll(userId, { stopping }),
        (userId) => services.people.onDeparting(userId),
      ],
      onStandingChanged: [(tx, userId) => userDirectoryModule.directory.refresh(tx, userId)],
    },
    ...(appservices.any() ? { appservices } : {}),
    templates,
    proofs: () => services.people.proofs,
    isExpired: (userId) => services.people.isExpired(userId),
    isCrossSigningKey: (userId, name) =>
      encryptionModule.isCrossSigningKey(userId, name) || encryptionModule.isDehydrated(userId, name),
  });

  const openidModule = openid({ db, clock, random, serverName, limit: limit({ perSecond: 1, burstCount: 10 }) });

  const toDeviceModule = sendToDevice({
    db,
    clock,
    log,
    random,
    serverName,
    sender: edus,
    devices: { listDeviceIds: (userId) => devicesModule.devices.list(userId).map(({ deviceId }) => deviceId) },
    take: (tx, message) => services.appservices.takeMessage(tx, message),
  });

  const encryptionModule = endToEndEncryption({
    db,
    clock,
    random,
    log,
    serverName,
    settings: { namesForServers: config.federation.deviceNameLookup },
    interactiveAuth: accountsModule.interactiveAuth,
    tokens: sync.tokens,
    windowSince: (requester, since) => sync.windowSince(requester, since),
    rooms: rooms.members,
    federation: { client, sender: edus, destinations },
    devices: {
      ...devicesModule.devices,
      findDisplayName: (userId, deviceId) => devicesModule.devices.find(userId, deviceId)?.displayName,
    },
    toDevice: toDeviceModule.toDevice,
  });

  const { events, state, members, timeline, visibility } = rooms;
  const checkConsent = (userId: UserId): void => services.people.consent?.check(userId);
  const sender = withConsent(rooms.sender, checkConsent);
  const { formatter, tokens } = sync;
  const messageLimit = limit(limits.message);

  const relationsModule = relations({ db, events, visibility, ignoredUsers, formatter, tokens });
  const threadsModule = threading({
    db,
    events,
    visibility,
    relations: relationsModule.relations,
    ignoredUsers,
    formatter,
    tokens,
  });

  const mediaModule: ContentRepository | undefined = config.media.enabled
    ? contentRepository({
        db,
        clock,
        random,
        log,
        settings: contentSettings(config),
        limits: {
          create: limit(limits.mediaCreate),
          remoteBytes: limit({
            perSecond: config.media.remoteDownload.bytesPerSecond,
            burstCount: config.media.remoteDownload.burstBytes,
          }),
        },
        remote: { client, http: federation.network.http },
      })
    : undefined;

  const profilesModule = profiles({
    db,
    clock,
    client,
    log,
    media: { find: (mxcUri) => mediaModule?.media.describe(mxcUri) },
    summon: (userId) => services.appservices.summonUser(userId),
    settings: profileSettings(config),
    rooms: members,
    state,
    sender,
    limit: limit(limits.message),
    onFaceChanged: [
      (tx, userId) => tx.onCommit(() => presenceModule.presence.faceChanged(userId)),
      (tx, userId) => userDirectoryModule.directory.refresh(tx, userId),
    ],
  });
  const profileService = profilesModule.profiles;

  const userDirectoryModule = userDirectory({
    db,
    clock,
    serverName,
    settings: config.userDirectory,
    limit: limit(limits.userDirectory),
    events,
    state,
    members,
    timeline,
    users: accountsModule.lookup,
    profiles: profileService,
  });

  const presenceModule = presence({
    db,
    clock,
    log,
    serverName,
    settings: presenceSettings(config),
    rooms: members,
    profiles: profileService,
    edus,
    limit: limit(limits.presencePerUser),
  });

  const directoryModule = roomDirectory({
    db,
    ...(appservices.any()
      ? {
          reservations: {
            mayChange: (alias, appserviceId) => appservices.mayChangeAlias(alias, appserviceId),
            request: (alias) => services.appservices.summonAlias(alias),
          },
        }
      : {}),
    client,
    log,
    settings: directorySettings(config),
    events,
    state,
    members,
    sender,
  });
  const { aliases, publication } = directoryModule;

  const membershipModule = roomMembership(
    {
      db,
      log,
      settings: membershipSettings(config),
      limits: { ...membershipLimits(config, limit), message: messageLimit },
      events,
      state,
      members,
      sender,
      aliases,
      profiles: profileService,
      users: accountsModule.lookup,
      summon: (userId) => services.appservices.summonUser(userId),
      mayInvite,
      isBlocked: (roomId) => rooms.purges.isClosed(roomId),
      ...(rooms.federated === undefined ? {} : { remote: joiningWithConsent(rooms.federated.remote, checkConsent) }),
      thirdPartyInvites: {
        invite: (...order) => services.people.threepids.invites.invite(...order),
        isKeyValid: (...key) => services.people.threepids.invites.isKeyValid(...key),
      },
      createRoom: ({ creator, federated, ...order }) =>
        creationModule.creation.createRoom(creator, {
          ...order,
          ...(federated ? {} : { creationContent: { 'm.federate': false } }),
        }),
    },
    {
      signingKey,
      client,
      keyRing: federation.keyRing,
      acls: rooms.acls,
      inbox: rooms.inbox,
      graph: rooms.graph,
      forwarder: rooms.fanOut,
      outside: rooms.outside,
      templates: rooms.templates,
      pduTexts: rooms.pduTexts,
      state,
      members,
      users: accountsModule.lookup,
      bindLimit: limit(limits.thirdPartyInvite),
    },
  );
  const { membership } = membershipModule;

  const creationLimit = limit(limits.roomCreation);
  const creationModule = roomCreation({
    log,
    settings: creationSettings(config),
    limit: creationLimit,
    sender,
    profiles: profileService,
    directory: {
      prepareAlias: (by, localpart) => aliases.prepare(by, localpart),
      insertAlias: (tx, by, alias, roomId) => aliases.insert(tx, by, alias, roomId),
      publish: (tx, by, roomId) => publication.publish(tx, by, roomId),
      checkFirstCanonicalAlias: (content, alias) => aliases.checkFirstCanonicalAlias(content, alias),
    },
    invites: {
      checkLimits: (by, invitees) => membership.checkInviteLimits(by, invitees),
      invite: (by, roomId, invitee, options) => membership.invite(by, roomId, invitee, { ...options, limited: false }),
      mayInvite,
      ...(config.registration.threepidLookupAllowed
        ? { inviteByAddress: (by, roomId, invitee) => membership.inviteByAddress(by, roomId, invitee) }
        : {}),
      reachesOtherServers: true,
    },
  });

  const eventsModule = roomEvents({
    elsewhere: rooms.federated?.history,
    isUserOfAppservice: (appserviceId, userId) => appservices.isUserOf(appserviceId, userId),
    delayed: { schedule: (draft) => services.delayed.schedule(draft) },
    clock,
    serverName,
    events,
    state,
    members,
    timeline,
    visibility,
    sender,
    formatter,
    tokens,
    membership,
    aliases,
    relations: relationsModule.relations,
    ignoredUsers,
    limits: {
      message: messageLimit,
      adminRedaction: limits.adminRedaction === undefined ? undefined : limit(limits.adminRedaction),
    },
    ...(config.rooms.ephemeralMessages ? { ephemeral: { db, log } } : {}),
    settings: { timelineLimit: config.sync.filterTimelineLimit },
  });

  const readMarkersModule = readMarkers({
    db,
    events,
    rooms: members,
    visibility,
    setReceipt: (roomId, userId, type, eventId) =>
      receiptsModule.receipts.set(roomId, userId, type, eventId, undefined),
  });
  const receiptsModule = receipts({
    db,
    clock,
    events,
    rooms: members,
    visibility,
    threads: threadsModule.threads,
    timeline,
    setFullyRead: readMarkersModule.setFullyRead,
    acls: rooms.acls,
    edus,
    sender: { send: ({ userId }) => presenceModule.presence.active(userId) },
    onRead: (tx, receipt) => pushModule.onRead(tx, receipt),
  });
  const pushModule = composePush({
    ...needs,
    rooms,
    federation,
    mailer,
    profiles: profileService,
    findMailOwner: (address) => services.people.threepids.findOwner('email', address),
    isSilenced: (userId) => services.people.isExpired(userId) || accountsModule.lookup.find(userId)?.locked === true,
    isProgram: appservices.any()
      ? (userId) => accountsModule.lookup.find(userId)?.appserviceId !== undefined
      : undefined,
    threads: threadsModule.threads,
    ...(config.push.threadsAreFollowed
      ? { followed: { isSubscribed: (...thread) => services.threads?.isSubscribed(...thread) ?? false } }
      : {}),
    ignoredUsers,
    isInviteHidden,
    formatter,
    limit: limit({ perSecond: 10, burstCount: 50 }),
  });

  const tagsModule = tags({ db });
  const upgradesModule = roomUpgrades({
    log,
    serverName,
    events,
    state,
    members,
    timeline,
    sender,
    profiles: profileService,
    directory: { listAliases: (roomId) => aliases.list(roomId), move: (...rooms) => directoryModule.move(...rooms) },
    limit: creationLimit,
    accountData: accountDataModule.accountData,
    transfers: [tagsModule.copyTags, pushModule.copyRoomRules],
  });

  const services = composeServices({
    ...needs,
    appservices,
    encryption: encryptionModule,
    receipts: receiptsModule,
    mailer,
    templates,
    profiles: profileService,
    onMailAdded: pushModule.onMailRegistered,
    onMailRemoved: pushModule.onMailRemoved,
    limit,
    federation,
    rooms,
    sync,
    accounts: accountsModule,
    devices: devicesModule.devices,
    presence: presenceModule.presence,
    membership,
    directory: directoryModule,
    media: mediaModule,
    events: eventsModule,
    relations: relationsModule.relations,
    ignoredUsers,
  });

  const modules: readonly Module[] = [
    accountsModule,
    devicesModule,
    openidModule,
    accountDataModule,
    invitesModule,
    tagsModule,
    toDeviceModule,
    encryptionModule,
    ...(mediaModule === undefined ? [] : [mediaModule]),
    profilesModule,
    userDirectoryModule,
    presenceModule,
    directoryModule,
    creationModule,
    membershipModule,
    upgradesModule,
    eventsModule,
    relationsModule,
    threadsModule,
    receiptsModule,
    readMarkersModule,
    pushModule,
    ...services.modules,
  ];

  projections.push(...sync.projections);
  for (const module of modules) {
    projections.push(...(module.projections ?? []));
    contributions.push(...(module.sync ?? []));
    decorations.push(...(module.decorations ?? []));
  }

  const federationRoutes = federation.routes({
    pdus: rooms.taker,
    edus: collect('EDU', modules, ({ edus: taken }) => taken),
    queries: collect('query', modules, ({ queries }) => queries),
  });

  return {
    modules,
    routes: [...sync.routes, ...federationRoutes, ...modules.flatMap((module) => module.routes ?? [])],
    followers: [
      rooms.fanOut.follower({ sender: federation.sender, acls: rooms.acls }),
      ...modules.flatMap((module) => module.followers ?? []),
    ],
    federation,
    accounts: accountsModule,
    rooms,
    sync,
    membership,
    directory: directoryModule,
    profiles: profileService,
    accountData: accountDataModule.accountData,
    devices: devicesModule.devices,
    media: mediaModule?.media,
    activity: services.activity,
    echo: services.echo,
  };
}

/**
 * The second half of the composition: what stands beside the rooms, and needs them, but that they do not need. What one of
 * the parts of compose.ts asks of these, it reaches through a function called once both are there.
 */
import { composePeople, type People, type PeopleNeeds } from './compose-people.ts';
import type { Config } from './config/types.ts';
import type { Federation, FederationNeeds } from './federation/federation.ts';
import type { RateLimit } from './http/rate-limit.ts';
import type { Route } from './http/route.ts';
import type { UserId } from './matrix/identifiers.ts';
import type { SigningKey } from './matrix/signing.ts';
import type { Templates } from './mail/index.ts';
import type { RunningMailer } from './mail/mailer.ts';
import type { Module } from './module.ts';
import { echo } from './appliance/doctor/echo.ts';
import type { EchoPort } from './appliance/doctor/port.ts';
import { activity, type Activity } from './appliance/status/activity.ts';
import type { AccountData } from './modules/account-data/index.ts';
import type { AccountsModule } from './modules/accounts/index.ts';
import { administration } from './modules/administration/index.ts';
import { type DelayedEvents, delayedEvents } from './modules/delayed-events/index.ts';
import type { DeviceManagementModule, Devices } from './modules/device-management/index.ts';
import type { ContentRepository } from './modules/content-repository/index.ts';
import {
  type ApplicationServicesModule,
  type AppserviceRegistry,
  applicationServices,
} from './modules/application-services/index.ts';
import type { endToEndEncryption } from './modules/end-to-end-encryption/index.ts';
import { eventContext } from './modules/event-context/index.ts';
import { eventRetrieval } from './modules/event-retrieval/index.ts';
import { guestAccess } from './modules/guest-access/index.ts';
import { mutualRooms } from './modules/mutual-rooms/index.ts';
import type { presence } from './modules/presence/index.ts';
import type { Profiles } from './modules/profiles/index.ts';
import type { receipts } from './modules/receipts/index.ts';
import { rendezvous } from './modules/rendezvous/index.ts';
import type { Relations } from './modules/relations/index.ts';
import { reportContent } from './modules/report-content/index.ts';
import type { RoomDirectory } from './modules/room-directory/index.ts';
import type { roomEvents } from './modules/room-events/index.ts';
import type { Membership } from './modules/room-membership/index.ts';
import { roomPreviews } from './modules/room-previews/index.ts';
import { search } from './modules/search/index.ts';
import { spaces } from './modules/spaces/index.ts';
import { type ThreadSubscriptions, threadSubscriptions } from './modules/thread-subscriptions/index.ts';
import { typingNotifications } from './modules/typing-notifications/index.ts';
import { voip } from './modules/voip/index.ts';
import { urlPreviews } from './modules/url-previews/index.ts';
import type { RoomPurge } from './rooms/purge/hook.ts';
import type { Rooms } from './rooms/rooms.ts';
import { capabilityFacts, discoverySettings, previewGuard, previewSettings, voipSettings } from './settings.ts';
import { configuredFeatures, unstableFeatures } from './unstable-features.ts';
import { capabilities } from './modules/capabilities/index.ts';
import type { Database, Follower } from './storage/types.ts';
import type { Sync } from './sync/sync.ts';
import type { Clock } from './util/clock.ts';
import type { Logger } from './util/log.ts';
import type { Random } from './util/random.ts';

export interface ComposeNeeds {
  readonly config: Config;
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The first is the one to sign with. */
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  readonly notaryKeys: readonly SigningKey[] | undefined;
  /** Of this program. */
  readonly version: string;
  /** The way to other servers; this machine's own unless told. */
  readonly network?: Pick<FederationNeeds, 'dns' | 'dial'>;
}

/** The server's parts, ready to be served and started. */
export interface Composition {
  readonly modules: readonly Module[];
  readonly routes: readonly Route[];
  readonly followers: readonly Follower[];
  readonly federation: Federation;
  readonly accounts: AccountsModule;
  readonly rooms: Rooms;
  readonly sync: Sync;
  readonly membership: Membership;
  readonly directory: RoomDirectory;
  readonly profiles: Profiles;
  readonly accountData: AccountData;
  readonly devices: Devices;
  /** Lacking where media are turned off. */
  readonly media: ContentRepository['media'] | undefined;
  /** What went on, by the hour. */
  readonly activity: Activity;
  /** How requests arrive here. */
  readonly echo: EchoPort;
}

/** What there is already when these parts are made. */
export interface House extends ComposeNeeds {
  readonly limit: (options: { perSecond: number; burstCount: number }) => RateLimit;
  readonly federation: Federation;
  readonly rooms: Rooms;
  readonly sync: Sync;
  readonly accounts: AccountsModule;
  readonly devices: DeviceManagementModule['devices'];
  readonly presence: ReturnType<typeof presence>['presence'];
  readonly membership: Membership;
  readonly directory: RoomDirectory;
  readonly events: ReturnType<typeof roomEvents>;
  readonly relations: Relations;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  readonly encryption: ReturnType<typeof endToEndEncryption>;
  readonly receipts: ReturnType<typeof receipts>;
  readonly appservices: AppserviceRegistry;
  readonly media: ContentRepository | undefined;
  readonly mailer: RunningMailer;
  readonly templates: Templates;
}

export interface Services {
  readonly appservices: ApplicationServicesModule;
  readonly delayed: DelayedEvents;
  readonly people: People;
  /** Only where threads are followed one by one. */
  readonly threads: ThreadSubscriptions | undefined;
  readonly modules: readonly Module[];
  readonly activity: Activity;
  readonly echo: EchoPort;
}

/** Makes the parts that stand beside the rooms. Starts nothing. */
export function composeServices(house: House & PeopleNeeds): Services {
  const { config, db, clock, random, log, limit, rooms, sync, membership } = house;
  const { serverName } = config;
  const { events, state, members, timeline, visibility } = rooms;
  const { client } = house.federation.network;

  const people = composePeople(house);
  const previewsModule = roomPreviews({
    members,
    summaries: house.directory.summaries,
    aliases: house.directory.aliases,
    listAllowedRooms: (roomId) => membership.listAllowedRooms(roomId),
    isInRoom: (server, roomId) => rooms.serverVisibility.isInRoom(server, roomId),
    isAllowed: (server, roomId) => rooms.acls.isAllowed(server, roomId),
    findElsewhere: (roomId, via) => spacesModule.findElsewhere(roomId, via),
    askingLimit: limit({ perSecond: 1, burstCount: 20 }),
  });
  const spacesModule = spaces({
    db,
    clock,
    random,
    log,
    serverName,
    client,
    events,
    state,
    members,
    previews: previewsModule.previews,
    limit: limit({ perSecond: 10, burstCount: 50 }),
  });

  const threadsModule = config.push.threadsAreFollowed
    ? threadSubscriptions({
        db,
        timeline,
        history: house.events.history,
        // Positions of sliding sync begin with the token of a sync.
        positionOf: (token) => sync.tokens.parse(token.replace(/[.].*$/, ''), 'from or to'),
      })
    : undefined;

  const delayedModule = delayedEvents({
    db,
    clock,
    random,
    log,
    settings: { maxDelayMs: config.rooms.maxEventDelayMs, maxPerUser: config.rooms.maxDelayedEventsPerUser },
    events,
    users: house.accounts.lookup,
    sending: house.events.sending,
    limit: limit(config.rateLimits.delayedEventManagement),
  });

  const typingModule = typingNotifications({
    db,
    clock,
    serverName,
    rooms: rooms.members,
    acls: rooms.acls,
    edus: house.federation.sender,
    sender: { send: (_roomId, userId, typing) => typing && house.presence.active(userId) },
  });
  const { accounts, devices, encryption } = house;
  const appservicesModule = applicationServices({
    db,
    clock,
    random,
    log,
    registry: house.appservices,
    // Where they are was chosen by whoever runs this server: not behind proxies, and on this machine more often than not.
    http: house.federation.network.guardedHttp({ deny: [], allow: [], httpProxy: undefined, httpsProxy: undefined }),
    settings: { tokenInAddress: config.appServices.tokenInAddress },
    events,
    members,
    formatter: sync.formatter,
    listAliases: (roomId) => house.directory.aliases.list(roomId),
    users: {
      exists: (userId) => accounts.lookup.exists(userId),
      ensureSender: (userId, id) => accounts.administration.ensureAppserviceUser(userId, id),
    },
    devices: {
      list: (userId) => devices.list(userId),
      exists: (userId, deviceId) => devices.exists(userId, deviceId),
      countOneTimeKeys: (userId, deviceId) => encryption.keyCounts.countOneTimeKeys(userId, deviceId),
      listUnusedFallback: (userId, deviceId) => encryption.keyCounts.listUnusedFallback(userId, deviceId),
    },
    news: {
      typing: typingModule.typing,
      receipts: (since, now, isShown) =>
        house.receipts.listSince(since, now, ({ roomId, userId, type }) =>
          isShown({ roomId, userId, isPrivate: type === 'm.read.private' }),
        ),
      presence: (since, now) =>
        [...house.presence.listSince(since, now)].map(([userId, shown]) => ({
          userId,
          toEvent: () => house.presence.toEvent(userId, house.presence.find(userId) ?? shown),
        })),
      deviceLists: (since, now) => encryption.listChangedUsers(since, now),
    },
  });

  const activityModule = activity({
    db,
    clock,
    countActiveSince: (at) =>
      accounts.lookup
        .listLocalUsers()
        .filter((userId) => devices.list(userId).some(({ lastSeenMs = 0 }) => lastSeenMs >= at)).length,
  });

  const echoModule = echo({ random, heard: () => house.federation.heard() });
  const modules: readonly Module[] = [
    activityModule,
    echoModule,
    ...people.modules,
    capabilities({
      facts: capabilityFacts(config, house.accounts),
      settings: discoverySettings(config),
      unstableFeatures: { ...unstableFeatures, ...configuredFeatures(config) },
    }),
    {
      name: 'mail',
      start: () => house.mailer.start(),
      stop: () => house.mailer.stop(),
      wake: () => house.mailer.wake(),
    },
    typingModule,
    appservicesModule,
    previewsModule,
    spacesModule,
    delayedModule,
    ...(threadsModule === undefined ? [] : [threadsModule]),
    rendezvous({
      clock,
      random,
      publicBaseUrl: config.publicBaseUrl,
      limits: {
        opening: limit({ perSecond: 0.1, burstCount: 10 }),
        using: limit({ perSecond: 10, burstCount: 50 }),
      },
    }),
    guestAccess({
      db,
      log,
      state,
      members,
      users: house.accounts.lookup,
      leave: (userId, roomId) => membership.leave(userId, roomId),
    }),
    eventRetrieval({
      serverName,
      clock,
      events,
      timeline,
      graph: rooms.graph,
      texts: rooms.pduTexts,
      acls: rooms.acls,
      visibility: rooms.serverVisibility,
    }),
    eventContext({ history: house.events.history, events, state, timeline, visibility, formatter: sync.formatter }),
    administration({
      serverName,
      accounts: { ...house.accounts.administration, find: (userId) => house.accounts.lookup.find(userId) },
      devices: house.devices,
    }),
    mutualRooms({ rooms: rooms.members, limit: limit({ perSecond: 1, burstCount: 10 }) }),
    search({
      db,
      clock,
      events,
      state,
      timeline,
      visibility,
      formatter: sync.formatter,
      ignoredUsers: house.ignoredUsers,
      related: house.relations,
      edits: house.relations,
      limit: limit({ perSecond: 5, burstCount: 50 }),
      settings: { enabled: config.rooms.searchEnabled },
    }),
    voip({ clock, limit: limit({ perSecond: 1, burstCount: 10 }), settings: voipSettings(config) }),
    reportContent({
      db,
      clock,
      log,
      serverName,
      events: rooms.events,
      rooms: rooms.members,
      visibility: rooms.visibility,
      users: house.accounts.lookup,
      limit: limit(config.rateLimits.reports),
    }),
    ...(house.media === undefined || !config.urlPreviews.enabled
      ? []
      : [
          urlPreviews({
            db,
            clock,
            log,
            http: house.federation.network.guardedHttp(previewGuard(config)),
            pictures: house.media.foundPictures,
            limit: limit({ perSecond: 5, burstCount: 100 }),
            settings: previewSettings(config),
          }),
        ]),
  ];
  return {
    appservices: appservicesModule,
    delayed: delayedModule.delayed,
    people,
    threads: threadsModule?.subscriptions,
    modules,
    activity: activityModule.activity,
    echo: echoModule.echo,
  };
}

/** Whoever keeps something of rooms, and has it go with them. */
export function purgeHooks(sync: Sync, federation: Federation, modules: readonly Module[]): RoomPurge[] {
  return [
    sync.purge,
    {
      hide: (tx, { roomId }) => federation.sender.keepApart(tx, roomId),
      room: (tx, { roomId }, limit) => federation.sender.abandonRoom(tx, roomId, limit),
    },
    ...modules.flatMap(({ purge }) => purge ?? []),
  ];
}

/**
 * The second half of the composition: what stands beside the rooms, and needs them, but that they do not need. What one of
 * the parts of compose.ts asks of these, it reaches through a function called once both are there.
 */
import type { Config } from './config/types.ts';
import type { Federation, FederationNeeds } from './federation/federation.ts';
import type { RateLimit } from './http/rate-limit.ts';
import type { SigningKey } from './matrix/signing.ts';
import type { Module } from './module.ts';
import type { AccountsModule } from './modules/accounts/index.ts';
import { eventContext } from './modules/event-context/index.ts';
import { eventRetrieval } from './modules/event-retrieval/index.ts';
import { guestAccess } from './modules/guest-access/index.ts';
import { mutualRooms } from './modules/mutual-rooms/index.ts';
import type { presence } from './modules/presence/index.ts';
import { reportContent } from './modules/report-content/index.ts';
import type { roomDirectory } from './modules/room-directory/index.ts';
import type { roomEvents } from './modules/room-events/index.ts';
import type { roomMembership } from './modules/room-membership/index.ts';
import { roomPreviews } from './modules/room-previews/index.ts';
import { spaces } from './modules/spaces/index.ts';
import { typingNotifications } from './modules/typing-notifications/index.ts';
import type { Rooms } from './rooms/rooms.ts';
import type { Database } from './storage/types.ts';
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

/** What there is already when these parts are made. */
export interface House extends ComposeNeeds {
  readonly limit: (options: { perSecond: number; burstCount: number }) => RateLimit;
  readonly federation: Federation;
  readonly rooms: Rooms;
  readonly sync: Sync;
  readonly accounts: AccountsModule;
  readonly presence: ReturnType<typeof presence>['presence'];
  readonly membership: ReturnType<typeof roomMembership>['membership'];
  readonly directory: ReturnType<typeof roomDirectory>;
  readonly events: ReturnType<typeof roomEvents>;
}

export interface Services {
  readonly modules: readonly Module[];
}

/** Makes the parts that stand beside the rooms. Starts nothing. */
export function composeServices(house: House): Services {
  const { config, db, clock, random, log, limit, rooms, sync, membership } = house;
  const { serverName } = config;
  const { events, state, members, timeline, visibility } = rooms;
  const { client } = house.federation.network;

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

  const modules: readonly Module[] = [
    typingNotifications({
      db,
      clock,
      serverName,
      rooms: rooms.members,
      acls: rooms.acls,
      edus: house.federation.sender,
      sender: { send: (_roomId, userId, typing) => typing && house.presence.active(userId) },
    }),
    previewsModule,
    spacesModule,
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
    mutualRooms({ rooms: rooms.members, limit: limit({ perSecond: 1, burstCount: 10 }) }),
    reportContent({
      db,
      clock,
      log,
      events: rooms.events,
      rooms: rooms.members,
      visibility: rooms.visibility,
      users: house.accounts.lookup,
      limit: limit(config.rateLimits.reports),
    }),
  ];
  return { modules };
}

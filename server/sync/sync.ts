import type { Requester, Route } from '../http/route.ts';
import type { DeviceId, RoomId, UserId } from '../matrix/identifiers.ts';
import type {
  EventReader,
  EventSender,
  MembershipReader,
  Projection,
  StateReader,
  Timeline,
  Visibility,
} from '../rooms/types.ts';
import type { Database, Restoration, StreamPosition, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { type AssembleNeeds, slices } from './assemble.ts';
import { clientEvents, type ClientEventFormatter } from './client-event.ts';
import type { RelatedEvents } from './filter-match.ts';
import { parseFilter } from './filter.ts';
import { filters, type Filters } from './filter-routes.ts';
import { FilterStore } from './filter-store.ts';
import { JoinedRooms } from './joined-rooms.ts';
import { LazyMembers } from './lazy-members.ts';
import { Notifier } from './notifier.ts';
import type { RoomPurge } from '../rooms/purge/hook.ts';
import { oldSyncRoutes } from './old-sync.ts';
import type { PublishedRooms } from './old-sync-parts.ts';
import { syncPurge } from './purge.ts';
import { type SyncPresence, syncRoute } from './routes.ts';
import { BumpStamps } from './sliding/bump-stamps.ts';
import { Connections } from './sliding/connections.ts';
import type { RoomLabels } from './sliding/lists.ts';
import { RoomIndex } from './sliding/room-index.ts';
import { slidingSyncRoute } from './sliding/routes.ts';
import { RoomSummaries } from './summary.ts';
import { type SyncTokens, syncTokens } from './token.ts';
import type { EventDecoration, SyncContribution, SyncWindow } from './types.ts';
import { computeWindow, type WindowNeeds } from './window.ts';

export interface SyncNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: EventReader;
  readonly state: StateReader;
  readonly members: MembershipReader;
  readonly timeline: Timeline;
  readonly visibility: Visibility;
  readonly sender: Pick<EventSender, 'findTransactionId'>;
  /** Asked at each request: modules that need the formatter are made after it. */
  readonly contributions: () => readonly SyncContribution[];
  readonly decorations: () => readonly EventDecoration[];
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  /** Whether an invite is kept from the invited user's clients; none is, without it. */
  readonly isInviteHidden?: (inviter: UserId, invitee: UserId) => boolean;
  /** Hears which users' clients are there. */
  readonly presence?: SyncPresence;
  /** Answers `related_by_senders` and `related_by_rel_types`; without it they let nothing through. */
  readonly related?: RelatedEvents;
  /** What the user's rooms are to them, for the lists of sliding sync; without it none is anything. */
  readonly labels?: RoomLabels;
  /** For the `visibility` of rooms in the deprecated operations. */
  readonly published?: PublishedRooms;
  /** The most events per room and answer (`filter_timeline_limit`); undefined for no limit. */
  readonly filterTimelineLimit?: number | undefined;
  /** Rooms that were removed from this server in (since, now], for somebody who was in them or invited. */
  readonly removedRooms?: (userId: UserId, since: StreamPosition, now: StreamPosition) => readonly RoomId[];
  /** Rooms left out of every answer (`exclude_rooms_from_sync`). */
  readonly excludedRooms?: ReadonlySet<RoomId>;
}

/** What the rest of the server has of /sync. */
export interface Sync {
  /** /sync, filters, and the deprecated operations. */
  readonly routes: readonly Route[];
  readonly projections: readonly Projection[];
  readonly notifier: Notifier;
  readonly formatter: ClientEventFormatter;
  readonly tokens: SyncTokens;
  /** Reads the `filter` parameter of a request. */
  readonly filters: Pick<Filters, 'resolve'>;
  /** Which members each device has been sent: for other operations that load them lazily. */
  readonly lazyMembers: LazyMembers;
  /** What a requester's unfiltered sync from `since` on would be about: for operations that ask what changed. */
  windowSince(requester: Requester, since: StreamPosition): SyncWindow;
  /** Forgets what a device was told: it is no more. */
  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
  afterRestore(tx: WriteTx, restoration: Restoration): void;
  /** Forgets what devices were told of a room that is removed for good. */
  readonly purge: RoomPurge;
  /** Lets every waiting request go with what it has. */
  stop(): void;
}

/** Makes /sync and what belongs to it. Its tables are made by `syncMigrations`. */
export function createSync(needs: SyncNeeds): Sync {
  const { db, clock, events, state, members, timeline, visibility } = needs;
  const contributions = (): SyncContribution[] =>
    needs.contributions().filter(({ slidingOnly }) => slidingOnly !== true);
  const excluded = needs.excludedRooms ?? new Set<RoomId>();
  const formatter = clientEvents(needs);
  const tokens = syncTokens({ db });
  const notifier = new Notifier({ db, clock });
  const lazyMembers = new LazyMembers();
  const timelineLimit = needs.filterTimelineLimit;
  const filtering = filters({ db, store: new FilterStore(db), timelineLimit });
  const windows: WindowNeeds = {
    db,
    events,
    state,
    members,
    timeline,
    joinedRooms: new JoinedRooms({ db, members, excluded }),
    ignoredUsers: needs.ignoredUsers,
    isInviteHidden: needs.isInviteHidden,
    excluded,
  };
  const timelines = { timeline, visibility, related: needs.related };
  const answers: AssembleNeeds = {
    ...timelines,
    clock,
    tokens,
    contributions,
    events,
    state,
    members,
    formatter,
    lazyMembers,
    summaries: new RoomSummaries({ db, members, events, state }),
    removedRooms: needs.removedRooms,
  };
  const sync = syncRoute({ clock, windows, answers, filters: filtering, tokens, notifier, presence: needs.presence });
  const index = new RoomIndex({ db, members, events, state, timeline, excluded });
  const connections = new Connections({ db, clock, tokens });
  const bumps = new BumpStamps({ db, timeline });
  const sliding = slidingSyncRoute({
    clock,
    connections,
    notifier,
    presence: needs.presence,
    timelineLimit,
    answers: {
      index,
      labels: needs.labels ?? { findDirectRooms: () => undefined, taggedRooms: () => new Map() },
      state,
      events,
      contributions: needs.contributions,
      tokens,
      windows,
      sections: answers,
      results: { ...answers, members, bumps },
      slices: () => slices(clock),
    },
  });
  const old = oldSyncRoutes({
    clock,
    windows,
    timelines,
    events,
    state,
    members,
    visibility,
    formatter,
    contributions,
    tokens,
    notifier,
    published: needs.published,
    presence: needs.presence,
    timelineLimit,
  });
  return {
    routes: [sync, sliding, ...filtering.routes, ...old],
    projections: [bumps.projection],
    notifier,
    formatter,
    tokens,
    filters: filtering,
    lazyMembers,
    windowSince: (requester, since) =>
      computeWindow(windows, { requester, since, filter: parseFilter({}), fullState: false }),
    removeDevice: (tx, userId, deviceId) => connections.removeDevice(tx, userId, deviceId),
    afterRestore: (tx, restoration) => {
      tokens.addLostTime(tx, restoration);
      connections.removeAll(tx);
    },
    purge: syncPurge(db, [windows.joinedRooms, index]),
    stop: () => notifier.stop(),
  };
}

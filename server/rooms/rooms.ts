import type { RoomId, ServerName, UserId } from '../matrix/identifiers.ts';
import type { SigningKey } from '../matrix/signing.ts';
import { Progress } from '../storage/progress.ts';
import type { Database, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { type Random, systemRandom } from '../util/random.ts';
import { ChainCover } from './chain-cover.ts';
import { checkRooms } from './consistency.ts';
import { EventStore } from './event-store.ts';
import { RoomHeads } from './extremities.ts';
import { ExtremityCap } from './extremity-cap.ts';
import { FanOut } from './fan-out.ts';
import type { GraphReader, ServerAcls, ServerVisibility } from './federation-types.ts';
import { Gatherer } from './gather.ts';
import { createBackfiller, type History } from './backfill.ts';
import { RoomGraph } from './graph-reader.ts';
import { createInbound } from './inbox/create.ts';
import type { CheckSignatures, Inbox } from './inbox.ts';
import { Members } from './membership.ts';
import { PduTexts } from './pdu-texts.ts';
import { Persister } from './persist.ts';
import { type PurgeNeeds, Purger, type RoomPurges } from './purge/purger.ts';
import { PolicyServers } from './policy-servers.ts';
import { Redactions } from './redactions.ts';
import { StateResolver } from './resolution.ts';
import { Sender } from './send.ts';
import { RoomSizes } from './sizes.ts';
import { RoomsStanding } from './standing.ts';
import { RoomServerAcls } from './server-acls.ts';
import { VisibilityToServers } from './server-visibility.ts';
import { StateGroups } from './state-groups.ts';
import { eventReader, States } from './state-reader.ts';
import { DEFAULT_PREJOIN_STATE, type PrejoinState } from './stripped-state.ts';
import { EventTemplates } from './templates.ts';
import { RoomTimeline } from './timeline.ts';
import { SendTransactions } from './transactions.ts';
import type {
  EventReader,
  EventSender,
  MemberLists,
  MembershipReader,
  MembershipWriter,
  Projection,
  SharingReader,
  StateReader,
  Timeline,
  Visibility,
} from './types.ts';
import { UnredactedExpiry } from './unredacted-expiry.ts';
import { RoomVisibility } from './visibility.ts';
import type { Destinations, FederationClient, KeyRing, PduTaker } from '../federation/types.ts';
import type { OutlierStore, OutsideMembership } from './federation-types.ts';
import { Outliers } from './outliers.ts';
import { OutsideMemberships } from './outside-membership.ts';
import { OwedLeaves } from './remote/owed-leaves.ts';
import type { RemoteParts } from './remote/parts.ts';
import { createRemoteRooms, type RemoteRooms } from './remote/remote-rooms.ts';

export { migrations } from './schema.ts';

/** The rooms of this server: one object for each thing others may ask of them. */
export interface Rooms {
  readonly events: EventReader;
  readonly state: StateReader;
  readonly members: MembershipReader & MembershipWriter & SharingReader & MemberLists;
  readonly timeline: Timeline;
  readonly visibility: Visibility;
  readonly sender: EventSender;
  /** Where events of other servers enter. */
  readonly inbox: Pick<Inbox, 'accept'>;
  /** Where their transactions do; `idle` resolves when nothing can be done without waiting for time to pass. */
  readonly taker: PduTaker & { idle(): Promise<void> };
  readonly acls: ServerAcls;
  readonly serverVisibility: ServerVisibility;
  /** Where events leave for other servers. */
  readonly fanOut: Pick<FanOut, 'forward' | 'follower'>;
  readonly templates: Pick<EventTemplates, 'build'>;
  readonly pduTexts: Pick<PduTexts, 'list' | 'stateBefore'>;
  readonly graph: GraphReader;
  readonly outside: OutsideMembership;
  readonly standing: RoomsStanding;
  /** What takes other servers; undefined where this server does not federate. */
  readonly federated:
    | { readonly outliers: OutlierStore; readonly remote: RemoteRooms; readonly history: History }
    | undefined;
  /** Rooms with a state, in no order: this server has, or had, somebody in them. */
  list(): readonly { readonly roomId: RoomId; readonly version: string; readonly lastPosition: number }[];
  readonly sizes: Pick<RoomSizes, 'list' | 'of' | 'refresh'>;
  /** Where rooms are removed for good, or closed. */
  readonly purges: RoomPurges;
  /** What is wrong with the stored rooms, a sentence each; empty if all is well. Reads everything. */
  checkConsistency(): string[];
  /**
   * Goes on with events of other servers that were on their way, and begins to forget what redacted events said, as far as
   * that is not kept for good. Whoever starts it stops it.
   */
  start(): void;
  stop(): Promise<void>;
  /** Before `start`, once after a backup took the place of the data. */
  afterRestore(tx: WriteTx): void;
}

export interface RoomsOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
  readonly serverName: ServerName;
  /** Events of this server are signed with it. */
  readonly signingKey: SigningKey;
  /** Run in this order inside the write that stores an event. */
  readonly projections: readonly Projection[];
  /** Whether a user had their account erased; nobody, unless told. */
  readonly isErased?: (userId: UserId) => boolean;
  /** How long (ms) redacted events keep what they said; for good, unless told. */
  readonly redactionRetentionMs?: number | undefined;
  /** What a room shows of its state to the invited and to those who knock; what the spec names, unless told. */
  readonly prejoinState?: readonly PrejoinState[];
  /** More loose ends of a room than these are tied up; ten unless told. */
  readonly dummyEventsThreshold?: number;
  /** Other servers; without it this one keeps to itself. */
  readonly federation?: RoomsFederation;
  /** What it takes to remove a room of which others keep something, or others are told. */
  readonly purge?: PurgeNeeds;
  /** Checks the signatures of events of other servers; without it, none of them is taken. */
  readonly checkSignatures?: CheckSignatures;
}

/** What the rooms need to deal with other servers. */
export interface RoomsFederation extends Partial<Pick<RemoteParts, 'limit' | 'isAdmin' | 'joinHere'>> {
  readonly client: FederationClient;
  readonly keyRing: KeyRing;
  /** Servers that are being left alone are not asked for history, nor told what is owed to them. */
  readonly destinations?: Pick<Destinations, 'readyAt'> & Partial<Pick<Destinations, 'onRecovered'>>;
}

const DEFAULT_DUMMY_EVENTS_THRESHOLD = 10;

/** Puts the rooms together. The tables of `migrations` must be there. */
export function createRooms(options: RoomsOptions): Rooms {
  const { db, clock, random = systemRandom, log, serverName, signingKey, projections } = options;
  const heads = new RoomHeads(db);
  const cover = new ChainCover({ db, log });
  const events = new EventStore({ db, rooms: heads, cover });
  const groups = new StateGroups({ db, random });
  const members = new Members({ db, serverName, heads, events });
  const resolver = new StateResolver({ db, clock, groups, events, cover });
  const redactions = new Redactions({ db, events, groups });
  const gatherer = new Gatherer({ events, groups, resolver });
  const { prejoinState = DEFAULT_PREJOIN_STATE } = options;
  const persister = new Persister({
    clock,
    heads,
    events,
    groups,
    members,
    redactions,
    resolver,
    projections,
    prejoinState,
  });
  const transactions = new SendTransactions({ db, clock });
  const expiry = new UnredactedExpiry({ db, clock, log, retentionMs: options.redactionRetentionMs });
  const state = new States({ heads, events, groups });
  const acls = new RoomServerAcls({ state });
  const policy = new PolicyServers({ state, members, client: options.federation?.client, serverName, log });
  const sender = new Sender({
    db,
    clock,
    random,
    serverName,
    signingKey,
    heads,
    events,
    gatherer,
    resolver,
    members,
    persister,
    transactions,
    policy,
  });
  const cap = new ExtremityCap({
    db,
    clock,
    log,
    heads,
    gatherer,
    members,
    sender,
    threshold: options.dummyEventsThreshold ?? DEFAULT_DUMMY_EVENTS_THRESHOLD,
  });
  const outside = new OutsideMemberships({
    clock,
    random,
    log,
    serverName,
    signingKey,
    heads,
    events,
    members,
    projections,
  });
  const handedOver = new Progress(clock);
  const sizes = new RoomSizes({ db, clock, log });
  const purger = new Purger({
    db,
    clock,
    log,
    heads,
    events,
    members,
    sizes,
    handedOver: (position, longestMs) => handedOver.until(position, longestMs),
    needs: options.purge ?? { leave: () => Promise.resolve(), isSending: () => false, hooks: () => [] },
  });
  const { federation } = options;
  const outliers =
    federation === undefined ? undefined : new Outliers({ db, clock, log, heads, events, keyRing: federation.keyRing });
  const owed =
    federation === undefined
      ? undefined
      : new OwedLeaves({ ...federation, db, clock, random, log, serverName, signingKey, members });
  const { inbox, taker, lines } = createInbound({
    db,
    clock,
    log,
    serverName,
    heads,
    events,
    groups,
    gatherer,
    resolver,
    persister,
    members,
    policy,
    acls,
    outside,
    checkSignatures: options.checkSignatures,
    remote:
      federation === undefined || outliers === undefined
        ? undefined
        : { client: federation.client, keyRing: federation.keyRing, outliers },
  });
  return {
    events: eventReader({ heads, events }),
    standing: new RoomsStanding({ db }),
    state,
    members,
    timeline: new RoomTimeline({ db, heads, events }),
    visibility: new RoomVisibility({ heads, events, groups, members, isErased: options.isErased ?? (() => false) }),
    serverVisibility: new VisibilityToServers({ events, groups, members, isErased: options.isErased ?? (() => false) }),
    fanOut: new FanOut({ db, clock, serverName, heads, events, groups, members, progress: handedOver }),
    templates: new EventTemplates({ db, clock, random, serverName, signingKey, heads, events, gatherer }),
    pduTexts: new PduTexts({ db, events, groups }),
    graph: new RoomGraph({ db, events }),
    sender,
    outside,
    federated:
      federation === undefined || outliers === undefined || owed === undefined
        ? undefined
        : {
            outliers,
            history: createBackfiller({
              ...federation,
              db,
              clock,
              log,
              serverName,
              heads,
              events,
              groups,
              state,
              members,
              outliers,
              admit: (event, admitOptions) => inbox.admit(event, admitOptions),
            }),
            remote: createRemoteRooms(
              {
                db,
                clock,
                random,
                log,
                serverName,
                signingKey,
                heads,
                events,
                groups,
                members,
                gatherer,
                resolver,
                persister,
                sender,
                outliers,
                outside,
                prejoinState,
                limit: undefined,
                isAdmin: () => false,
                joinHere: undefined,
                ...federation,
              },
              owed,
            ),
          },
    inbox,
    acls,
    taker: { receive: (origin, pdus) => taker.receive(origin, pdus), idle: () => lines.idle() },
    list: () => heads.list(),
    sizes,
    purges: purger,
    checkConsistency: () => checkRooms({ db, heads, events, groups, members, resolver }),
    afterRestore: (tx) => owed?.afterRestore(tx),
    start: () => {
      cap.start();
      cover.start();
      expiry.start();
      lines.start();
      purger.start();
      owed?.start();
    },
    stop: async () => {
      await purger.stop();
      await owed?.stop();
      await sizes.stop();
      const stopped = lines.stop();
      resolver.stop();
      await stopped;
      await cap.stop();
      await cover.stop();
      await expiry.stop();
    },
  };
}

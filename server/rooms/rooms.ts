import type { ServerName, UserId } from '../matrix/identifiers.ts';
import type { SigningKey } from '../matrix/signing.ts';
import type { Database } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { type Random, systemRandom } from '../util/random.ts';
import { checkRooms } from './consistency.ts';
import { EventStore } from './event-store.ts';
import { RoomHeads } from './extremities.ts';
import { Gatherer } from './gather.ts';
import { type CheckSignatures, Inbox } from './inbox.ts';
import { Members } from './membership.ts';
import { Persister } from './persist.ts';
import { Redactions } from './redactions.ts';
import { StateResolver } from './resolution.ts';
import { Sender } from './send.ts';
import { StateGroups } from './state-groups.ts';
import { eventReader, States } from './state-reader.ts';
import { DEFAULT_PREJOIN_STATE, type PrejoinState } from './stripped-state.ts';
import { RoomTimeline } from './timeline.ts';
import { SendTransactions } from './transactions.ts';
import type {
  EventReader,
  EventSender,
  MembershipReader,
  MembershipWriter,
  Projection,
  StateReader,
  Timeline,
  Visibility,
} from './types.ts';
import { UnredactedExpiry } from './unredacted-expiry.ts';
import { RoomVisibility } from './visibility.ts';

export { migrations } from './schema.ts';

/** The rooms of this server: one object for each thing others may ask of them. */
export interface Rooms {
  readonly events: EventReader;
  readonly state: StateReader;
  readonly members: MembershipReader & MembershipWriter;
  readonly timeline: Timeline;
  readonly visibility: Visibility;
  readonly sender: EventSender;
  /** Where events of other servers enter. */
  readonly inbox: Pick<Inbox, 'accept'>;
  /** What is wrong with the stored rooms, a sentence each; empty if all is well. Reads everything. */
  checkConsistency(): string[];
  /** Begins to forget what redacted events said, as far as that is not kept for good; whoever starts it stops it. */
  start(): void;
  stop(): Promise<void>;
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
  /** Checks the signatures of events of other servers; without it, none of them is taken. */
  readonly checkSignatures?: CheckSignatures;
}

/** Puts the rooms together. The tables of `migrations` must be there. */
export function createRooms(options: RoomsOptions): Rooms {
  const { db, clock, random = systemRandom, log, serverName, signingKey, projections } = options;
  const heads = new RoomHeads(db);
  const events = new EventStore(db, heads);
  const groups = new StateGroups({ db, random });
  const members = new Members({ db, serverName, heads, events });
  const resolver = new StateResolver({ db, groups, events });
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
  return {
    events: eventReader({ heads, events }),
    state: new States({ heads, events, groups }),
    members,
    timeline: new RoomTimeline({ db, heads, events }),
    visibility: new RoomVisibility({ heads, events, groups, members, isErased: options.isErased ?? (() => false) }),
    sender: new Sender({
      db,
      clock,
      random,
      serverName,
      signingKey,
      heads,
      events,
      gatherer,
      members,
      persister,
      transactions,
    }),
    inbox: new Inbox({
      db,
      log,
      heads,
      events,
      groups,
      gatherer,
      resolver,
      persister,
      checkSignatures: options.checkSignatures ?? (() => false),
    }),
    checkConsistency: () => checkRooms({ db, heads, events, groups, members, resolver }),
    start: () => expiry.start(),
    stop: () => expiry.stop(),
  };
}

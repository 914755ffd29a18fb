/**
 * What the rest of the server may ask of the rooms. Each interface is narrow on purpose: a module names the ones it
 * needs (or picks single functions of them) and `compose.ts` hands them over.
 */
import type { RoomEvent, StateKey } from '../matrix/events/event.ts';
import type { DeviceId, EventId, RoomId, ServerName, UserId } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import type { StreamPosition, WriteTx } from '../storage/types.ts';

/** The judge's verdicts (spec: server-server API, "Checks performed on receipt of a PDU"). */
export type Verdict = 'accepted' | 'soft-failed' | 'rejected';

/** An event of ours: checked, judged and stored. Where it was redacted, `content` and `pdu` are the pruned form. */
export interface PersistedEvent extends RoomEvent {
  readonly position: StreamPosition;
  /** When this server stored it, ms since the epoch. */
  readonly receivedTs: number;
  readonly verdict: Verdict;
  /** Kept to check others, outside the graph we hold. */
  readonly outlier: boolean;
  /** The redaction that took effect on it. */
  readonly redactedBy: EventId | undefined;
  /** For a state event: the event that held its place in the state before it. */
  readonly replacesState: EventId | undefined;
}

/** What must be known of a room to speak of it at all. */
export interface RoomInfo {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
}

export interface EventReader {
  findRoom(roomId: RoomId): RoomInfo | undefined;
  /** Any stored event, rejected ones and outliers too: ask `verdict`, or use the timeline. */
  findEvent(eventId: EventId): PersistedEvent | undefined;
  /** In the order asked for; unknown ones are left out. */
  listEvents(eventIds: readonly EventId[]): PersistedEvent[];
  /** The event as it was before a redaction pruned it, while that is still kept. */
  findUnredacted(eventId: EventId): PersistedEvent | undefined;
}

/** The state of one room at one point. Looking up one key costs O(log n); nothing is loaded that is not asked for. */
export interface RoomState {
  find(type: string, stateKey: string): EventId | undefined;
  /** All of one type, as [state key, event]. */
  listType(type: string): readonly (readonly [string, EventId])[];
  entries(): IterableIterator<readonly [StateKey, EventId]>;
  /** All but those of one type, which are not read: a room's members are most of its state. */
  entriesWithout(type: string): IterableIterator<readonly [StateKey, EventId]>;
  readonly size: number;
}

/** What one event changed in the current state of its room. `after` undefined: the key is gone. */
export interface StateDelta {
  readonly type: string;
  readonly stateKey: string;
  readonly before: EventId | undefined;
  readonly after: EventId | undefined;
}

export interface StateReader {
  /** The state resolved over the forward extremities. Empty for an unknown room. */
  currentState(roomId: RoomId): RoomState;
  /** The event itself that holds a key of the current state; the usual way to read a room's name, rules or levels. */
  findCurrent(roomId: RoomId, type: string, stateKey: string): PersistedEvent | undefined;
  stateBefore(eventId: EventId): RoomState | undefined;
  stateAfter(eventId: EventId): RoomState | undefined;
  /** The current state as it was at a position of the stream (what a client that synced up to it was told). */
  stateAt(roomId: RoomId, position: StreamPosition): RoomState;
  /** The keys in which two states differ, as [key, in `from`, in `to`]; costs what differs. */
  difference(
    from: RoomState,
    to: RoomState,
  ): readonly (readonly [StateKey, EventId | undefined, EventId | undefined])[];
}

export type Membership = 'join' | 'invite' | 'knock' | 'leave' | 'ban';

/** A user's place in a room by the current state (or, for a room we are not in, by the invite or knock we hold). */
export interface RoomMember {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly membership: Membership;
  readonly eventId: EventId;
  /** Who set it: differs from `userId` for a kick or ban. */
  readonly sender: UserId;
  /** Where in the stream it became so. */
  readonly position: StreamPosition;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
  /** The user, having left, wants to hear no more of it. */
  readonly forgotten: boolean;
}

export interface MembershipReader {
  findMember(roomId: RoomId, userId: UserId): RoomMember | undefined;
  listMembers(roomId: RoomId, membership?: Membership): RoomMember[];
  /** The rooms of a user in any of `memberships`, forgotten ones left out. */
  listRoomsOf(userId: UserId, memberships: readonly Membership[]): RoomMember[];
  isJoined(roomId: RoomId, userId: UserId): boolean;
  countMembers(roomId: RoomId, membership: Membership): number;
  /** Whether both are joined to some room. */
  shareRoom(a: UserId, b: UserId): boolean;
  /** Rooms both are joined to. */
  listMutualRooms(a: UserId, b: UserId): RoomId[];
  /** Everyone joined to a room `userId` is joined to, `userId` included. */
  listSharingUsers(userId: UserId): UserId[];
  /** Local users joined to the room. */
  listLocalJoined(roomId: RoomId): UserId[];
  /** Servers with a joined user. */
  listServers(roomId: RoomId): ServerName[];
  /**
   * Changes of membership in (since, now], oldest first: of one user, in all rooms (for their own sync), as what each was
   * before and is after.
   */
  listMembershipChanges(
    userId: UserId,
    since: StreamPosition,
    now: StreamPosition,
  ): readonly { readonly roomId: RoomId; readonly before: Membership | undefined; readonly after: RoomMember }[];
  /** What the user's membership of the room was at a position of the stream, with the event that made it so. */
  membershipAt(
    roomId: RoomId,
    userId: UserId,
    position: StreamPosition,
  ): { readonly membership: Membership; readonly eventId: EventId } | undefined;
  /** The state shown to somebody invited or knocking (spec: "Stripped state"), as it came with the invite or knock. */
  listStrippedState(roomId: RoomId, userId: UserId): JsonObject[];
}

export interface SharingReader {
  /**
   * Whether the user and some local user have been in one room together, without a break, since `since` (the present: are
   * in one together now).
   */
  hasSharedSince(userId: UserId, since: StreamPosition): boolean;
}

export interface MemberLists {
  /** At most `limit` members, in no order: for rooms of any size. */
  listSome(roomId: RoomId, membership: Membership, limit: number): RoomMember[];
  /** Users of this server who have or had to do with the room, those who are joined first. */
  listLocal(roomId: RoomId): UserId[];
}

export interface MembershipWriter {
  /** Marks a left (or banned-from) room as forgotten. Returns false if the user is still in it. */
  forget(tx: WriteTx, roomId: RoomId, userId: UserId): boolean;
}

/**
 * A place in the order of events: of the stream (what /sync gives), or of the room's graph (depth first, then stream;
 * what /messages walks). As text `s<position>` and `t<depth>-<position>`; `timeline-token.ts` reads and writes it.
 */
export type TimelineToken =
  | { readonly order: 'stream'; readonly position: StreamPosition }
  | { readonly order: 'topological'; readonly depth: number; readonly position: StreamPosition };

export interface TimelinePage {
  /** In the direction that was asked for. */
  readonly events: PersistedEvent[];
  /** Where the next page begins; undefined if there is nothing more that way. */
  readonly end: TimelineToken | undefined;
}

export interface Timeline {
  /**
   * A page of the room's accepted events. `accept` filters; at most a bounded number of events is looked at for one
   * page, so a page may be short and still have an `end`.
   */
  page(options: {
    roomId: RoomId;
    /** Undefined: the newest event going back, the oldest going forward. */
    from: TimelineToken | undefined;
    to?: TimelineToken | undefined;
    direction: 'b' | 'f';
    limit: number;
    accept?: (event: PersistedEvent) => boolean;
  }): TimelinePage;
  /**
   * The newest events of the room in (since, now], oldest first, at most `limit`; whether some were left out; and the
   * token to page back from. Costs what happened since, never the length of the room.
   */
  since(options: {
    roomId: RoomId;
    since: StreamPosition;
    now: StreamPosition;
    limit: number;
    accept?: (event: PersistedEvent) => boolean;
  }): { events: PersistedEvent[]; limited: boolean; prevBatch: TimelineToken };
  /** Rooms among `roomIds` in which events were accepted in (since, now]. Costs what happened since. */
  listActiveRooms(since: StreamPosition, now: StreamPosition): RoomId[];
  /** The place just before (for direction b) or after (f) an event. */
  tokenAt(event: PersistedEvent, side: 'before' | 'after'): TimelineToken;
  /** The event nearest to a time (ms): at or after it going forward, at or before it going back. */
  findNearest(roomId: RoomId, ts: number, direction: 'f' | 'b'): PersistedEvent | undefined;
  /** The newest accepted event of the room, or the newest one up to a position. */
  findLatest(roomId: RoomId, upTo?: StreamPosition): PersistedEvent | undefined;
}

export interface Visibility {
  /** Whether the user may see the event (spec: room history visibility). Ignores what the user ignores. */
  canSee(userId: UserId, event: PersistedEvent): boolean;
  /** The events the user may see, in the same order; one state look-up per run of events with the same state. */
  filterVisible(userId: UserId, events: readonly PersistedEvent[]): PersistedEvent[];
  /**
   * How the user may read the room: as a member; up to the moment they left; by peeking, since it is world readable; or
   * not at all. Forgotten rooms can not be read (but by peeking).
   */
  accessOf(
    userId: UserId,
    roomId: RoomId,
  ):
    | { readonly kind: 'joined' }
    | { readonly kind: 'left'; readonly member: RoomMember }
    | { readonly kind: 'peek' }
    | undefined;
}

/** An event a local user wants sent, before it has a place in the graph. */
export interface EventDraft {
  readonly roomId: RoomId;
  readonly type: string;
  readonly sender: UserId;
  readonly content: JsonObject;
  readonly stateKey?: string | undefined;
  /** For m.room.redaction; it is put where the room's version keeps it. */
  readonly redacts?: EventId | undefined;
  /** Now, unless an application service or administrator says otherwise. */
  readonly originServerTs?: number | undefined;
}

export interface SendOptions {
  /** The client's transaction: sending again with the same one gives the first event and changes nothing. */
  readonly transaction?: { readonly deviceId: DeviceId; readonly transactionId: string };
  /** Runs in the transaction that stores the event, after it; undone with it. */
  readonly alongside?: (tx: WriteTx, event: PersistedEvent) => void;
  /** Store a state event even if the current one has the same content (else that one is returned). */
  readonly allowUnchanged?: boolean;
}

export interface EventSender {
  /**
   * Sends one event on the road every event takes: its place in the graph, the judge, one transaction. Resolves when it
   * is stored (the HTTP layer waits for the disk).
   * @throws MatrixError M_FORBIDDEN with the auth rule's reason, M_TOO_LARGE, M_BAD_JSON, M_NOT_FOUND for an unknown room
   */
  send(draft: EventDraft, options?: SendOptions): Promise<PersistedEvent>;
  /** As `send`, within a write that is under way and is undone together with it. Always stores an event. */
  sendWithin(tx: WriteTx, draft: EventDraft): PersistedEvent;
  /**
   * Makes a room out of its create event's content, its creator's join and what follows, one after the other on the
   * same road, all or nothing. Drafts take the room ID that comes out.
   */
  createRoom(options: {
    version: RoomVersion;
    creator: UserId;
    /**
     * m.room.create content; `room_version` and, where the version wants it, `creator` are set here. A function gets the
     * ID the room will have, in versions that do not make it out of this very content.
     */
    createContent: JsonObject | ((tx: WriteTx, roomId: RoomId | undefined) => JsonObject);
    /** The events after create, in order, the creator's join first. */
    events: (roomId: RoomId) => readonly Omit<EventDraft, 'roomId'>[];
    alongside?: (tx: WriteTx, roomId: RoomId) => void;
  }): Promise<{ readonly roomId: RoomId; readonly events: readonly PersistedEvent[] }>;
  /** The transaction ID a device sent an event with, if it did. */
  findTransactionId(event: PersistedEvent, deviceId: DeviceId): string | undefined;
}

/**
 * Runs inside the transaction that stores an event: true, or rolled back with it. Must be quick and look at nothing but
 * the database. Not called for outliers and rejected events; soft-failed ones come with `stateDeltas` empty.
 */
export interface Projection {
  readonly name: string;
  project(
    tx: WriteTx,
    event: PersistedEvent,
    effects: {
      /**
       * With the join that brings this server into a room that was new to it, all of the room's state, but for the members
       * of other servers.
       */
      readonly stateDeltas: readonly StateDelta[];
      /** The event that this one redacted, as it was before. */
      readonly redacted: PersistedEvent | undefined;
      /** False for history fetched later: it is not news to anyone. */
      readonly live: boolean;
    },
  ): void;
  /**
   * The same for a membership of a local user in a room that nobody of this server is joined to: an invite, a knock, or
   * the end of one. `position` is where it stands in the stream, which need not be where its event does.
   */
  projectOutside?(tx: WriteTx, event: PersistedEvent, position: StreamPosition): void;
}

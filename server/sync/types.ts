import type { PersistedEvent } from '../rooms/types.ts';
import type { EventId, RoomId, UserId } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { StreamPosition } from '../storage/types.ts';
import type { Requester } from '../http/route.ts';
import type { SyncFilter } from './filter.ts';

/** A room the viewer is joined to, in one sync. */
export interface JoinedRoom {
  /** They were not when `since` was: everything of the room is news to them. */
  readonly newlyJoined: boolean;
  /**
   * Set where little is told of a room that is news: the events that are. What belongs to other events and is not the
   * viewer's own can be left out.
   */
  readonly shown?: ReadonlySet<EventId>;
}

/**
 * What one answer of /sync is about: the changes in (since, now] as one device sees them. Computed once by the kernel;
 * contributions read from it and from their own tables, and never wait.
 */
export interface SyncWindow {
  readonly requester: Requester;
  readonly userId: UserId;
  /** `STREAM_START` for an initial sync. */
  readonly since: StreamPosition;
  readonly now: StreamPosition;
  readonly initial: boolean;
  readonly fullState: boolean;
  readonly filter: SyncFilter;
  readonly joined: ReadonlyMap<RoomId, JoinedRoom>;
  /** Left, kicked or banned in this window (or, with include_leave, at any time and not forgotten). */
  readonly left: ReadonlySet<RoomId>;
  readonly invited: ReadonlySet<RoomId>;
  readonly knocked: ReadonlySet<RoomId>;
  readonly ignoredUsers: ReadonlySet<UserId>;
  /** Set where the answer is about one room alone: one the viewer may read, though they need not be in it. */
  readonly onlyRoom?: RoomId;
  /** The most messages, or the like, that the client wants of what is given one after the other. */
  readonly limit?: number;
  /** Users who came to share a room with the viewer in this window (all who do, if it is initial). Computed on demand. */
  newlySharing(): ReadonlySet<UserId>;
  /** Users invited in this window into rooms the viewer is in; none if it is initial. */
  newlyInvited(): ReadonlySet<UserId>;
  /** Users who shared a room with the viewer at `since` and no longer do. */
  noLongerSharing(): ReadonlySet<UserId>;
}

/** What a module adds to one room of an answer. */
export interface RoomSyncPart {
  /** Events as a client sees them; filtered by the kernel. */
  readonly accountData?: readonly JsonObject[];
  readonly ephemeral?: readonly JsonObject[];
  readonly unreadNotifications?: { readonly notification_count: number; readonly highlight_count: number };
  readonly unreadThreadNotifications?: Readonly<
    Record<string, { readonly notification_count: number; readonly highlight_count: number }>
  >;
}

/** What a module adds to an answer. Parts of different modules are joined; none sees another's. */
export interface SyncPart {
  readonly accountData?: readonly JsonObject[];
  readonly presence?: readonly JsonObject[];
  readonly toDevice?: readonly JsonObject[];
  readonly deviceLists?: { readonly changed: readonly UserId[]; readonly left: readonly UserId[] };
  readonly oneTimeKeysCount?: Readonly<Record<string, number>>;
  readonly unusedFallbackKeyTypes?: readonly string[];
  readonly rooms?: ReadonlyMap<RoomId, RoomSyncPart>;
  /** For an extension of sliding sync that has a form of its own: what it says. Left out, or empty, it says nothing. */
  readonly extension?: JsonObject;
}

export interface SyncContribution {
  readonly name: string;
  /**
   * Where sliding sync shows it: under the extension of that name, or, by `rooms`, beside what it tells of rooms (unread
   * counts). `to_device`, `e2ee`, `account_data`, `receipts` and `typing` are put together of the parts that /sync shows
   * too; any other extension gives `SyncPart.extension`. Nowhere unless this is said.
   */
  readonly sliding?: 'rooms' | 'to_device' | 'e2ee' | 'account_data' | 'receipts' | 'typing' | (string & {});
  /** Set for what /sync does not show: there `contribute` is not called. */
  readonly slidingOnly?: boolean;
  /**
   * What changed in the window. A room that is only named here (account data, a receipt) appears in the answer although
   * nothing was said in it. Parts for rooms the viewer has not joined are dropped (account data excepted for left ones).
   */
  contribute(window: SyncWindow): SyncPart;
  /**
   * What belongs beside any news of a joined room, for a room that the answer tells of anyway and that `contribute` gave
   * no counts for. Makes no room appear.
   */
  complete?(
    window: SyncWindow,
    roomId: RoomId,
  ): Pick<RoomSyncPart, 'unreadNotifications' | 'unreadThreadNotifications'>;
  /** Before reading: the device has shown that it got everything up to `window.since`. Writes for itself if it must. */
  acknowledge?(window: SyncWindow): void;
}

/** Adds to `unsigned` of events about to be shown to a viewer: bundled aggregations. One call for many events. */
export interface EventDecoration {
  readonly name: string;
  decorate(
    events: readonly PersistedEvent[],
    viewer: { readonly userId: UserId; readonly ignoredUsers: ReadonlySet<UserId> },
    show: (event: PersistedEvent) => JsonObject,
  ): ReadonlyMap<EventId, JsonObject>;
}

import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import type { DeviceId, EventId, RoomId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type {
  EventDraft,
  EventReader,
  EventSender,
  MembershipReader,
  PersistedEvent,
  StateReader,
  Timeline,
  Visibility,
} from '../../../rooms/types.ts';
import type { ClientEventFormatter } from '../../../sync/client-event.ts';
import type { RelatedEvents } from '../../../sync/filter-match.ts';
import type { SyncTokens } from '../../../sync/token.ts';

/** Joins, invites, kicks and the like, by whichever way they are asked for. */
export interface MemberStateChanges {
  /**
   * An m.room.member event as a client would write it itself, with the checks of the operation it stands for.
   * @throws MatrixError M_BAD_JSON for what is no membership, and whatever the operation itself refuses
   */
  applyMemberState(
    by: Requester,
    roomId: RoomId,
    stateKey: string,
    content: JsonObject,
    options: { readonly originServerTs?: number },
  ): Promise<PersistedEvent>;
}

/** The aliases of rooms, as far as m.room.canonical_alias names them. */
export interface CanonicalAliases {
  /**
   * `previous` is what the room has now.
   * @throws MatrixError M_INVALID_PARAM, or M_BAD_ALIAS for a new alias that does not point to the room
   */
  checkCanonicalAlias(roomId: RoomId, content: JsonObject, previous: JsonObject | undefined): Promise<void> | void;
}

/** What a client may relate to what. */
export interface RelationRules {
  /** @throws MatrixError if the event may not relate to what it names */
  check(draft: Pick<EventDraft, 'roomId' | 'content'>): void;
  /** In the write that stores the event. @throws MatrixError M_DUPLICATE_ANNOTATION */
  checkStored(event: PersistedEvent): void;
}

/**
 * The past of rooms as other servers have it. Each of these waits for some seconds at most; what comes later is there
 * when it is asked for again.
 */
export interface PastElsewhere {
  /** The depth of the nearest event, at this depth or before it, whose predecessor is not held. */
  findGapBefore(roomId: RoomId, depth: number): number | undefined;
  /** Whether what lies before a depth may ever be had and shown to somebody here. */
  mayFillBefore(roomId: RoomId, depth: number): boolean;
  /** Fetches what lies before events at or behind a depth. Resolves to whether anything came. */
  backfill(roomId: RoomId, before: { readonly depth: number }, limit: number, signal?: AbortSignal): Promise<boolean>;
  /** Fetches one event that is not held. */
  fetchEvent(roomId: RoomId, eventId: EventId, signal?: AbortSignal): Promise<PersistedEvent | undefined>;
  /** Fetches the event nearest to a time (ms) that others know of, if `isNearer` says that it is worth having. */
  fetchNearest(
    roomId: RoomId,
    ts: number,
    direction: 'b' | 'f',
    isNearer: (originServerTs: number) => boolean,
    signal?: AbortSignal,
  ): Promise<PersistedEvent | undefined>;
}

/** Who keeps events that are to be sent later. */
export interface DelayedSending {
  /** Gives the delay ID. @throws MatrixError where it is too late, or too many */
  schedule(draft: {
    readonly userId: UserId;
    readonly deviceId: DeviceId | undefined;
    readonly appserviceId: string | undefined;
    readonly transactionId: string | undefined;
    readonly roomId: RoomId;
    readonly type: string;
    readonly stateKey: string | undefined;
    readonly originServerTs: number | undefined;
    readonly content: JsonObject;
    readonly delayMs: number;
  }): string;
}

/** Settings of the room events. */
export interface RoomEventsSettings {
  /** The most events on a page, whatever a client asks for; undefined for the built-in limit. */
  readonly timelineLimit: number | undefined;
}

export interface RoomEventsNeeds {
  readonly serverName: ServerName;
  readonly events: EventReader;
  readonly state: StateReader;
  readonly members: Pick<MembershipReader, 'findMember' | 'isJoined' | 'listMembers' | 'membershipAt'>;
  readonly timeline: Timeline;
  readonly visibility: Visibility;
  readonly sender: Pick<EventSender, 'send'>;
  readonly formatter: ClientEventFormatter;
  readonly tokens: Pick<SyncTokens, 'parsePlace'>;
  readonly membership: MemberStateChanges;
  readonly aliases: CanonicalAliases;
  readonly relations: RelationRules & RelatedEvents;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  readonly limits: {
    /** rc_message, by sender. */
    readonly message: RateLimit;
    /** rc_admin_redaction, for redacting what others have sent; `message` counts if there is none. */
    readonly adminRedaction: RateLimit | undefined;
  };
  /** Without it, nothing can be sent later. */
  readonly delayed?: DelayedSending | undefined;
  /** Without it, what is not held is not there. */
  readonly elsewhere?: PastElsewhere | undefined;
  /** Rooms in which suspended users may still write to those who run the server. None, unless told. */
  readonly isServerNoticesRoom?: (userId: UserId, roomId: RoomId) => boolean;
  /** Whether a user belongs to an application service, which may then look at the members of the user's rooms. */
  readonly isUserOfAppservice?: (appserviceId: string, userId: UserId) => boolean;
  readonly settings: RoomEventsSettings;
}

/**
 * What the rooms give and take where other servers are concerned. As in `types.ts`, each interface is narrow: whoever
 * needs one names it (or single functions of it), and `rooms.ts` or `compose.ts` hands it over.
 */
import type { RoomEvent } from '../matrix/events/event.ts';
import type { EventId, RoomId, ServerName, UserId } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import type { WriteTx } from '../storage/types.ts';
import type { PersistedEvent } from './types.ts';

/** Server ACLs of rooms (spec: "Server Access Control Lists"), by the current state. */
export interface ServerAcls {
  /** True for an unknown room and for one without ACLs. */
  isAllowed(server: ServerName, roomId: RoomId): boolean;
  /** The same by one m.room.server_acl event; undefined stands for a state without one. */
  isAllowedBy(server: ServerName, acl: PersistedEvent | undefined): boolean;
}

/** Events kept to check others, in bulk. */
export interface OutlierStore {
  /**
   * Checks events of one room (format, size, signatures, content hash with redaction on a mismatch, auth rules by the auth
   * events they name) and stores those that are not had yet as outliers, earlier ones first, in slices that leave the
   * event loop free. Whatever an event rests upon must be had already or be among `pdus`; what is in a cycle, or rests
   * on something that is not there, is dropped. Rejected ones are stored as such.
   */
  accept(
    room: { readonly roomId: RoomId; readonly version: RoomVersion },
    pdus: Iterable<JsonValue> | AsyncIterable<JsonValue>,
    options?: { readonly signal?: AbortSignal },
  ): Promise<{
    /** What is stored now, by its ID: new ones and those had before. */
    readonly stored: ReadonlySet<EventId>;
    readonly dropped: readonly { readonly eventId: EventId | undefined; readonly reason: string }[];
  }>;
}

/** Memberships of local users in rooms that this server is not in: invites, knocks, and their ends. */
export interface OutsideMembership {
  /**
   * Stores a membership event of a local user for a room nobody of this server is joined to, with the stripped state that
   * came with it. Its signatures must have been checked. Does nothing to a room that this server is in.
   */
  put(
    tx: WriteTx,
    event: RoomEvent,
    options: { readonly strippedState?: readonly JsonObject[] },
  ): PersistedEvent | undefined;
  /**
   * Puts an end to an invite or knock whose room cannot be reached: a leave that only this server knows of. Undefined
   * where there is none.
   */
  withdraw(tx: WriteTx, roomId: RoomId, userId: UserId, content: JsonObject): PersistedEvent | undefined;
}

/** Reads the graph of a room as other servers ask for it. All are bounded, whatever is asked. */
export interface GraphReader {
  /** The auth chains of events, without the events themselves: each once, at most `limit` if told. */
  listAuthChain(eventIds: Iterable<EventId>, options?: { readonly limit?: number }): PersistedEvent[];
  /** As `listAuthChain`, IDs only: nothing is parsed. */
  listAuthChainIds(eventIds: Iterable<EventId>): EventId[];
  /**
   * As `listAuthChainIds`, with the events themselves, earlier ones first. Lets others have their turn in between.
   */
  gatherAuthChain(eventIds: Iterable<EventId>): Promise<EventId[]>;
  /** As `listAuthChainIds`, in steps of a few milliseconds: whoever walks lets others have their turn in between. */
  walkAuthChain(eventIds: Iterable<EventId>): Iterable<readonly EventId[]>;
  /**
   * Events going back from `from` (included), newest first by depth, at most `limit`. Outliers and rejected ones are left
   * out; soft-failed ones are there if they are asked for or others follow them.
   */
  listBackwards(roomId: RoomId, from: readonly EventId[], limit: number): PersistedEvent[];
  /** Events between `earliest` and `latest` (both excluded) walking back from `latest`, earliest first, at most `limit`. */
  listMissing(
    roomId: RoomId,
    options: {
      readonly earliest: readonly EventId[];
      readonly latest: readonly EventId[];
      readonly limit: number;
      readonly minDepth: number;
    },
  ): PersistedEvent[];
}

/** What another server may see of a room (spec: history visibility; server-server API, "Retrieving events"). */
export interface ServerVisibility {
  /** Whether `server` has a joined user in the room now. */
  isInRoom(server: ServerName, roomId: RoomId): boolean;
  /**
   * The events as `server` may have them: as they are, redacted where it may only know that they happened (not visible
   * to any of its users, or the sender was erased), in the same order.
   */
  show(server: ServerName, events: readonly PersistedEvent[]): readonly RoomEvent[];
}

/** Sends on what another server's user did through us (a join by send_join) to all other servers of the room. */
export interface Forwarder {
  forward(tx: WriteTx, event: PersistedEvent): void;
}

/** Brings history that this server does not hold yet from other servers of the room. */
export interface Backfiller {
  /**
   * Fetches events before the given depth, if the room's history is not complete there. Resolves to whether anything
   * came; false soon (seconds) if nobody answers.
   */
  backfill(roomId: RoomId, before: { readonly depth: number }, limit: number, signal?: AbortSignal): Promise<boolean>;
  /** Whether something that is not held lies at or behind this depth: going back may give more. */
  hasGapBefore(roomId: RoomId, depth: number): boolean;
  /** The depth at which the first such gap lies: of the event whose predecessor is not held. */
  findGapBefore(roomId: RoomId, depth: number): number | undefined;
  /**
   * Whether what lies before a depth may ever be had: somebody here is in the room, and may have seen it. False says
   * that going back ends here, whether or not others hold more.
   */
  mayFillBefore(roomId: RoomId, depth: number): boolean;
}

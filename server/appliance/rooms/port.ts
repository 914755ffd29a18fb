import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { RoomDetails, RoomOrder, RoomPage, StrangerInvite } from '../contract.ts';

/** Which rooms are to be listed: from the how manieth on, and how many. */
export interface RoomListing {
  /** Part of the name, the address or the room ID, in any case. */
  readonly search: string;
  readonly order: RoomOrder;
  readonly from: number;
  readonly limit: number;
}

/** How far the removal of a room has come. */
export interface RoomRemoval {
  readonly step: 'leaving' | 'telling' | 'removing' | 'tidying' | 'shrinking' | 'done';
  readonly events: number;
  readonly removed: number;
  /** By how much the database file is smaller; known at the end. */
  readonly freedBytes: number | undefined;
}

/** The rooms of this server. Unknown ones are M_NOT_FOUND. */
export interface RoomsPort {
  /** Sizes are counted first, as far as that is quick; the rest goes on beside. */
  list(listing: RoomListing): Promise<RoomPage>;
  get(roomId: RoomId): Promise<RoomDetails>;
  /** What to call the room. */
  nameOf(roomId: RoomId): string;
  /** Users of this server who are in the room, invited to it, or wait to be let in. */
  listPresent(roomId: RoomId): readonly UserId[];
  /** Lets one of them leave. */
  leave(userId: UserId, roomId: RoomId): Promise<void>;
  /** Removes all that is stored of a room. Goes on after a restart; asked for again, it is the same removal. */
  purge(roomId: RoomId, onProgress: (removal: RoomRemoval, isHeldUp: boolean) => void): Promise<RoomRemoval>;
  /** Rooms whose removal was begun and is not over. */
  listPurging(): readonly RoomId[];
  setBlocked(roomId: RoomId, blocked: boolean): Promise<void>;
  /** Invites from users of other servers, the latest first. */
  listStrangerInvites(): StrangerInvite[];
  /** Throws M_NOT_FOUND where there is no such invite. */
  declineStrangerInvite(userId: UserId, roomId: RoomId): Promise<void>;
}

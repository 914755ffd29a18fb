import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import type { RoomAlias, RoomId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { EventReader, EventSender, MembershipReader, StateReader, Timeline } from '../../../rooms/types.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';

/** Who replaces a room. Every requester is one. */
export type Actor = Pick<Requester, 'userId' | 'isSuspended' | 'rateLimited'>;

/** What users show of themselves. */
export interface Profiles {
  find(userId: UserId): { readonly displayName?: string; readonly avatarUrl?: string } | undefined;
}

/** What leads to rooms: aliases, and the directories of published rooms. */
export interface Directory {
  /** This server's aliases of a room. */
  listAliases(roomId: RoomId): readonly RoomAlias[];
  /** What led to one room leads to the other from now on. */
  move(tx: WriteTx, from: RoomId, to: RoomId): void;
}

/** Copies something of a user's from a room to the one that replaces it. */
export type UserDataTransfer = (tx: WriteTx, userId: UserId, from: RoomId, to: RoomId) => void;

/** Data that clients keep with an account. */
export interface AccountData {
  find(userId: UserId, roomId: undefined, type: string): JsonObject | undefined;
  /** Within the write that is under way. */
  set(userId: UserId, roomId: undefined, type: string, content: JsonObject): void;
}

export interface UpgradeNeeds {
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly events: Pick<EventReader, 'findRoom' | 'findEvent'>;
  readonly state: Pick<StateReader, 'findCurrent' | 'currentState'>;
  readonly members: Pick<MembershipReader, 'findMember' | 'isJoined' | 'listLocalJoined' | 'listMembers'>;
  readonly timeline: Pick<Timeline, 'findLatest'>;
  readonly sender: Pick<EventSender, 'createRoom' | 'send' | 'sendWithin'>;
  readonly profiles: Profiles;
  readonly directory: Directory;
  /** rc_room_creation */
  readonly limit: RateLimit;
  readonly accountData: AccountData;
  /** What copies the rest that users keep with a room to the one that replaces it: tags, push rules. */
  readonly transfers: readonly UserDataTransfer[];
}

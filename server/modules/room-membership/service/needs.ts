import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import type { RoomAlias, RoomId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type {
  EventReader,
  EventSender,
  MembershipReader,
  MembershipWriter,
  StateReader,
} from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';

/** Who changes a membership, with all that decides what they may. Every requester is one. */
export type Actor = Pick<Requester, 'userId' | 'isGuest' | 'isAdmin' | 'isSuspended' | 'rateLimited'>;

/** Where an alias leads: a room, and servers that are in it. */
export interface AliasTarget {
  readonly roomId: RoomId;
  readonly servers: readonly ServerName[];
}

export interface Aliases {
  /** Undefined where nobody knows the alias. Aliases of other servers have to be asked for. */
  find(alias: RoomAlias): Promise<AliasTarget | undefined> | AliasTarget | undefined;
}

/** What users show of themselves. */
export interface Profiles {
  find(userId: UserId): { readonly displayName?: string; readonly avatarUrl?: string } | undefined;
}

/** A membership to change in a room, and the content of the event that does it, `membership` included. */
export interface RemoteChange {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly content: JsonObject;
}

/**
 * What takes other servers: rooms this one has nobody in, and users of theirs. Absent on a server that does not
 * federate. Each settles when the room, or the new membership, is stored here.
 */
export interface RemoteRooms {
  /** Throws what the other servers answered, M_NOT_FOUND where none could be asked. */
  join(change: RemoteChange & { readonly servers: readonly ServerName[] }): Promise<void>;
  knock(change: RemoteChange & { readonly servers: readonly ServerName[] }): Promise<void>;
  /** Rejects an invite or takes back a knock. If the other servers cannot be reached, it is at least gone here. */
  leave(change: RemoteChange): Promise<void>;
  /** Invites a user of another server into a room this one is in. */
  invite(change: RemoteChange & { readonly sender: UserId }): Promise<void>;
}

/** An invite to somebody known by e-mail address or phone number only (spec: "Third-party invites"). */
export interface ThirdPartyInvitee {
  readonly medium: string;
  readonly address: string;
  readonly idServer: string;
  readonly idAccessToken: string;
}

/** Identity servers. Absent where this server is to have nothing to do with them. */
export interface ThirdPartyInvites {
  invite(by: Actor, roomId: RoomId, invitee: ThirdPartyInvitee): Promise<void>;
  /** Whether the identity server still vouches for the key at the URL that the invite names. */
  isKeyValid(publicKey: string, validityUrl: string): Promise<boolean>;
}

/** A room to be made for new users. */
export interface RoomOrder {
  readonly creator: UserId;
  /** What stands between `#` and the colon. */
  readonly aliasLocalpart: string;
  readonly preset: 'public_chat' | 'private_chat' | 'trusted_private_chat';
  /** Whether users of other servers may ever join. */
  readonly federated: boolean;
  readonly invite: readonly UserId[];
}

export interface MembershipSettings {
  readonly serverName: ServerName;
  /** Only administrators may invite. */
  readonly blockNonAdminInvites: boolean;
  /** Users may bring a name and avatar of their own into a room. */
  readonly allowPerRoomProfiles: boolean;
  /** Invites show the invited user's name and avatar. */
  readonly profilesInInvites: boolean;
  /** Who leaves has forgotten the room at once. */
  readonly forgetOnLeave: boolean;
  readonly autoJoin: {
    readonly rooms: readonly string[];
    /** Make those of this server that are not there. */
    readonly create: boolean;
    readonly federated: boolean;
    readonly preset: RoomOrder['preset'];
    /** Who makes the rooms and invites into them; undefined: the user it is about. */
    readonly inviter: UserId | undefined;
    readonly guests: boolean;
  };
}

export interface MembershipLimits {
  readonly message: RateLimit;
  readonly joinsLocal: RateLimit;
  readonly joinsRemote: RateLimit;
  readonly joinsPerRoom: RateLimit;
  readonly invitesPerRoom: RateLimit;
  readonly invitesPerUser: RateLimit;
  readonly invitesPerIssuer: RateLimit;
}

export interface MembershipNeeds {
  readonly db: Database;
  readonly log: Logger;
  readonly settings: MembershipSettings;
  readonly limits: MembershipLimits;
  readonly events: Pick<EventReader, 'findRoom' | 'findEvent'>;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly members: Pick<
    MembershipReader,
    'findMember' | 'listRoomsOf' | 'isJoined' | 'countMembers' | 'listLocalJoined' | 'listServers'
  > &
    MembershipWriter;
  readonly sender: Pick<EventSender, 'send'>;
  readonly aliases: Aliases;
  readonly profiles: Profiles;
  readonly users: { isGuest(userId: UserId): boolean };
  /** Makes the rooms new users are put into. */
  readonly createRoom?: (order: RoomOrder) => Promise<RoomId>;
  readonly remote?: RemoteRooms;
  readonly thirdPartyInvites?: ThirdPartyInvites;
  /** Is asked for an invited user of this server who may not be there yet. */
  readonly summon?: (userId: UserId) => Promise<void>;
  /** Whether the invited user wants invites of this one (spec: "Invite permission"). */
  readonly mayInvite?: (inviter: UserId, invitee: UserId) => boolean;
  /** Rooms that an administrator has shut. */
  readonly isBlocked?: (roomId: RoomId) => boolean;
  /** The voice of the server, whose invites cannot be declined (spec: "Server Notices"). */
  readonly serverNotices?: { readonly userId: UserId; isNoticeRoom(roomId: RoomId): boolean };
}

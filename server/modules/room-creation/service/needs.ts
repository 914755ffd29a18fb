import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import type { RoomAlias, RoomId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { EventSender } from '../../../rooms/types.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';
import type { Preset } from './presets.ts';

/** Who makes a room. Every requester is one. */
export type Actor = Pick<Requester, 'userId' | 'isGuest' | 'isAdmin' | 'isSuspended' | 'rateLimited' | 'appserviceId'>;

/** What users show of themselves. */
export interface Profiles {
  find(userId: UserId): { readonly displayName?: string; readonly avatarUrl?: string } | undefined;
}

/** Where the new room gets its alias and its place in the room directory. */
export interface Directory {
  /** @throws MatrixError M_INVALID_PARAM, M_EXCLUSIVE, M_ROOM_IN_USE */
  prepareAlias(by: Actor, localpart: string): RoomAlias;
  /** @throws MatrixError M_FORBIDDEN, M_ROOM_IN_USE */
  insertAlias(tx: WriteTx, by: Actor, alias: RoomAlias, roomId: RoomId): void;
  /** @throws MatrixError M_FORBIDDEN */
  publish(tx: WriteTx, by: Actor, roomId: RoomId): void;
  /** Whether an m.room.canonical_alias is right for a room that has no alias but this. @throws MatrixError */
  checkFirstCanonicalAlias(content: JsonObject, alias: RoomAlias | undefined): void;
}

/** An invite to somebody known by e-mail address or phone number only. */
export interface AddressInvite {
  readonly medium: string;
  readonly address: string;
  readonly idServer: string;
  readonly idAccessToken: string;
}

/** How the first members are asked in. */
export interface Invites {
  /** Whether as many may be invited now. @throws MatrixError M_LIMIT_EXCEEDED */
  checkLimits(by: Actor, invitees: readonly UserId[]): void;
  /** Without regard to the limits, which were looked at before. */
  invite(by: Actor, roomId: RoomId, invitee: UserId, options: { readonly isDirect: boolean }): Promise<void>;
  /** Absent where this server has nothing to do with identity servers. */
  readonly inviteByAddress?: (
    by: Actor,
    roomId: RoomId,
    invitee: AddressInvite,
    options: { readonly isDirect: boolean },
  ) => Promise<void>;
  /** Whether the invited user wants invites of this one (spec: "Invite permission"). */
  readonly mayInvite?: (inviter: UserId, invitee: UserId) => boolean;
  /** Whether users of other servers can be asked at all. */
  readonly reachesOtherServers: boolean;
}

export interface CreationSettings {
  readonly serverName: ServerName;
  readonly defaultVersion: string;
  /** Which new rooms are encrypted from the start: all, those for invited people only, or none. */
  readonly encryptionByDefault: 'all' | 'invite' | 'off';
  /** Keys of the power levels that a preset sets differently here. */
  readonly powerLevelOverrides: Readonly<Record<Preset, JsonObject | undefined>>;
  /** Only administrators may invite. */
  readonly blockNonAdminInvites: boolean;
}

export interface CreationNeeds {
  readonly log: Logger;
  readonly settings: CreationSettings;
  /** rc_room_creation */
  readonly limit: RateLimit;
  readonly sender: Pick<EventSender, 'createRoom'>;
  readonly profiles: Profiles;
  readonly directory: Directory;
  readonly invites: Invites;
}

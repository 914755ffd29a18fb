import { badJson, forbidden } from '../../../matrix/errors.ts';
import { isUserId, type RoomAlias, type RoomId, type UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { WriteTx } from '../../../storage/types.ts';
import { PendingAutoJoins } from '../store.ts';
import { AutoJoin, type NewAccount } from './auto-join.ts';
import { createDepartures, type Departures } from './departures.ts';
import { createInvites, type InviteOptions, type Invites } from './invites.ts';
import { createJoins, type JoinOptions, type Joins } from './joins.ts';
import type { Actor, MembershipNeeds, ThirdPartyInvitee } from './needs.ts';
import { type ChangeOptions, createPlaces } from './places.ts';
import { createRestrictedJoins, unableToGrantJoin } from './restricted-joins.ts';

/** A user who asks for themselves; or, by their ID alone, one in whose name the server acts, unlimited. */
export type Who = Actor | UserId;

/** What the rest of the server does to memberships of local users. Refusals are thrown as MatrixError. */
export interface Membership {
  /** Joins a room, by its ID or an alias. Resolves with its ID. */
  join(who: Who, room: RoomId | RoomAlias, options?: JoinOptions): Promise<RoomId>;
  leave(who: Who, roomId: RoomId, reason?: string): Promise<void>;
  /** Leaves, rejects and takes back all there is; see `Departures.leaveAll`. */
  leaveAll(userId: UserId, options?: { readonly stopping?: AbortSignal }): Promise<void>;
  invite(who: Who, roomId: RoomId, invitee: UserId, options?: InviteOptions): Promise<void>;
  /** Somebody of whom only an address is known. */
  inviteByAddress(who: Who, roomId: RoomId, invitee: ThirdPartyInvitee): Promise<void>;
  /** Whether as many invites may be sent now; takes nothing. @throws MatrixError M_LIMIT_EXCEEDED */
  checkInviteLimits(who: Who, invitees: readonly UserId[]): void;
  kick(who: Who, roomId: RoomId, target: UserId, reason?: string): Promise<void>;
  /**
   * An m.room.member event as a client would write it itself: with the checks of joining, inviting, leaving, banning and
   * so on. Only in rooms this server is in.
   * @throws MatrixError M_BAD_JSON for what is no membership, and whatever the operation itself refuses
   */
  applyMemberState(
    by: Actor,
    roomId: RoomId,
    stateKey: string,
    content: JsonObject,
    options?: Omit<ChangeOptions, 'content'>,
  ): Promise<PersistedEvent>;
  /** In the transaction that makes an account: automatic joins follow it, even past a restart. */
  onRegistered(tx: WriteTx, account: NewAccount): void;
  /** Puts a user into the rooms meant for everybody; resolves when that is done, or has failed and was logged. */
  autoJoin(userId: UserId): Promise<void>;
  /** The rooms whose members may join this one uninvited; undefined where no such rule is in force. */
  listAllowedRooms(roomId: RoomId): readonly RoomId[] | undefined;
  /**
   * The local member who vouches for a join of `userId`, who is neither invited nor in the room; undefined where nobody
   * has to. For joins of our own and, on request of their servers, of others.
   * @throws MatrixError M_FORBIDDEN, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN
   */
  authoriseJoin(roomId: RoomId, userId: UserId): UserId | undefined;
}

/** The service's parts, for its own routes. */
export interface MembershipParts {
  readonly membership: Membership;
  readonly joins: Joins;
  readonly invites: Invites;
  readonly departures: Departures;
  readonly autoJoin: AutoJoin;
}

export function createMembership(needs: MembershipNeeds): MembershipParts {
  const places = createPlaces(needs);
  const restricted = createRestrictedJoins(needs);
  const joins = createJoins(needs, places, restricted);
  const invites = createInvites(needs, places);
  const departures = createDepartures(needs, places);

  // Guests stay guests whoever acts for them: the spec lets no server put them where guests may not be.
  const actorFor = (userId: UserId): Actor => ({
    userId,
    isGuest: needs.users.isGuest(userId),
    isAdmin: true,
    isSuspended: false,
    rateLimited: false,
  });
  const actorOf = (who: Who): Actor => (typeof who === 'string' ? actorFor(who) : who);

  const pending = new PendingAutoJoins(needs.db);
  const autoJoin = new AutoJoin({ needs, pending, places, joins, invites, actorFor });

  const reasonOf = (reason: string | undefined): ChangeOptions => (reason === undefined ? {} : { content: { reason } });

  const membership: Membership = {
    join: (who, room, options) => joins.join(actorOf(who), room, options),
    leave: (who, roomId, reason) => departures.leave(actorOf(who), roomId, reasonOf(reason)),
    leaveAll: (userId, options) => departures.leaveAll(actorFor(userId), options?.stopping),
    invite: async (who, roomId, invitee, options) => {
      await invites.invite(actorOf(who), roomId, invitee, options);
    },
    inviteByAddress: (who, roomId, invitee) => invites.inviteByAddress(actorOf(who), roomId, invitee),
    checkInviteLimits: (who, invitees) => invites.checkLimits(actorOf(who), invitees),
    kick: async (who, roomId, target, reason) => {
      await departures.kick(actorOf(who), roomId, target, reasonOf(reason));
    },
    onRegistered: (tx, account) => autoJoin.onRegistered(tx, account),
    autoJoin: async (userId) => {
      const account = { kind: needs.users.isGuest(userId) ? 'guest' : 'user', appserviceId: undefined } as const;
      needs.db.write((tx) => autoJoin.onRegistered(tx, { ...account, userId, userType: undefined }));
      await needs.db.committed();
      await autoJoin.settled();
    },
    listAllowedRooms: (roomId) => restricted.listAllowedRooms(roomId),
    authoriseJoin: (roomId, userId) => {
      const allowed = restricted.listAllowedRooms(roomId);
      if (allowed === undefined) return undefined;
      restricted.checkConditions(userId, allowed);
      const authoriser = restricted.findAuthoriser(roomId);
      if (authoriser === undefined) throw unableToGrantJoin();
      return authoriser;
    },

    applyMemberState: async (by, roomId, stateKey, content, given = {}) => {
      if (!isUserId(stateKey)) throw badJson('The state key of a membership must be a user ID');
      if (!places.isHere(roomId)) throw forbidden('You are not in this room');
      const options: ChangeOptions = { ...given, content };
      const isOwn = stateKey === by.userId;
      switch (content['membership']) {
        case 'join':
          if (!isOwn) throw forbidden('Nobody can join for another user');
          return joins.joinHere(by, roomId, options);
        case 'knock':
          if (!isOwn) throw forbidden('Nobody can knock for another user');
          return joins.knockHere(by, roomId, options);
        case 'invite': {
          const invited = await invites.invite(by, roomId, stateKey, options);
          const event = invited ?? needs.state.findCurrent(roomId, 'm.room.member', stateKey);
          if (event === undefined) throw new Error('an invite left no trace');
          return event;
        }
        case 'leave':
          if (isOwn) return departures.leaveHere(by, roomId, options);
          return places.find(roomId, stateKey)?.membership === 'ban'
            ? departures.unban(by, roomId, stateKey, options)
            : departures.kick(by, roomId, stateKey, options);
        case 'ban':
          return departures.ban(by, roomId, stateKey, options);
        default:
          throw badJson('The key membership must be join, invite, knock, leave or ban');
      }
    },
  };
  return { membership, joins, invites, departures, autoJoin };
}

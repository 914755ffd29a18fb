import { forbidden, MatrixError } from '../../../matrix/errors.ts';
import { type RoomId, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { Actor, MembershipNeeds, ThirdPartyInvitee } from './needs.ts';
import { type ChangeOptions, type Places, requireActive, requireUser, takeAll } from './places.ts';

export interface InviteOptions extends ChangeOptions {
  readonly reason?: string | undefined;
  /** The room is a chat of these two (spec: "Direct Messaging"). */
  readonly isDirect?: boolean | undefined;
  /** False where the limits were looked at before, for instance for all invites of a new room. */
  readonly limited?: boolean | undefined;
}

export interface Invites {
  /**
   * Asks a user into a room. Undefined where the event is another server's business and comes from there.
   * @throws MatrixError M_FORBIDDEN, M_INVITE_BLOCKED, M_USER_SUSPENDED, M_LIMIT_EXCEEDED
   */
  invite(by: Actor, roomId: RoomId, invitee: UserId, options?: InviteOptions): Promise<PersistedEvent | undefined>;
  /** Somebody of whom only an address is known. */
  inviteByAddress(by: Actor, roomId: RoomId, invitee: ThirdPartyInvitee): Promise<void>;
  /**
   * Whether the actor may send that many invites now, without taking anything: for a new room whose invites follow.
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  checkLimits(by: Actor, invitees: readonly UserId[]): void;
}

export function createInvites(needs: MembershipNeeds, places: Places): Invites {
  const { settings, limits, state, remote, thirdPartyInvites, serverNotices } = needs;

  function checkMayInvite(by: Actor): void {
    requireActive(by);
    requireUser(by);
    const isSpared = by.isAdmin || by.userId === serverNotices?.userId;
    if (settings.blockNonAdminInvites && !isSpared) throw forbidden('Only administrators of this server may invite');
  }

  function checkInvitee(by: Actor, roomId: RoomId, invitee: UserId): void {
    if (invitee === serverNotices?.userId) throw forbidden('This user cannot be invited');
    const membership = places.find(roomId, invitee)?.membership;
    if (membership === 'join') throw forbidden(`${invitee} is in the room already`);
    if (membership === 'ban') throw forbidden(`${invitee} is banned from the room`);
    if (needs.mayInvite?.(by.userId, invitee) === false) {
      throw new MatrixError('M_INVITE_BLOCKED', `${invitee} does not want to be invited`);
    }
    const create = state.findCurrent(roomId, 'm.room.create', '');
    if (create?.content['m.federate'] === false && serverNameOf(create.sender) !== serverNameOf(invitee)) {
      throw forbidden('This room is not open to users of other servers');
    }
  }

  return {
    invite: async (by, roomId, invitee, options = {}) => {
      checkMayInvite(by);
      places.requireJoined(by, roomId);
      places.requireOpen(roomId);
      checkInvitee(by, roomId, invitee);
      const content = places.contentFor(invitee, 'invite', {
        ...options.content,
        ...(options.reason === undefined ? {} : { reason: options.reason }),
        ...(options.isDirect === true ? { is_direct: true } : {}),
      });
      const isOurs = serverNameOf(invitee) === settings.serverName;
      if (!isOurs && remote === undefined) throw forbidden('Users of other servers cannot be invited from this one');
      if (options.limited !== false) {
        takeAll(by, [
          [limits.invitesPerRoom, roomId],
          [limits.invitesPerUser, invitee],
          [limits.invitesPerIssuer, by.userId],
        ]);
      } else if (by.rateLimited) {
        // Looked at before, but only now there is a room whose invites count.
        limits.invitesPerRoom.tryTake(roomId);
        limits.invitesPerIssuer.tryTake(by.userId);
      }
      if (isOurs) await needs.summon?.(invitee);
      if (isOurs || remote === undefined) {
        return places.change({ sender: by.userId, roomId, target: invitee, content }, options);
      }
      await remote.invite({ userId: invitee, roomId, sender: by.userId, content });
      return undefined;
    },

    inviteByAddress: async (by, roomId, invitee) => {
      checkMayInvite(by);
      places.requireJoined(by, roomId);
      places.requireOpen(roomId);
      if (thirdPartyInvites === undefined) {
        throw new MatrixError('M_THREEPID_DENIED', 'This server does not invite by e-mail address or phone number');
      }
      takeAll(by, [
        [limits.invitesPerRoom, roomId],
        [limits.invitesPerIssuer, by.userId],
      ]);
      await thirdPartyInvites.invite(by, roomId, invitee);
    },

    checkLimits: (by, invitees) => {
      if (!by.rateLimited || invitees.length === 0) return;
      const wait = Math.max(
        // Of a room that is not there yet, nothing has been taken: no ID is empty.
        limits.invitesPerRoom.peek('', invitees.length),
        limits.invitesPerIssuer.peek(by.userId, invitees.length),
        ...invitees.map((invitee) => limits.invitesPerUser.peek(invitee)),
      );
      if (wait > 0) {
        throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many invites', { fields: { retry_after_ms: wait } });
      }
    },
  };
}

import { setImmediate as nextTurn } from 'node:timers/promises';
import { forbidden, MatrixError, notFound, unknownError } from '../../../matrix/errors.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { PersistedEvent, RoomMember } from '../../../rooms/types.ts';
import type { Actor, MembershipNeeds } from './needs.ts';
import { type ChangeOptions, type Places, requireActive, requireUser, takeAll } from './places.ts';

/** The ways out of a room, by oneself or by the hand of others. */
export interface Departures {
  /**
   * Leaves a room, rejects an invite or takes back a knock. Leaving again changes nothing.
   * @throws MatrixError M_FORBIDDEN if the user is not in the room, M_NOT_FOUND if the room is not known here,
   * M_CANNOT_LEAVE_SERVER_NOTICE_ROOM
   */
  leave(by: Actor, roomId: RoomId, options?: ChangeOptions): Promise<void>;
  /** As `leave`, in a room of this server's, giving the event. */
  leaveHere(by: Actor, roomId: RoomId, options: ChangeOptions): Promise<PersistedEvent>;
  kick(by: Actor, roomId: RoomId, target: UserId, options?: ChangeOptions): Promise<PersistedEvent>;
  ban(by: Actor, roomId: RoomId, target: UserId, options?: ChangeOptions): Promise<PersistedEvent>;
  /** @throws MatrixError M_BAD_STATE (403) if the user is not banned */
  unban(by: Actor, roomId: RoomId, target: UserId, options?: ChangeOptions): Promise<PersistedEvent>;
  /** @throws MatrixError M_UNKNOWN (400) if the user has not left */
  forget(userId: UserId, roomId: RoomId): void;
  /**
   * Leaves every room of a user, rejects their invites and takes back their knocks, for an account that is closed.
   * Rooms that cannot be left are logged and passed over. Bears being repeated.
   */
  leaveAll(by: Actor, stopping?: AbortSignal): Promise<void>;
}

export function createDepartures(needs: MembershipNeeds, places: Places): Departures {
  const { db, log, limits, events, members, remote, serverNotices } = needs;

  function requireIn(by: Actor, roomId: RoomId): RoomMember {
    const member = places.find(roomId, by.userId);
    if (member === undefined) {
      throw places.isHere(roomId) ? forbidden('You are not in this room') : notFound('This room is not known here');
    }
    if (member.membership === 'ban') throw forbidden('You are banned from this room');
    if (member.membership === 'leave' && member.sender !== by.userId) throw forbidden('You are not in this room');
    return member;
  }

  /** Spec: "Server Notices": the invite cannot be declined; who has joined may leave. */
  function checkNotice(member: RoomMember): void {
    if (member.membership === 'invite' && serverNotices?.isNoticeRoom(member.roomId) === true) {
      throw new MatrixError('M_CANNOT_LEAVE_SERVER_NOTICE_ROOM', 'This invite cannot be declined');
    }
  }

  async function leaveAs(by: Actor, member: RoomMember, options: ChangeOptions): Promise<PersistedEvent> {
    const { roomId, eventId } = member;
    if (member.membership === 'leave') {
      const event = events.findEvent(eventId);
      if (event === undefined) throw new Error('a membership without its event');
      return event;
    }
    const content = places.contentFor(by.userId, 'leave', options.content);
    return places.change({ sender: by.userId, roomId, target: by.userId, content }, options);
  }

  async function leave(by: Actor, member: RoomMember, options: ChangeOptions): Promise<void> {
    const { roomId } = member;
    if (member.membership === 'leave') return;
    if (places.isHere(roomId)) {
      await leaveAs(by, member, options);
      return;
    }
    if (remote === undefined) throw notFound('This room is on servers that cannot be reached from here');
    await remote.leave({
      userId: by.userId,
      roomId,
      content: places.contentFor(by.userId, 'leave', options.content),
    });
  }

  /** What one member may do to others, before the auth rules say whether this one may. */
  function checkModerator(by: Actor, roomId: RoomId): void {
    requireActive(by);
    requireUser(by);
    places.requireJoined(by, roomId);
  }

  function remove(
    by: Actor,
    roomId: RoomId,
    target: UserId,
    options: ChangeOptions,
    membership: 'leave' | 'ban',
  ): Promise<PersistedEvent> {
    const content = places.contentFor(target, membership, options.content);
    takeAll(by, [[limits.message, by.userId]]);
    return places.change({ sender: by.userId, roomId, target, content }, options);
  }

  return {
    leave: async (by, roomId, options = {}) => {
      const member = requireIn(by, roomId);
      checkNotice(member);
      await leave(by, member, options);
    },

    leaveHere: async (by, roomId, options) => {
      const member = requireIn(by, roomId);
      checkNotice(member);
      return leaveAs(by, member, options);
    },

    kick: async (by, roomId, target, options = {}) => {
      checkModerator(by, roomId);
      const membership = places.find(roomId, target)?.membership ?? 'leave';
      if (membership === 'ban') throw forbidden(`${target} is banned from the room`);
      if (membership === 'leave') throw forbidden(`${target} is not in the room`);
      return remove(by, roomId, target, options, 'leave');
    },

    ban: async (by, roomId, target, options = {}) => {
      checkModerator(by, roomId);
      return remove(by, roomId, target, options, 'ban');
    },

    unban: async (by, roomId, target, options = {}) => {
      checkModerator(by, roomId);
      if (places.find(roomId, target)?.membership !== 'ban') {
        throw new MatrixError('M_BAD_STATE', `${target} is not banned from the room`, { status: 403 });
      }
      return remove(by, roomId, target, options, 'leave');
    },

    forget: (userId, roomId) => {
      const member = places.find(roomId, userId);
      // Who never had to do with the room has nothing to forget.
      if (member === undefined) return;
      const isForgotten = db.write((tx) => members.forget(tx, roomId, userId));
      if (!isForgotten) throw unknownError(`${userId} has not left ${roomId}`);
    },

    leaveAll: async (by, stopping) => {
      let failure: unknown;
      for (const member of members.listRoomsOf(by.userId, ['join', 'invite', 'knock'])) {
        if (stopping?.aborted === true) return;
        try {
          await leave(by, member, {});
        } catch (error) {
          log.warn({ userId: by.userId, roomId: member.roomId, error }, 'a room could not be left');
          // A refusal stays one; anything else may be over when this is repeated.
          if (!(error instanceof MatrixError)) failure ??= error;
        }
        // Each leave is work of its own; others want their turn in between.
        await nextTurn();
      }
      if (failure !== undefined) throw failure;
    },
  };
}

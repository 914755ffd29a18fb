import { forbidden, limitExceeded, MatrixError } from '../../../matrix/errors.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Membership, PersistedEvent, RoomMember, SendOptions } from '../../../rooms/types.ts';
import { memberContent, readOwnContent } from './content.ts';
import type { Actor, MembershipNeeds } from './needs.ts';

/** What may be said of any change of a membership. */
export interface ChangeOptions {
  /** Further keys of the event's content; `membership` itself is not taken from here. */
  readonly content?: JsonObject | undefined;
  readonly originServerTs?: number | undefined;
  readonly transaction?: SendOptions['transaction'] | undefined;
}

/** What every change of a membership is made of. */
export interface Places {
  /**
   * Whether this server can speak for the room: somebody of ours is in it; or nobody at all, so that nothing can have
   * happened in it that we do not know of.
   */
  isHere(roomId: RoomId): boolean;
  find(roomId: RoomId, userId: UserId): RoomMember | undefined;
  /** Throws M_FORBIDDEN unless the actor is in the room; for rooms that are not known, too. */
  requireJoined(by: Actor, roomId: RoomId): void;
  /** Throws M_FORBIDDEN where an administrator has shut the room. */
  requireOpen(roomId: RoomId): void;
  /** The content of the event that makes `target` a member in this way, their profile added where it belongs. */
  contentFor(target: UserId, membership: Membership, given: JsonObject | undefined): JsonObject;
  /** Sends it. Throws M_FORBIDDEN with the auth rule's reason, M_TOO_LARGE. */
  change(
    draft: { readonly sender: UserId; readonly roomId: RoomId; readonly target: UserId; readonly content: JsonObject },
    options: ChangeOptions,
  ): Promise<PersistedEvent>;
}

export function createPlaces(needs: MembershipNeeds): Places {
  const { settings, events, state, members, sender, profiles } = needs;

  function showsProfile(membership: Membership): boolean {
    return membership === 'join' || membership === 'knock' || (membership === 'invite' && settings.profilesInInvites);
  }

  return {
    isHere: (roomId) => {
      if (events.findRoom(roomId) === undefined) return false;
      // Of a room we were only invited to there is a record, but no state.
      if (state.findCurrent(roomId, 'm.room.create', '') === undefined) return false;
      return members.listLocalJoined(roomId).length > 0 || members.countMembers(roomId, 'join') === 0;
    },
    find: (roomId, userId) => members.findMember(roomId, userId),
    requireJoined: (by, roomId) => {
      if (!members.isJoined(roomId, by.userId)) throw forbidden('You are not in this room');
    },
    requireOpen: (roomId) => {
      if (needs.isBlocked?.(roomId) === true) throw forbidden('This room has been blocked on this server');
    },
    contentFor: (target, membership, given = {}) => {
      const own = readOwnContent(given, { allowProfile: settings.allowPerRoomProfiles });
      return memberContent(membership, own, showsProfile(membership) ? profiles.find(target) : undefined);
    },
    change: ({ sender: by, roomId, target, content }, { originServerTs, transaction }) =>
      sender.send(
        { roomId, type: 'm.room.member', sender: by, stateKey: target, content, originServerTs },
        transaction === undefined ? {} : { transaction },
      ),
  };
}

/** Spec: "Account suspension". */
export function requireActive(by: Actor): void {
  if (by.isSuspended) throw new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended');
}

/** Guests join and leave, but do nothing to others (spec: "Guest Access"). */
export function requireUser(by: Actor): void {
  if (by.isGuest) throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may not do this');
}

/** Takes one from each bucket, or none and throws M_LIMIT_EXCEEDED. */
export function takeAll(by: Pick<Actor, 'rateLimited'>, buckets: readonly (readonly [RateLimit, key: string])[]): void {
  if (!by.rateLimited) return;
  const wait = Math.max(0, ...buckets.map(([limit, key]) => limit.peek(key)));
  if (wait > 0) throw limitExceeded(wait);
  for (const [limit, key] of buckets) limit.check(key);
}

import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { EventReader, MembershipReader, RoomMember } from '../rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../storage/types.ts';

/** What became of the viewer's own place in one room during the window. */
export interface OwnChange {
  readonly joinedAtSince: boolean;
  readonly member: RoomMember;
  /** Not joined at some time after having been. */
  readonly wasOut: boolean;
  /** Where they last stopped being joined, if they did. */
  readonly leftAt: StreamPosition | undefined;
}

/** The changes of the viewer's own memberships in (since, now], one for each room. */
export function listOwnChanges(
  members: Pick<MembershipReader, 'listMembershipChanges'>,
  userId: UserId,
  since: StreamPosition,
  now: StreamPosition,
): Map<RoomId, OwnChange> {
  const own = new Map<RoomId, OwnChange>();
  for (const { roomId, before, after } of members.listMembershipChanges(userId, since, now)) {
    const earlier = own.get(roomId);
    const stopped = before === 'join' && after.membership !== 'join';
    own.set(roomId, {
      joinedAtSince: earlier?.joinedAtSince ?? before === 'join',
      member: after,
      wasOut: stopped || (earlier?.wasOut ?? false),
      leftAt: stopped ? after.position : earlier?.leftAt,
    });
  }
  return own;
}

/** A room the viewer is out of, as far as they may still look into it. */
export interface DepartedRoom {
  /** What holds their place in the room now. */
  readonly member: RoomMember;
  readonly joinedAtSince: boolean;
  /** Where they stopped being joined; undefined if they were not joined at any time of the window, nor before it. */
  readonly leftAt: StreamPosition | undefined;
}

/** Memberships that are looked back through to find the join before a departure; each kick, ban or unban is one. */
const LONGEST_DEPARTURE = 50;

/** How somebody came to be out of a room: whoever was kicked and then banned left when they were kicked. */
export function findDeparture(
  needs: { members: Pick<MembershipReader, 'membershipAt'>; events: Pick<EventReader, 'findEvent'> },
  member: RoomMember,
): DepartedRoom {
  let position = member.position;
  for (let step = 0; step < LONGEST_DEPARTURE; step += 1) {
    const earlier = needs.members.membershipAt(member.roomId, member.userId, positionBefore(position));
    if (earlier === undefined) break;
    if (earlier.membership === 'join') return { member, joinedAtSince: false, leftAt: position };
    const event = needs.events.findEvent(earlier.eventId);
    if (event === undefined || event.position >= position) break;
    position = event.position;
  }
  return { member, joinedAtSince: false, leftAt: undefined };
}

/** The position just before. */
export function positionBefore(position: StreamPosition): StreamPosition {
  return Math.max(STREAM_START, position - 1) as StreamPosition;
}

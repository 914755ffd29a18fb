import type { Requester } from '../http/route.ts';
import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { EventReader, Membership, MembershipReader, RoomMember, StateReader, Timeline } from '../rooms/types.ts';
import { type Database, STREAM_START, type StreamPosition } from '../storage/types.ts';
import type { SyncFilter } from './filter.ts';
import { roomTest } from './filter-match.ts';
import type { JoinedRooms } from './joined-rooms.ts';
import { type DepartedRoom, findDeparture, listOwnChanges, type OwnChange } from './own-changes.ts';
import { findRoomChange, type RoomChange } from './room-change.ts';
import { UserSharing } from './sharing.ts';
import type { JoinedRoom, SyncWindow } from './types.ts';

/** The window as the kernel's own assemblers see it. */
export interface ComputedWindow extends SyncWindow {
  /** Joined rooms, those left out by the filter too: what a waiting request follows. */
  readonly allJoined: ReadonlyMap<RoomId, JoinedRoom>;
  /** Rooms of `joined` with new events. */
  readonly active: ReadonlySet<RoomId>;
  /** Rooms of `joined` that are newly joined, as long as the window is not initial. */
  readonly newlyJoined: ReadonlySet<RoomId>;
  /** Rooms of `joined` that the viewer was out of for a while, having been in them before. */
  readonly rejoined: ReadonlySet<RoomId>;
  readonly departures: ReadonlyMap<RoomId, DepartedRoom>;
  readonly invites: ReadonlyMap<RoomId, RoomMember>;
  readonly knocks: ReadonlyMap<RoomId, RoomMember>;
  /** What changed in a joined room; costs what changed, and only the first time. */
  changeOf(roomId: RoomId): RoomChange;
}

export interface WindowNeeds {
  readonly db: Pick<Database, 'position'>;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly state: Pick<StateReader, 'currentState' | 'stateAt' | 'difference'>;
  readonly members: MembershipReader;
  readonly timeline: Pick<Timeline, 'listActiveRooms'>;
  readonly joinedRooms: JoinedRooms;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  /** Whether an invite is kept from the invited user's clients (spec: "Invite permission"). */
  readonly isInviteHidden?: ((inviter: UserId, invitee: UserId) => boolean) | undefined;
  readonly excluded: ReadonlySet<RoomId>;
}

export interface WindowRequest {
  readonly requester: Requester;
  readonly since: StreamPosition;
  readonly filter: SyncFilter;
  readonly fullState: boolean;
}

/**
 * Works out what one answer is about, up to the present. What it costs depends on what changed since `since`, not on
 * how many rooms the viewer is in (an initial one lists them all, of course).
 */
export function computeWindow(needs: WindowNeeds, request: WindowRequest): ComputedWindow {
  const { requester, since, filter, fullState } = request;
  const { userId } = requester;
  const now = needs.db.position();
  const initial = since === STREAM_START;
  const own = initial ? new Map<RoomId, OwnChange>() : listOwnChanges(needs.members, userId, since, now);
  const allJoined = needs.joinedRooms.of(userId);
  const allowed = allowedRooms(filter, needs.excluded);
  const ignoredUsers = needs.ignoredUsers(userId);
  const places = initial || fullState ? listPlaces(needs, request, allowed, own) : placesOf(own, allowed);
  const newlyJoined = new Set<RoomId>();
  const rejoined = new Set<RoomId>();
  for (const [roomId, { joinedAtSince, wasOut }] of own) {
    if (!allJoined.has(roomId) || !allowed(roomId)) continue;
    if (!joinedAtSince) newlyJoined.add(roomId);
    else if (wasOut) rejoined.add(roomId);
  }
  const joined = markJoined(initial, allJoined, newlyJoined, allowed, filter);
  const isShown = ({ sender }: RoomMember): boolean =>
    !ignoredUsers.has(sender) && needs.isInviteHidden?.(sender, userId) !== true;
  const invites = new Map([...places.invites].filter(([, member]) => isShown(member)));

  const active = new Set<RoomId>();
  if (!initial) {
    for (const roomId of needs.timeline.listActiveRooms(since, now)) if (joined.has(roomId)) active.add(roomId);
  }

  const changes = new Map<RoomId, RoomChange>();
  const changeOf = (roomId: RoomId): RoomChange => {
    const known = changes.get(roomId);
    if (known !== undefined) return known;
    const made = findRoomChange(needs, roomId, since, now);
    changes.set(roomId, made);
    return made;
  };
  const sharing = new UserSharing({ needs, userId, since, now, allJoined, own, changeOf });

  return {
    requester,
    userId,
    since,
    now,
    initial,
    fullState,
    filter,
    joined,
    allJoined,
    active,
    newlyJoined,
    rejoined,
    left: new Set(places.departures.keys()),
    departures: places.departures,
    invited: new Set(invites.keys()),
    invites,
    knocked: new Set(places.knocks.keys()),
    knocks: places.knocks,
    ignoredUsers,
    changeOf,
    newlySharing: () => sharing.newlySharing(),
    newlyInvited: () => sharing.newlyInvited(),
    noLongerSharing: () => sharing.noLongerSharing(),
  };
}

interface Places {
  readonly departures: ReadonlyMap<RoomId, DepartedRoom>;
  readonly invites: ReadonlyMap<RoomId, RoomMember>;
  readonly knocks: ReadonlyMap<RoomId, RoomMember>;
}

type RoomTest = (roomId: RoomId) => boolean;

function allowedRooms(filter: SyncFilter, excluded: ReadonlySet<RoomId>): RoomTest {
  const test = roomTest(filter.room);
  return (roomId) => !excluded.has(roomId) && test?.(roomId) !== false;
}

/** Where the viewer is without having joined, by what changed in the window. */
function placesOf(own: ReadonlyMap<RoomId, OwnChange>, allowed: RoomTest): Places {
  const departures = new Map<RoomId, DepartedRoom>();
  const invites = new Map<RoomId, RoomMember>();
  const knocks = new Map<RoomId, RoomMember>();
  for (const [roomId, change] of own) {
    if (!allowed(roomId)) continue;
    switch (change.member.membership) {
      case 'invite':
        invites.set(roomId, change.member);
        break;
      case 'knock':
        knocks.set(roomId, change.member);
        break;
      case 'leave':
      case 'ban':
        departures.set(roomId, change);
        break;
      case 'join':
        break;
    }
  }
  return { departures, invites, knocks };
}

/** As `placesOf`, with the rooms in which nothing changed: those of an initial sync or of `full_state`. */
function listPlaces(
  needs: WindowNeeds,
  { requester: { userId }, filter }: WindowRequest,
  allowed: RoomTest,
  own: ReadonlyMap<RoomId, OwnChange>,
): Places {
  const changed = placesOf(own, allowed);
  const departures = new Map(changed.departures);
  const invites = new Map(changed.invites);
  const knocks = new Map(changed.knocks);
  const memberships: Membership[] = ['invite', 'knock'];
  if (filter.room.includeLeave) memberships.push('leave', 'ban');
  for (const member of needs.members.listRoomsOf(userId, memberships)) {
    if (!allowed(member.roomId)) continue;
    if (member.membership === 'invite') invites.set(member.roomId, member);
    else if (member.membership === 'knock') knocks.set(member.roomId, member);
    else if (!departures.has(member.roomId)) departures.set(member.roomId, findDeparture(needs, member));
  }
  return { departures, invites, knocks };
}

const NEW_TO_THE_VIEWER: JoinedRoom = { newlyJoined: true };

function markJoined(
  initial: boolean,
  allJoined: ReadonlyMap<RoomId, JoinedRoom>,
  newlyJoined: ReadonlySet<RoomId>,
  allowed: RoomTest,
  filter: SyncFilter,
): ReadonlyMap<RoomId, JoinedRoom> {
  const narrowed = filter.room.rooms !== undefined || filter.room.notRooms !== undefined;
  if (!initial && !narrowed && newlyJoined.size === 0) return allJoined;
  const joined = new Map<RoomId, JoinedRoom>();
  for (const [roomId, room] of allJoined) {
    if (allowed(roomId)) joined.set(roomId, initial || newlyJoined.has(roomId) ? NEW_TO_THE_VIEWER : room);
  }
  return joined;
}

import type { RoomId, UserId } from '../matrix/identifiers.ts';
import type { MembershipReader, Timeline } from '../rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../storage/types.ts';
import type { OwnChange } from './own-changes.ts';
import type { RoomChange } from './room-change.ts';
import type { JoinedRoom } from './types.ts';

interface SharingOptions {
  readonly needs: { members: MembershipReader; timeline: Pick<Timeline, 'listActiveRooms'> };
  readonly userId: UserId;
  readonly since: StreamPosition;
  readonly now: StreamPosition;
  readonly allJoined: ReadonlyMap<RoomId, JoinedRoom>;
  readonly own: ReadonlyMap<RoomId, OwnChange>;
  readonly changeOf: (roomId: RoomId) => RoomChange;
}

/**
 * Who came to share a room with the viewer in a window, and who no longer does. Filters on rooms do not matter here: who
 * may see whose devices does not depend on what a client wants to be told. Worked out when it is first asked for.
 */
export class UserSharing {
  readonly #options: SharingOptions;
  readonly #members: MembershipReader;
  #newly: ReadonlySet<UserId> | undefined;
  #noLonger: ReadonlySet<UserId> | undefined;
  #moved: readonly RoomId[] | undefined;

  constructor(options: SharingOptions) {
    this.#options = options;
    this.#members = options.needs.members;
  }

  newlySharing(): ReadonlySet<UserId> {
    this.#newly ??= this.#findNewlySharing();
    return this.#newly;
  }

  noLongerSharing(): ReadonlySet<UserId> {
    this.#noLonger ??= this.#findNoLongerSharing();
    return this.#noLonger;
  }

  /** Users invited in the window into rooms the viewer is in. */
  newlyInvited(): ReadonlySet<UserId> {
    const invited = new Set<UserId>();
    if (this.#options.since === STREAM_START) return invited;
    for (const [user, { after }] of this.#membershipsChanged()) if (after === 'invite') invited.add(user);
    invited.delete(this.#options.userId);
    return invited;
  }

  #findNewlySharing(): ReadonlySet<UserId> {
    const { userId, since, allJoined, own } = this.#options;
    if (since === STREAM_START) return new Set(this.#members.listSharingUsers(userId));
    const candidates = new Set<UserId>();
    // Of those one was apart from for a while, nothing was heard meanwhile.
    const metAgain = new Set<UserId>();
    for (const [roomId, change] of own) {
      if (!allJoined.has(roomId) || (change.joinedAtSince && !change.wasOut)) continue;
      const met = change.joinedAtSince ? metAgain : candidates;
      for (const member of this.#members.listMembers(roomId, 'join')) met.add(member.userId);
    }
    for (const [user, { after }] of this.#membershipsChanged()) if (after === 'join') candidates.add(user);
    for (const user of this.#cameBack()) metAgain.add(user);
    const isNew = (user: UserId): boolean => this.#sharesNow(user) && !this.#sharedAtSince(user);
    const newly = new Set([...metAgain, ...[...candidates].filter(isNew)]);
    newly.delete(userId);
    return newly;
  }

  #findNoLongerSharing(): ReadonlySet<UserId> {
    const { userId, since, allJoined, own } = this.#options;
    if (since === STREAM_START) return new Set();
    const candidates = new Set<UserId>();
    for (const [roomId, change] of own) {
      if (!change.joinedAtSince || allJoined.has(roomId)) continue;
      for (const member of this.#members.listMembers(roomId)) {
        if (this.#wasJoined(roomId, member.userId)) candidates.add(member.userId);
      }
    }
    for (const [user, { before }] of this.#membershipsChanged()) if (before === 'join') candidates.add(user);
    candidates.delete(userId);
    return new Set([...candidates].filter((user) => !this.#sharesNow(user)));
  }

  /** Changes of others' membership in the rooms the viewer was joined to at both ends of the window. */
  *#membershipsChanged(): Generator<readonly [UserId, { before: string | undefined; after: string }]> {
    for (const roomId of this.#movedRooms()) yield* this.#options.changeOf(roomId).memberships;
  }

  /** Others who left a room of the viewer's in the window, and joined it again. */
  *#cameBack(): Generator<UserId> {
    const { since, now, changeOf } = this.#options;
    for (const roomId of this.#movedRooms()) {
      for (const user of changeOf(roomId).joinedAnew) {
        const wasAway = this.#members
          .listMembershipChanges(user, since, now)
          .some((change) => change.roomId === roomId && change.after.membership !== 'join');
        if (wasAway) yield user;
      }
    }
  }

  /** Rooms the viewer was joined to at both ends of the window, where something happened in it. */
  #movedRooms(): readonly RoomId[] {
    const { needs, since, now, allJoined, own } = this.#options;
    this.#moved ??= needs.timeline
      .listActiveRooms(since, now)
      .filter((roomId) => allJoined.has(roomId) && own.get(roomId)?.joinedAtSince !== false);
    return this.#moved;
  }

  #sharesNow(user: UserId): boolean {
    return this.#members.shareRoom(this.#options.userId, user);
  }

  #sharedAtSince(user: UserId): boolean {
    const { userId, since, now, own, allJoined } = this.#options;
    const viewerWasIn = (roomId: RoomId): boolean => own.get(roomId)?.joinedAtSince ?? allJoined.has(roomId);
    // In a room both are in now;
    for (const roomId of this.#members.listMutualRooms(userId, user)) {
      if (viewerWasIn(roomId) && this.#wasJoined(roomId, user)) return true;
    }
    // in one the viewer has left since;
    for (const [roomId, change] of own) {
      if (change.joinedAtSince && !allJoined.has(roomId) && this.#wasJoined(roomId, user)) return true;
    }
    // or in one the other has left since.
    return this.#members
      .listMembershipChanges(user, since, now)
      .some(({ roomId, before }) => before === 'join' && viewerWasIn(roomId) && this.#wasJoined(roomId, user));
  }

  #wasJoined(roomId: RoomId, user: UserId): boolean {
    return this.#members.membershipAt(roomId, user, this.#options.since)?.membership === 'join';
  }
}

import type { Requester } from '../../../http/route.ts';
import { forbidden } from '../../../matrix/errors.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Membership, PersistedEvent, RoomState, TimelineToken } from '../../../rooms/types.ts';
import { checkAccess, type RoomAccess, stateFor } from './access.ts';
import type { RoomEventsNeeds } from './needs.ts';
import { showAll } from './show.ts';

export interface MemberQuery {
  readonly requester: Requester;
  readonly roomId: RoomId;
  /** The members as they were there; undefined: as they are now, or were when the viewer left. */
  readonly at: TimelineToken | undefined;
  readonly membership: Membership | undefined;
  readonly notMembership: Membership | undefined;
}

/** The m.room.member events of a room. @throws MatrixError M_FORBIDDEN */
export async function listMembers(needs: RoomEventsNeeds, query: MemberQuery): Promise<JsonObject[]> {
  const { requester, roomId, at, membership, notMembership } = query;
  const access = checkAccess(needs, requester.userId, roomId);
  // Given both, a member may be of the one kind or not of the other.
  const isWanted = (is: unknown): boolean =>
    (membership === undefined && notMembership === undefined) ||
    (membership !== undefined && is === membership) ||
    (notMembership !== undefined && is !== notMembership);

  if (at === undefined && access.leftAt === undefined) {
    // The table of members knows how each stands, so that events nobody asked for need not be loaded.
    const wanted = needs.members.listMembers(roomId).filter((member) => isWanted(member.membership));
    return showAll(
      needs,
      wanted.map((member) => member.eventId),
      requester,
    );
  }
  const state =
    at === undefined ? stateFor(needs, roomId, access) : stateThen(needs, requester.userId, roomId, access, at);
  const eventIds = state.listType('m.room.member').map(([, eventId]) => eventId);
  return showAll(needs, eventIds, requester, (event) => isWanted(event.content['membership']));
}

/** The state at a place in the timeline, if the viewer may see what was said there. */
function stateThen(
  needs: RoomEventsNeeds,
  viewer: UserId,
  roomId: RoomId,
  access: RoomAccess,
  at: TimelineToken,
): RoomState {
  const { state, timeline, visibility } = needs;
  if (access.leftAt !== undefined && at.position >= access.leftAt) return stateFor(needs, roomId, access);
  const checkVisible = (event: PersistedEvent | undefined): void => {
    if (event !== undefined && !visibility.canSee(viewer, event)) {
      throw forbidden('You cannot see the room as it was at that time');
    }
  };
  if (at.order === 'stream') {
    checkVisible(timeline.findLatest(roomId, at.position));
    return state.stateAt(roomId, at.position);
  }
  const [last] = timeline.page({ roomId, from: at, direction: 'b', limit: 1 }).events;
  checkVisible(last);
  return (last === undefined ? undefined : state.stateAfter(last.eventId)) ?? state.stateAt(roomId, at.position);
}

/** Who is in the room, with the names they have there. @throws MatrixError M_FORBIDDEN */
export function listJoined(needs: RoomEventsNeeds, requester: Requester, roomId: RoomId): JsonObject {
  const joined = needs.members.listMembers(roomId, 'join');
  const { appserviceId } = requester;
  const isIn =
    needs.members.isJoined(roomId, requester.userId) ||
    (appserviceId !== undefined &&
      joined.some((member) => needs.isUserOfAppservice?.(appserviceId, member.userId) === true));
  if (!isIn) throw forbidden('You are not in this room');
  return Object.fromEntries(
    joined.map(({ userId, displayName, avatarUrl }) => [
      userId,
      { display_name: displayName ?? null, avatar_url: avatarUrl ?? null },
    ]),
  );
}

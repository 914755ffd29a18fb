import { forbidden } from '../../../matrix/errors.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { RoomState } from '../../../rooms/types.ts';
import type { StreamPosition } from '../../../storage/types.ts';
import { findDeparture } from '../../../sync/own-changes.ts';
import type { RoomEventsNeeds } from './needs.ts';

/** How far a user may read a room. */
export interface RoomAccess {
  /** Where they left it; undefined for members, and for whoever looks into a world readable room. */
  readonly leftAt: StreamPosition | undefined;
}

type AccessNeeds = Pick<RoomEventsNeeds, 'visibility' | 'members' | 'events'>;

/**
 * How far the user may read the room.
 * @throws MatrixError M_FORBIDDEN if not at all, which is also said of rooms that are not known
 */
export function checkAccess(needs: AccessNeeds, userId: UserId, roomId: RoomId): RoomAccess {
  const access = needs.visibility.accessOf(userId, roomId);
  if (access === undefined) throw forbidden('You are not in this room, and it cannot be read from outside');
  if (access.kind !== 'left') return { leftAt: undefined };
  return { leftAt: findDeparture(needs, access.member).leftAt ?? access.member.position };
}

/** The state that the user may see: the current one, or for who left that of the moment they did. */
export function stateFor({ state }: Pick<RoomEventsNeeds, 'state'>, roomId: RoomId, { leftAt }: RoomAccess): RoomState {
  return leftAt === undefined ? state.currentState(roomId) : state.stateAt(roomId, leftAt);
}

import { notFound } from '../../../matrix/errors.ts';
import type { RoomId, ServerName } from '../../../matrix/identifiers.ts';
import type { FederationParts } from './needs.ts';
import type { Residence } from './residence.ts';

/** State events that make up a complexity of one. */
const STATE_PER_POINT = 500;

/**
 * How much work a room is to be in, for servers that would rather know beforehand. Told of rooms that everybody can look
 * into. Not in the spec: servers have long asked it of one another. @throws MatrixError M_NOT_FOUND, M_FORBIDDEN
 */
export function roomComplexity(
  { federation: { state } }: Pick<FederationParts, 'federation'>,
  residence: Residence,
  origin: ServerName,
  roomId: RoomId,
): { readonly v1: number } {
  residence.require(origin, roomId);
  const isPublic = state.findCurrent(roomId, 'm.room.join_rules', '')?.content['join_rule'] === 'public';
  const visibility = state.findCurrent(roomId, 'm.room.history_visibility', '')?.content['history_visibility'];
  if (!isPublic && visibility !== 'world_readable') throw notFound('This server is not in the room');
  return { v1: Math.round((state.currentState(roomId).size / STATE_PER_POINT) * 100) / 100 };
}

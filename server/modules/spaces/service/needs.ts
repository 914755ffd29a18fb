import type { JsonObject } from '../../../matrix/json.ts';
import type { RoomId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { OutsideRoom } from './answer.ts';

/** What rooms show of themselves to those outside, and to whom. */
export interface Previews {
  /** The summary of a room whose present state this server knows. */
  describe(roomId: RoomId): JsonObject | undefined;
  isShownTo(userId: UserId, roomId: RoomId): boolean;
  /** Whether another server may know of such a room: one of its users could read or join it. */
  isShownToServer(server: ServerName, roomId: RoomId): boolean;
  /** Whether a room this server is not in, as another server describes it, is for the user to know of. */
  isShownElsewhere(userId: UserId, room: OutsideRoom): boolean;
}

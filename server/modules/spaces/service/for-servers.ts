import { notFound } from '../../../matrix/errors.ts';
import type { RoomId, ServerName } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import type { LocalChildren } from './local-children.ts';
import type { Previews } from './needs.ts';

/** How long may be worked at a stretch, ms. */
const SLICE_MS = 5;

/** A space and its children, for another server. */
export interface HierarchyForServers {
  /**
   * Spec: server-server API, `GET /hierarchy/{roomId}`: one level, without the children's own children.
   * @throws MatrixError M_NOT_FOUND where this server cannot tell, or the other could neither read nor join the room
   */
  describe(origin: ServerName, roomId: RoomId, suggestedOnly: boolean): Promise<JsonObject>;
}

export function hierarchyForServers(
  { clock, previews }: { readonly clock: Clock; readonly previews: Previews },
  local: LocalChildren,
): HierarchyForServers {
  return {
    describe: async (origin, roomId, suggestedOnly) => {
      const room = previews.describe(roomId);
      if (room === undefined || !previews.isShownToServer(origin, roomId)) {
        throw notFound('There is no such room, or it may not be shown to your server');
      }
      const pace = new Pace(clock, SLICE_MS);
      const all = room['room_type'] === 'm.space' ? await local.list(roomId, pace) : [];
      const links = all.filter(({ suggested }) => suggested || !suggestedOnly);
      const children: JsonObject[] = [];
      const inaccessible: RoomId[] = [];
      for (const link of links) {
        if (link.roomId === roomId) continue;
        await pace.step();
        const child = previews.describe(link.roomId);
        // Others may know it better.
        if (child === undefined) continue;
        if (previews.isShownToServer(origin, link.roomId)) children.push(child);
        else inaccessible.push(link.roomId);
      }
      return {
        room: { ...room, children_state: links.map(({ stripped }) => stripped) },
        children,
        inaccessible_children: inaccessible,
      };
    },
  };
}

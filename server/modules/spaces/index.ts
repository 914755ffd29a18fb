import type { FederationClient } from '../../federation/types.ts';
import type { RateLimit } from '../../http/rate-limit.ts';
import type { RoomId, ServerName } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { EventReader, StateReader } from '../../rooms/types.ts';
import type { Logger } from '../../util/log.ts';
import { spaceRoutes } from './routes.ts';
import type { OutsideRoom } from './service/answer.ts';
import { Elsewhere } from './service/elsewhere.ts';
import { hierarchyForServers } from './service/for-servers.ts';
import { createHierarchy, type HierarchyNeeds } from './service/hierarchy.ts';
import { localChildren } from './service/local-children.ts';
import { WalkStore } from './store.ts';

export { migrations } from './schema.ts';
export type { OutsideRoom } from './service/answer.ts';

export interface SpacesNeeds extends HierarchyNeeds {
  readonly log: Logger;
  readonly client: FederationClient;
  readonly events: Pick<EventReader, 'listEvents'>;
  readonly state: Pick<StateReader, 'currentState'>;
  /** Pages a user may ask for. */
  readonly limit: RateLimit;
}

export interface Spaces extends Module {
  /**
   * A room this server is not in, as one of `via` describes it; undefined if none does. Never throws. Whom it is shown to
   * is for the caller to decide.
   */
  findElsewhere(roomId: RoomId, via: Iterable<ServerName>): Promise<OutsideRoom | undefined>;
}

/** Rooms that hold rooms (spec: "Spaces"). */
export function spaces(needs: SpacesNeeds): Spaces {
  const elsewhere = new Elsewhere(needs);
  const local = localChildren(needs);
  const hierarchy = createHierarchy(needs, { store: new WalkStore(needs.db), local, elsewhere });
  return {
    name: 'spaces',
    routes: spaceRoutes({ hierarchy, forServers: hierarchyForServers(needs, local), limit: needs.limit }),
    findElsewhere: async (roomId, via) => (await elsewhere.find(roomId, via))?.room,
  };
}

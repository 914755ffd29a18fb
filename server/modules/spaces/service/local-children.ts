import type { RoomId } from '../../../matrix/identifiers.ts';
import type { EventReader, StateReader } from '../../../rooms/types.ts';
import type { Pace } from '../../../util/pace.ts';
import { type ChildLink, inOrder, MAX_LINKS, readLink } from './children.ts';

/** Events read at a stretch. */
const SLICE = 50;

export interface LocalChildren {
  /** The children of a space this server has the state of, in their order. */
  list(space: RoomId, pace: Pace): Promise<ChildLink[]>;
}

export function localChildren({
  events,
  state,
}: {
  readonly events: Pick<EventReader, 'listEvents'>;
  readonly state: Pick<StateReader, 'currentState'>;
}): LocalChildren {
  return {
    list: async (space, pace) => {
      const ids = state
        .currentState(space)
        .listType('m.space.child')
        .slice(0, MAX_LINKS)
        .map(([, eventId]) => eventId);
      const links: ChildLink[] = [];
      for (let at = 0; at < ids.length; at += SLICE) {
        await pace.step();
        for (const event of events.listEvents(ids.slice(at, at + SLICE))) {
          const link = readLink(event);
          if (link !== undefined) links.push(link);
        }
      }
      return inOrder(links);
    },
  };
}

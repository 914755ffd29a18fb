import type { RoomEvent } from '../events/event.ts';
import { serverNameOf } from '../identifiers.ts';
import { allowed, rejected, type Verdict } from './auth-state.ts';

/** Auth rule 4 of room versions 1 to 5, m.room.aliases: each server keeps its own list, whoever is in the room. */
export function checkAliases(event: RoomEvent): Verdict {
  // 4.1
  if (event.stateKey === undefined) return rejected('an m.room.aliases event needs a state key');
  // 4.2
  if (event.stateKey !== serverNameOf(event.sender)) return rejected('a server can only set its own aliases');
  // 4.3
  return allowed;
}

import type { ServerName, UserId } from '../../matrix/identifiers.ts';
import { knock, leave } from './depart.ts';
import { invite } from './invite.ts';
import { RemoteJoins } from './join.ts';
import type { OwedLeaves } from './owed-leaves.ts';
import type { RemoteChange, RemoteParts } from './parts.ts';

/** What takes other servers: rooms this one has nobody in, and users of theirs. */
export interface RemoteRooms {
  /** @throws MatrixError what the other servers answered, M_NOT_FOUND where there is none to ask */
  join(change: RemoteChange & { readonly servers: readonly ServerName[] }): Promise<void>;
  knock(change: RemoteChange & { readonly servers: readonly ServerName[] }): Promise<void>;
  /** Rejects an invite or takes back a knock; where no other server takes it, on this server first, and the others are told later. */
  leave(change: RemoteChange): Promise<void>;
  /** Invites a user of another server into a room this one is in. */
  invite(change: RemoteChange & { readonly sender: UserId }): Promise<void>;
}

/** The handshakes with other servers about their rooms and users, from the side that asks. */
export function createRemoteRooms(parts: RemoteParts, owed: OwedLeaves): RemoteRooms {
  const joins = new RemoteJoins(parts);
  return {
    join: (change) => owed.hold(change, () => joins.join(change)),
    knock: (change) => owed.hold(change, () => knock(parts, change)),
    leave: (change) => leave(parts, owed, change),
    invite: (change) => invite(parts, change),
  };
}

import type { FederationClient, KeyRing } from '../../federation/types.ts';
import type { RoomId, ServerName, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { SigningKey } from '../../matrix/signing.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import type { EventStore } from '../event-store.ts';
import type { RoomHeads } from '../extremities.ts';
import type { Gatherer } from '../gather.ts';
import type { Members } from '../membership.ts';
import type { Outliers } from '../outliers.ts';
import type { OutsideMemberships } from '../outside-membership.ts';
import type { Persister } from '../persist.ts';
import type { StateResolver } from '../resolution.ts';
import type { Sender } from '../send.ts';
import type { StateGroups } from '../state-groups.ts';
import type { PrejoinState } from '../stripped-state.ts';

/** A membership to change in a room, and the content of the event that does it. */
export interface RemoteChange {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly content: JsonObject;
}

/** How large rooms of other servers may be. */
export interface RemoteRoomLimit {
  /** In units of 500 state events. */
  readonly complexity: number;
  /** What users are told who want to join a larger one. */
  readonly error: string;
  readonly adminsCanJoin: boolean;
}

/** What the handshakes with other servers are made of. */
export interface RemoteParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly groups: StateGroups;
  readonly members: Members;
  readonly gatherer: Gatherer;
  readonly resolver: StateResolver;
  readonly persister: Persister;
  readonly sender: Pick<Sender, 'send' | 'prepare' | 'sendPrepared'>;
  readonly outliers: Outliers;
  readonly outside: OutsideMemberships;
  readonly client: FederationClient;
  readonly keyRing: KeyRing;
  readonly prejoinState: readonly PrejoinState[];
  /** Undefined: rooms may be as large as they like. */
  readonly limit: RemoteRoomLimit | undefined;
  readonly isAdmin: (userId: UserId) => boolean;
  /** Joins a room that this server has come into meanwhile, with all checks of a local join. */
  readonly joinHere: ((change: RemoteChange) => Promise<void>) | undefined;
}

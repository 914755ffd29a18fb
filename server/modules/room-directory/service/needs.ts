import type { Requester } from '../../../http/route.ts';
import { MatrixError } from '../../../matrix/errors.ts';
import type { RoomAlias, RoomId, ServerName } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { EventReader, EventSender, MembershipReader, StateReader } from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';
import type { DirectoryRule } from './rules.ts';

/** Who changes the directory. Every requester is one. */
export type Actor = Pick<Requester, 'userId' | 'isAdmin' | 'isSuspended' | 'appserviceId'>;

/** Where an alias leads: a room, and servers that are in it, this one first if it is. */
export interface AliasTarget {
  readonly roomId: RoomId;
  readonly servers: readonly ServerName[];
}

/** Other servers. Absent on a server that does not federate. */
export interface RemoteDirectories {
  /** Asks the alias's server. Undefined where it says that there is no such alias. */
  findAlias(alias: RoomAlias): Promise<AliasTarget | undefined>;
  /** The other server's answer to GET or POST /publicRooms, for the client as it is. */
  listPublicRooms(server: ServerName, query: JsonObject): Promise<JsonObject>;
}

/** What application services say about aliases of this server. Absent where there are none. */
export interface AliasReservations {
  /**
   * An application service may change the aliases of its namespaces; others those that no application service has for
   * itself alone.
   */
  mayChange(alias: RoomAlias, appserviceId: string | undefined): boolean;
  /** Asks whom it belongs to for an alias that does not exist (yet); true if it has been made meanwhile. */
  request(alias: RoomAlias): Promise<boolean>;
}

export interface DirectorySettings {
  readonly serverName: ServerName;
  readonly searchEnabled: boolean;
  readonly aliasCreationRules: readonly DirectoryRule[];
  readonly publicationRules: readonly DirectoryRule[];
  readonly requireMembershipForAliases: boolean;
  readonly publicRoomsWithoutAuth: boolean;
  readonly publicRoomsOverFederation: boolean;
}

export interface DirectoryNeeds {
  readonly db: Database;
  readonly log: Logger;
  readonly settings: DirectorySettings;
  readonly events: Pick<EventReader, 'findRoom'>;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly members: Pick<MembershipReader, 'isJoined' | 'countMembers' | 'listServers'>;
  readonly sender: Pick<EventSender, 'send'>;
  readonly remote?: RemoteDirectories | undefined;
  readonly reservations?: AliasReservations;
}

/** Spec: "Account suspension". */
export function requireActive(by: Actor): void {
  if (by.isSuspended) throw new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended');
}

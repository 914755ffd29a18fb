import type { RoomId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { FederationClient } from '../../federation/types.ts';
import type { WriteTx } from '../../storage/types.ts';
import { directoryQuery } from './queries.ts';
import { aliasRoutes } from './routes/aliases.ts';
import { publishedRoomRoutes } from './routes/published-rooms.ts';
import { type Aliases, createAliases } from './service/aliases.ts';
import type { DirectoryNeeds } from './service/needs.ts';
import { createPublicRooms, type PublicRooms } from './service/public-rooms.ts';
import { remoteDirectories } from './service/remote.ts';
import { createPublication, type Publication } from './service/publication.ts';
import { type RoomSummaries, summaryProjection } from './service/summaries.ts';
import { AliasStore } from './store/aliases.ts';
import { SummaryStore } from './store/summaries.ts';

export { migrations } from './schema.ts';
export type { Aliases } from './service/aliases.ts';
export type {
  AliasReservations,
  AliasTarget,
  DirectoryNeeds,
  DirectorySettings,
} from './service/needs.ts';
export type { PublicRooms, PublicRoomsQuery } from './service/public-rooms.ts';
export type { Publication } from './service/publication.ts';
export type { RoomSummaries } from './service/summaries.ts';
export type { RoomSummary } from './store/summaries.ts';

export interface RoomDirectoryNeeds extends Omit<DirectoryNeeds, 'remote'> {
  /** Asks other servers. Absent on a server that does not federate. */
  readonly client?: FederationClient | undefined;
}

/** What the directory is to the rest of the server. */
export interface RoomDirectory extends Module {
  readonly aliases: Aliases;
  readonly publication: Publication;
  readonly publicRooms: PublicRooms;
  readonly summaries: RoomSummaries;
  /** A room is replaced by another: what led to the old one leads to the new one. */
  move(tx: WriteTx, from: RoomId, to: RoomId): void;
  /** A room is deleted from this server: nothing leads to it any more. */
  removeRoom(tx: WriteTx, roomId: RoomId): void;
}

/** Aliases of rooms, and the directory of published ones (spec: "Room aliases", "Published room directory"). */
export function roomDirectory(needs: RoomDirectoryNeeds): RoomDirectory {
  const { db, state, members, settings, client } = needs;
  const remote = client === undefined ? undefined : remoteDirectories({ client });
  const aliasStore = new AliasStore(db);
  const summaryStore = new SummaryStore(db);
  const publication = createPublication(needs, {
    store: summaryStore,
    listAliases: (roomId) => aliasStore.list(roomId).map(({ alias }) => alias),
  });
  const aliases = createAliases(
    { ...needs, remote },
    {
      store: aliasStore,
      mayManage: (by, roomId) => publication.mayManage(by, roomId),
    },
  );
  const summaries: RoomSummaries = {
    find: (roomId) => summaryStore.find(roomId),
    listAfter: (roomId, limit) => summaryStore.listAfter(roomId, limit),
  };
  const publicRooms = createPublicRooms(settings, summaryStore, remote);
  return {
    name: 'room-directory',
    aliases,
    publication,
    publicRooms,
    summaries,
    routes: [
      ...aliasRoutes({ aliases, members, summaries }),
      ...publishedRoomRoutes({ publication, publicRooms, settings }),
    ],
    queries: { directory: directoryQuery({ aliases, serverName: settings.serverName }) },
    projections: [summaryProjection({ state, members, store: summaryStore })],
    purge: {
      room: (tx, { roomId }) => {
        aliasStore.removeRoom(tx, roomId);
        summaryStore.removeRoom(tx, roomId);
        return 0;
      },
    },
    move: (tx, from, to) => {
      aliasStore.move(tx, from, to);
      summaryStore.move(tx, from, to);
    },
    removeRoom: (tx, roomId) => {
      aliasStore.removeRoom(tx, roomId);
      summaryStore.removeRoom(tx, roomId);
    },
  };
}

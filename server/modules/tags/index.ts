import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import { type Database, STREAM_START, type WriteTx } from '../../storage/types.ts';
import { tagPurge } from './purge.ts';
import { tagRoutes } from './routes.ts';
import { type Tags, TagStore } from './store.ts';
import { tagContribution } from './sync.ts';

export { migrations } from './schema.ts';

/** Tags on rooms (spec: "Room Tagging"). */
export function tags({ db }: { db: Database }): Module & {
  /** Undefined if the room never had any. */
  readonly findTags: (userId: UserId, roomId: RoomId) => Tags | undefined;
  /** The names of the tags of those rooms of a user that have any. */
  readonly taggedRooms: (userId: UserId) => ReadonlyMap<RoomId, ReadonlySet<string>>;
  readonly removeOfUser: (tx: WriteTx, userId: UserId) => void;
  /** Copies a user's tags from a room to the one that replaces it. */
  readonly copyTags: (tx: WriteTx, userId: UserId, from: RoomId, to: RoomId) => void;
} {
  const store = new TagStore(db);
  return {
    name: 'tags',
    routes: tagRoutes({ db, store }),
    sync: [tagContribution(store)],
    purge: tagPurge(db),
    findTags: (userId, roomId) => store.find(userId, roomId),
    taggedRooms: (userId) =>
      new Map(
        store
          .listSince(userId, STREAM_START, db.position())
          .map((room) => [room.roomId, new Set(Object.keys(room.tags))]),
      ),
    removeOfUser: (tx, userId) => store.removeUser(tx, userId),
    copyTags: (tx, userId, from, to) => {
      const old = store.get(userId, from);
      if (Object.keys(old).length > 0) store.put(tx, userId, to, { ...old, ...store.get(userId, to) });
    },
  };
}

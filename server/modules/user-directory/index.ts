import type { UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import { Progress } from '../../storage/progress.ts';
import type { WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { directoryPurge } from './purge.ts';
import { userDirectoryRoutes } from './routes.ts';
import { directoryFollower, type IndexingNeeds, redactionProjection, refreshLocal } from './service/follower.ts';
import { createSearch, type SearchNeeds } from './service/search.ts';
import { DirectoryStore } from './store.ts';

export { migrations } from './schema.ts';
export type { UserDirectorySettings } from './service/search.ts';

export interface UserDirectoryNeeds
  extends Omit<IndexingNeeds, 'store' | 'progress'>,
    Pick<SearchNeeds, 'limit' | 'settings'> {
  readonly clock: Pick<Clock, 'after'>;
}

/** What other parts do to the directory. */
export interface UserDirectory {
  /** A user of this server is new, gone or back, or changed their name or picture. */
  refresh(tx: WriteTx, userId: UserId): void;
  /** Makes the directory anew out of the rooms and profiles, after this returns; a restart does not stop it. */
  rebuild(): void;
}

/** Finds people by their name or user ID (spec: "User Directory"). */
export function userDirectory(given: UserDirectoryNeeds): Module & { readonly directory: UserDirectory } {
  const { db } = given;
  const store = new DirectoryStore(db);
  const progress = new Progress(given.clock);
  const needs = { ...given, store, progress };
  return {
    name: 'user-directory',
    directory: {
      refresh: (tx, userId) => {
        refreshLocal(needs, tx, userId);
      },
      rebuild: () => db.write((tx) => store.requestRebuild(tx)),
    },
    routes: userDirectoryRoutes(createSearch(needs)),
    projections: [redactionProjection(needs)],
    purge: directoryPurge(store),
    followers: [directoryFollower(needs)],
  };
}

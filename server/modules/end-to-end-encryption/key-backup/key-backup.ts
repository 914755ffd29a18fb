import type { Route } from '../../../http/route.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';
import { keyBackupRoutes } from './routes.ts';
import { createKeyBackups } from './service.ts';
import { KeyBackupStore } from './store.ts';
import { Sweeper } from './sweeper.ts';

/** More than a user begins, or than one is changed, between two restorations. */
const LOST_VERSIONS = 1_000;
const LOST_CHANGES = 1_000_000_000;

/** Copies of users' keys, encrypted by them, on this server (spec: "Server-side key backups"). */
export function keyBackup({ db, log }: { readonly db: Database; readonly log: Logger }): {
  readonly routes: readonly Route[];
  readonly removeUser: (tx: WriteTx, userId: UserId) => void;
  readonly afterRestore: (tx: WriteTx) => void;
  readonly start: () => void;
  readonly stop: () => Promise<void>;
} {
  const store = new KeyBackupStore(db);
  const sweeper = new Sweeper({ db, store, log });
  const backups = createKeyBackups({ db, store, sweeper });
  return {
    routes: keyBackupRoutes(backups),
    removeUser: (tx, userId) => backups.removeUser(tx, userId),
    // Versions and changes of a time that is lost must not be taken for those that come.
    afterRestore: (tx) => store.stepOver(tx, LOST_VERSIONS, LOST_CHANGES),
    start: () => sweeper.wake(),
    stop: () => sweeper.stop(),
  };
}

import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';
import { turns } from '../../../util/turns.ts';
import type { KeyBackupStore } from './store.ts';

/** Keys removed in one write: a few milliseconds. */
const KEYS_AT_ONCE = 100;

/** Removes the keys of backups that were let go of, a few at a time: there may be a hundred thousand. */
export class Sweeper {
  readonly #db: Database;
  readonly #store: KeyBackupStore;
  readonly #log: Logger;
  #sweeping: Promise<void> | undefined;
  #isStopping = false;

  constructor({ db, store, log }: { db: Database; store: KeyBackupStore; log: Logger }) {
    this.#db = db;
    this.#store = store;
    this.#log = log;
  }

  /** Sweeps until nothing is left. */
  wake(): void {
    if (this.#sweeping !== undefined || this.#isStopping) return;
    this.#sweeping = this.#sweep()
      // Tried again after the next deletion, or start.
      .catch((error: unknown) => this.#log.error({ error }, 'keys of deleted backups could not be removed'))
      .finally(() => {
        this.#sweeping = undefined;
      });
  }

  /** The same, once `tx` is committed. */
  wakeAfter(tx: WriteTx): void {
    tx.onCommit(() => this.wake());
  }

  /** Leaves the rest for the next start. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    for (;;) {
      await turns.wait();
      const storeId = this.#isStopping ? undefined : this.#store.findDiscarded();
      if (storeId === undefined) return;
      this.#db.write((tx) => this.#store.clear(tx, storeId, KEYS_AT_ONCE));
    }
  }
}

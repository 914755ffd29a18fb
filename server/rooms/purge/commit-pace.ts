import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { turns } from '../../util/turns.ts';

/** How long is worked at a stretch, ms: at first, and what it may become. */
const SLICE_MS = { first: 3, least: 2, most: 4 };
/** How long the commit of a slice may take before the next one is shorter, ms. A disk has its part in it that stays the same. */
const COMMIT_MS = 6;
/** After how many slices the write-ahead log is moved into the file. SQLite does it by itself after 1,000 pages, in a commit. */
const CHECKPOINT_AFTER = 8;

/**
 * As `Pace`, for those who write a lot: removing rows here and there dirties so many pages that the commit takes longer
 * than the work. A slice gets shorter where its commit takes long, and the write-ahead log is moved into the file in
 * turns of their own, before there is much of it.
 */
export class CommitPace {
  readonly #db: Pick<Database, 'committed' | 'checkpoint'>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  #sliceMs = SLICE_MS.first;
  #end = Number.NEGATIVE_INFINITY;
  #slices = 0;

  constructor(db: Pick<Database, 'committed' | 'checkpoint'>, clock: Pick<Clock, 'monotonic'>) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Call before each step. What was read before may have changed after. @throws StorageError where the commit failed */
  async step(): Promise<void> {
    const now = this.#clock.monotonic();
    if (now < this.#end) return;
    if (this.#end !== Number.NEGATIVE_INFINITY) {
      await this.#db.committed();
      const took = this.#clock.monotonic() - now;
      const next = took > COMMIT_MS ? this.#sliceMs / 2 : this.#sliceMs * 1.25;
      this.#sliceMs = Math.min(SLICE_MS.most, Math.max(SLICE_MS.least, next));
      this.#slices += 1;
      if (this.#slices >= CHECKPOINT_AFTER) await this.#checkpoint();
    }
    await turns.wait();
    this.#end = this.#clock.monotonic() + this.#sliceMs;
  }

  async #checkpoint(): Promise<void> {
    await turns.wait();
    this.#db.checkpoint();
    this.#slices = 0;
  }
}

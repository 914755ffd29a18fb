import type { Database, ReadStatement, WriteStatement } from '../storage/types.ts';
import type { Clock, Timer } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';

const LOOK_EVERY_MS = 5 * 60_000;
/** Rows deleted in one write: a long backlog must hold up neither other writes nor the event loop. */
const BATCH = 200;

export interface UnredactedExpiryNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now' | 'after'>;
  readonly log: Logger;
  /** In ms; undefined: kept for good. */
  readonly retentionMs: number | undefined;
}

/**
 * Forgets what redacted events said once that has been kept for long enough (Synapse's `redaction_retention_period`).
 * Looks at the start, and every few minutes from then on.
 */
export class UnredactedExpiry {
  readonly #needs: UnredactedExpiryNeeds;
  readonly #findOldest: ReadStatement<{ redacted_ts: number | null }>;
  readonly #remove: WriteStatement;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #stopped = true;

  constructor(needs: UnredactedExpiryNeeds) {
    this.#needs = needs;
    this.#findOldest = needs.db.prepareRead('SELECT min(redacted_ts) AS redacted_ts FROM unredacted_events');
    this.#remove = needs.db.prepareWrite(`
      DELETE FROM unredacted_events WHERE event_nid IN (
        SELECT event_nid FROM unredacted_events WHERE redacted_ts <= ? ORDER BY redacted_ts LIMIT ${BATCH})`);
  }

  start(): void {
    const { retentionMs } = this.#needs;
    if (retentionMs === undefined || !this.#stopped) return;
    this.#stopped = false;
    this.#schedule(0, retentionMs);
  }

  /** Resolves when nothing is being deleted any more. What is left waits for the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #schedule(delayMs: number, retentionMs: number): void {
    if (this.#stopped) return;
    this.#timer = this.#needs.clock.after(delayMs, () => {
      this.#running = this.#run(retentionMs);
    });
  }

  async #run(retentionMs: number): Promise<void> {
    try {
      await this.#removeExpired(retentionMs);
    } catch (error) {
      // A full disk, for instance. They stay due.
      this.#needs.log.error({ error }, 'originals of redacted events could not be deleted; it is tried again');
    }
    this.#schedule(LOOK_EVERY_MS, retentionMs);
  }

  async #removeExpired(retentionMs: number): Promise<void> {
    const { db, clock, log } = this.#needs;
    const latest = clock.now() - retentionMs;
    let removed = 0;
    // Asked first, so that nothing is written as long as nothing is due.
    while (!this.#stopped && (this.#findOldest.find()?.redacted_ts ?? Infinity) <= latest) {
      removed += db.write((tx) => this.#remove.run(tx, latest).changes);
      await db.committed();
    }
    if (removed > 0) log.info({ events: removed }, 'originals of redacted events were deleted');
  }
}

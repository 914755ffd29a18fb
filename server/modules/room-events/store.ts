import type { EventId } from '../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../storage/types.ts';

/** The messages that are to be taken back, and when. */
export class EphemeralMessages {
  readonly #next;
  readonly #due;
  readonly #put;
  readonly #remove;

  constructor(db: Database) {
    this.#next = db.prepareRead<{ expires_ts: number | null }>(
      'SELECT min(expires_ts) AS expires_ts FROM ephemeral_messages',
    );
    this.#due = db.prepareRead<{ event_id: EventId }>(
      'SELECT event_id FROM ephemeral_messages WHERE expires_ts <= ? ORDER BY expires_ts LIMIT ?',
    );
    this.#put = db.prepareWrite('INSERT OR IGNORE INTO ephemeral_messages (event_id, expires_ts) VALUES (?, ?)');
    this.#remove = db.prepareWrite('DELETE FROM ephemeral_messages WHERE event_id = ?');
  }

  /** When the first of them expires (ms since the epoch), if there are any. */
  findNextExpiry(): number | undefined {
    return this.#next.find()?.expires_ts ?? undefined;
  }

  /** Those that have expired at `now` (ms), the longest ago first. */
  listExpired(now: number, limit: number): EventId[] {
    return this.#due.list(now, limit).map((row) => row.event_id);
  }

  put(tx: WriteTx, eventId: EventId, expiresTs: number): void {
    this.#put.run(tx, eventId, expiresTs);
  }

  remove(tx: WriteTx, eventId: EventId): void {
    this.#remove.run(tx, eventId);
  }
}

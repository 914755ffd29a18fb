import type { UserId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

export type PresenceState = 'online' | 'unavailable' | 'offline';

/** What outlives a restart of somebody's presence. */
export interface StoredPresence {
  readonly state: PresenceState;
  readonly statusMsg: string | undefined;
  /** ms since the epoch; undefined if they never did anything. */
  readonly lastActiveTs: number | undefined;
  /** When others were told. */
  readonly position: StreamPosition;
}

interface Row {
  user_id: string;
  state: string;
  status_msg: string | null;
  last_active_ts: number | null;
  position: StreamPosition;
}

function toPresence(row: Row): StoredPresence {
  return {
    // The table has only what `put` wrote.
    state: row.state as PresenceState,
    statusMsg: row.status_msg ?? undefined,
    lastActiveTs: row.last_active_ts ?? undefined,
    position: row.position,
  };
}

/** The presence of users as it was when it was last written down. */
export class PresenceStore {
  readonly #find;
  readonly #listLatest;
  readonly #listUsers;
  readonly #put;
  readonly #remove;

  constructor(db: Database) {
    const columns = 'user_id, state, status_msg, last_active_ts, position';
    this.#find = db.prepareRead<Row>(`SELECT ${columns} FROM presence WHERE user_id = ?`);
    this.#listLatest = db.prepareRead<Row>(`SELECT ${columns} FROM presence ORDER BY position DESC LIMIT ?`);
    this.#listUsers = db.prepareRead<{ user_id: string }>(
      'SELECT user_id FROM presence WHERE user_id > ? ORDER BY user_id LIMIT ?',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO presence (user_id, state, status_msg, last_active_ts, position) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET state = excluded.state, status_msg = excluded.status_msg,
        last_active_ts = excluded.last_active_ts, position = excluded.position`);
    this.#remove = db.prepareWrite('DELETE FROM presence WHERE user_id = ?');
  }

  find(userId: UserId): StoredPresence | undefined {
    const row = this.#find.find(userId);
    return row === undefined ? undefined : toPresence(row);
  }

  /** Those who changed last, the latest first. */
  listLatest(limit: number): { userId: UserId; presence: StoredPresence }[] {
    return this.#listLatest.list(limit).map((row) => ({ userId: row.user_id as UserId, presence: toPresence(row) }));
  }

  /** Users of whom something is stored, in the order of their IDs; a page of those after `after`. */
  listUsers(after: string, limit: number): UserId[] {
    return this.#listUsers.list(after, limit).map((row) => row.user_id as UserId);
  }

  put(tx: WriteTx, userId: UserId, { state, statusMsg, lastActiveTs, position }: StoredPresence): void {
    this.#put.run(tx, userId, state, statusMsg ?? null, lastActiveTs ?? null, position);
  }

  remove(tx: WriteTx, userId: UserId): void {
    this.#remove.run(tx, userId);
  }
}

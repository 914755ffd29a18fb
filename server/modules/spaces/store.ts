import type { RoomId, ServerName, UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

/** A room that a walk has still to look at. */
export interface Stop {
  readonly roomId: RoomId;
  /** A few servers to ask about it. */
  readonly via: readonly ServerName[];
  /** Steps from the root. */
  readonly depth: number;
  /** Who has told of it already, in what it told of which space. */
  readonly told?: { readonly server: ServerName; readonly space: RoomId } | undefined;
}

/** How far somebody has come on a walk through a space. */
export interface Walk {
  readonly root: RoomId;
  readonly suggestedOnly: boolean;
  readonly maxDepth: number;
  /** The last is the next. */
  readonly ahead: readonly Stop[];
  readonly seen: readonly RoomId[];
}

/** Walks that one user can go on with; older ones are forgotten. */
const MAX_OF_USER = 20;

/** Walks that can be gone on with, by the token a client was given. */
export class WalkStore {
  readonly #find: ReadStatement<{ walk: string }>;
  readonly #insert: WriteStatement;
  readonly #removeExpired: WriteStatement;
  readonly #removeOldest: WriteStatement;

  constructor(db: Database) {
    this.#find = db.prepareRead('SELECT walk FROM space_walks WHERE token = ? AND user_id = ? AND expires_ms > ?');
    this.#insert = db.prepareWrite('INSERT INTO space_walks (token, user_id, expires_ms, walk) VALUES (?, ?, ?, ?)');
    this.#removeExpired = db.prepareWrite('DELETE FROM space_walks WHERE expires_ms <= ?');
    this.#removeOldest = db.prepareWrite(
      `DELETE FROM space_walks WHERE id IN (
         SELECT id FROM space_walks WHERE user_id = ? ORDER BY id DESC LIMIT -1 OFFSET ${MAX_OF_USER})`,
    );
  }

  /** The walk of this user that goes by the token, if it is good at `nowMs`. */
  find(token: string, userId: UserId, nowMs: number): Walk | undefined {
    const row = this.#find.find(token, userId, nowMs);
    // Nobody but `insert` writes it.
    return row === undefined ? undefined : (JSON.parse(row.walk) as Walk);
  }

  /** Keeps a walk until `expiresMs`; what has expired by `nowMs` goes. */
  insert(
    tx: WriteTx,
    token: string,
    walk: Walk,
    { userId, nowMs, expiresMs }: { readonly userId: UserId; readonly nowMs: number; readonly expiresMs: number },
  ): void {
    this.#removeExpired.run(tx, nowMs);
    this.#insert.run(tx, token, userId, expiresMs, JSON.stringify(walk));
    this.#removeOldest.run(tx, userId);
  }
}

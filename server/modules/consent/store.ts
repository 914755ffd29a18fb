import type { UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

/** Who has agreed to which version of the policy. */
export class ConsentStore {
  readonly #find: ReadStatement<{ version: string }>;
  readonly #put: WriteStatement;
  readonly #remove: WriteStatement;

  constructor(db: Database) {
    this.#find = db.prepareRead('SELECT version FROM policy_consents WHERE user_id = ?');
    this.#put = db.prepareWrite(
      `INSERT INTO policy_consents (user_id, version, agreed_ms) VALUES (?, ?, ?)
       ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, agreed_ms = excluded.agreed_ms`,
    );
    this.#remove = db.prepareWrite('DELETE FROM policy_consents WHERE user_id = ?');
  }

  findVersion(userId: UserId): string | undefined {
    return this.#find.find(userId)?.version;
  }

  put(tx: WriteTx, userId: UserId, version: string, nowMs: number): void {
    this.#put.run(tx, userId, version, nowMs);
  }

  remove(tx: WriteTx, userId: UserId): void {
    this.#remove.run(tx, userId);
  }
}

import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';

export interface StoredPreview {
  /** As JSON. */
  readonly preview: string;
  readonly expiresMs: number;
}

interface Row {
  readonly preview: string;
  readonly expires_ms: number;
}

/** Previews that were made before. */
export class PreviewStore {
  readonly #findBefore: ReadStatement<Row>;
  readonly #findAfter: ReadStatement<Row>;
  readonly #put: WriteStatement;
  readonly #removeOld: WriteStatement;

  constructor(db: Database) {
    this.#findBefore = db.prepareRead(`
      SELECT preview, expires_ms FROM url_previews WHERE url = ? AND made_ms <= ? ORDER BY made_ms DESC LIMIT 1`);
    this.#findAfter = db.prepareRead(`
      SELECT preview, expires_ms FROM url_previews WHERE url = ? AND made_ms > ? ORDER BY made_ms LIMIT 1`);
    this.#put = db.prepareWrite(`
      INSERT INTO url_previews (url, made_ms, expires_ms, preview) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET expires_ms = excluded.expires_ms, preview = excluded.preview`);
    this.#removeOld = db.prepareWrite(`
      DELETE FROM url_previews WHERE (url, made_ms) IN
        (SELECT url, made_ms FROM url_previews WHERE made_ms < ? ORDER BY made_ms LIMIT ?)`);
  }

  /** What the page was at some time: the last made until then, or else the first one after. It may have expired. */
  find(url: string, atMs: number): StoredPreview | undefined {
    const row = this.#findBefore.find(url, atMs) ?? this.#findAfter.find(url, atMs);
    return row === undefined ? undefined : { preview: row.preview, expiresMs: row.expires_ms };
  }

  put(tx: WriteTx, url: string, madeMs: number, { preview, expiresMs }: StoredPreview): void {
    this.#put.run(tx, url, madeMs, expiresMs, preview);
  }

  /** Removes up to `limit` made before `beforeMs`; says how many. */
  removeOld(tx: WriteTx, beforeMs: number, limit: number): number {
    return this.#removeOld.run(tx, beforeMs, limit).changes;
  }
}

import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../../storage/types.ts';
import type { ThumbnailSize } from '../service/needs.ts';

/** Which thumbnail of a picture. */
export interface ThumbnailKey extends ThumbnailSize {
  /** SHA-256 of the picture. */
  readonly source: Buffer;
  readonly animated: boolean;
}

/** A picture made of another, or that other itself where it is small enough. */
export interface Thumbnail {
  readonly file: Buffer;
  readonly bytes: number;
  readonly type: string;
}

/** Thumbnails by what they were made of: media with the same content share them. */
export class ThumbnailStore {
  readonly #find: ReadStatement<Thumbnail>;
  readonly #insert: WriteStatement;
  readonly #list: ReadStatement<Thumbnail & ThumbnailSize & { animated: number }>;
  readonly #remove: WriteStatement;
  readonly #removeAll: WriteStatement;
  readonly #hasFile: ReadStatement<{ one: number }>;
  readonly #count: ReadStatement<{ files: number; bytes: number }>;

  constructor(db: Database) {
    const key = 'source = ? AND width = ? AND height = ? AND method = ? AND animated = ?';
    this.#find = db.prepareRead(`SELECT file, bytes, type FROM media_thumbnails WHERE ${key}`);
    this.#insert = db.prepareWrite(`
      INSERT INTO media_thumbnails (source, width, height, method, animated, file, bytes, type, made_ms)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET file = excluded.file, bytes = excluded.bytes, type = excluded.type, made_ms = excluded.made_ms`);
    this.#list = db.prepareRead(`
      SELECT file, bytes, type, width, height, method, animated FROM media_thumbnails WHERE source = ? ORDER BY made_ms`);
    this.#remove = db.prepareWrite(`DELETE FROM media_thumbnails WHERE ${key}`);
    this.#removeAll = db.prepareWrite('DELETE FROM media_thumbnails WHERE source = ?');
    this.#count = db.prepareRead("SELECT files, bytes FROM media_totals WHERE kind = 'thumbnail'");
    this.#hasFile = db.prepareRead('SELECT 1 AS one FROM media_thumbnails WHERE file = ? LIMIT 1');
  }

  find({ source, width, height, method, animated }: ThumbnailKey): Thumbnail | undefined {
    return this.#find.find(source, width, height, method, animated ? 1 : 0);
  }

  put(tx: WriteTx, key: ThumbnailKey, { file, bytes, type }: Thumbnail, now: number): void {
    const { source, width, height, method, animated } = key;
    this.#insert.run(tx, source, width, height, method, animated ? 1 : 0, file, bytes, type, now);
  }

  /** All of a picture, the oldest first. */
  list(source: Buffer): (ThumbnailKey & Thumbnail)[] {
    return this.#list.list(source).map((row) => ({ ...row, source, animated: row.animated === 1 }));
  }

  remove(tx: WriteTx, { source, width, height, method, animated }: ThumbnailKey): void {
    this.#remove.run(tx, source, width, height, method, animated ? 1 : 0);
  }

  removeAll(tx: WriteTx, source: Buffer): void {
    this.#removeAll.run(tx, source);
  }

  /** All that were drawn: pictures that are small enough serve as their own. */
  count(): { files: number; bytes: number } {
    return this.#count.find() ?? { files: 0, bytes: 0 };
  }

  hasFile(file: Buffer): boolean {
    return this.#hasFile.find(file) !== undefined;
  }
}

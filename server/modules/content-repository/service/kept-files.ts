import { join } from 'node:path';
import type { Database } from '../../../storage/types.ts';

/** A file of media, by the SHA-256 (hex) of what it should hold. */
export interface KeptFile {
  readonly sha256: string;
  readonly bytes: number;
}

const PAGE = 500;

/** Every file that a database says is kept: of media and of their thumbnails, each once. */
export function* listKeptFiles(db: Pick<Database, 'prepareRead'>): Generator<KeptFile> {
  const media = db.prepareRead<{ file: Buffer; bytes: number }>(
    'SELECT file, max(bytes) AS bytes FROM media WHERE file > ? GROUP BY file ORDER BY file LIMIT ?',
  );
  const thumbnails = db.prepareRead<{ file: Buffer; bytes: number }>(`
    SELECT file, max(bytes) AS bytes FROM media_thumbnails AS t
    WHERE file > ? AND NOT EXISTS (SELECT 1 FROM media AS m WHERE m.file = t.file)
    GROUP BY file ORDER BY file LIMIT ?`);
  for (const source of [media, thumbnails]) {
    let after: Buffer = Buffer.alloc(0);
    for (;;) {
      const page = source.list(after, PAGE);
      for (const { file, bytes } of page) yield { sha256: file.toString('hex'), bytes };
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      after = last.file;
    }
  }
}

/** Bytes of all files of media, about: what is kept for several is counted several times. */
export function sumKeptBytes(db: Pick<Database, 'prepareRead'>): number {
  const sum = db.prepareRead<{ bytes: number }>(`
    SELECT (SELECT coalesce(sum(bytes), 0) FROM media WHERE file IS NOT NULL)
      + (SELECT coalesce(sum(bytes), 0) FROM media_thumbnails) AS bytes`);
  return sum.find()?.bytes ?? 0;
}

/** Where a file lies in the folder of media. */
export function placeOf({ sha256 }: Pick<KeptFile, 'sha256'>): string {
  return join('content', sha256.slice(0, 2), sha256.slice(2));
}

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'content-repository',
  migrations: [
    {
      // `file` is the SHA-256 of the content, which is its name on disk; null while a medium is only announced. `media_debris` names
      // files that may be there without anybody referring to them: about to be put in place, or given up.
      sql: `
        CREATE TABLE media (
          origin TEXT NOT NULL,
          media_id TEXT NOT NULL,
          is_local INTEGER NOT NULL,
          file BLOB,
          bytes INTEGER NOT NULL,
          type TEXT NOT NULL,
          name TEXT,
          uploader TEXT,
          created_ms INTEGER NOT NULL,
          accessed_ms INTEGER NOT NULL,
          expires_ms INTEGER,
          needs_token INTEGER NOT NULL,
          quarantined_by TEXT,
          is_protected INTEGER NOT NULL DEFAULT 0,
          PRIMARY KEY (origin, media_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX media_by_file ON media (file) WHERE file IS NOT NULL;
        CREATE INDEX media_by_uploader ON media (uploader, created_ms, bytes) WHERE uploader IS NOT NULL;
        CREATE INDEX media_by_access ON media (is_local, accessed_ms, bytes) WHERE file IS NOT NULL;
        CREATE INDEX media_announced ON media (uploader, expires_ms) WHERE file IS NULL;
        CREATE INDEX media_announced_expiry ON media (expires_ms) WHERE file IS NULL;

        CREATE TABLE media_thumbnails (
          source BLOB NOT NULL,
          width INTEGER NOT NULL,
          height INTEGER NOT NULL,
          method TEXT NOT NULL,
          animated INTEGER NOT NULL,
          file BLOB NOT NULL,
          bytes INTEGER NOT NULL,
          type TEXT NOT NULL,
          made_ms INTEGER NOT NULL,
          PRIMARY KEY (source, width, height, method, animated)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX media_thumbnails_by_file ON media_thumbnails (file);

        CREATE TABLE media_debris (
          file BLOB PRIMARY KEY
        ) STRICT, WITHOUT ROWID;
      `,
    },
    {
      // From now on `expires_ms` is also when content goes that was only kept for a while.
      sql: 'CREATE INDEX media_expiry ON media (expires_ms) WHERE file IS NOT NULL AND expires_ms IS NOT NULL;',
    },
    {
      // To look through all that is here, whatever its origin.
      sql: `
        CREATE INDEX media_by_size ON media (bytes, is_local) WHERE file IS NOT NULL;
        CREATE INDEX media_by_age ON media (created_ms, is_local) WHERE file IS NOT NULL;
        CREATE INDEX media_by_last_access ON media (accessed_ms, is_local) WHERE file IS NOT NULL;
        CREATE INDEX media_thumbnails_by_bytes ON media_thumbnails (bytes, file);`,
    },
    {
      // They answer by themselves now: without what they were made with in them, each entry had its medium read.
      sql: `
        DROP INDEX media_by_size;
        DROP INDEX media_by_age;
        DROP INDEX media_by_last_access;
        CREATE INDEX media_by_size ON media (bytes, is_local, file IS NOT NULL) WHERE file IS NOT NULL;
        CREATE INDEX media_by_age ON media (created_ms, is_local, file IS NOT NULL) WHERE file IS NOT NULL;
        CREATE INDEX media_by_last_access ON media (accessed_ms, is_local, file IS NOT NULL) WHERE file IS NOT NULL;`,
    },
    {
      // What there is in all is on every page about media, and would otherwise be counted each time.
      sql: `
        CREATE TABLE media_totals (
          kind TEXT PRIMARY KEY CHECK (kind IN ('local', 'remote', 'thumbnail')),
          files INTEGER NOT NULL,
          bytes INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT INTO media_totals
          SELECT 'local', count(*), coalesce(sum(bytes), 0) FROM media WHERE file IS NOT NULL AND is_local = 1
          UNION ALL
          SELECT 'remote', count(*), coalesce(sum(bytes), 0) FROM media WHERE file IS NOT NULL AND is_local = 0
          UNION ALL
          SELECT 'thumbnail', count(*), coalesce(sum(bytes), 0) FROM media_thumbnails WHERE file <> source;
        CREATE TRIGGER media_totals_in AFTER INSERT ON media WHEN new.file IS NOT NULL BEGIN
          UPDATE media_totals SET files = files + 1, bytes = bytes + new.bytes
          WHERE kind = iif(new.is_local = 1, 'local', 'remote');
        END;
        CREATE TRIGGER media_totals_out AFTER DELETE ON media WHEN old.file IS NOT NULL BEGIN
          UPDATE media_totals SET files = files - 1, bytes = bytes - old.bytes
          WHERE kind = iif(old.is_local = 1, 'local', 'remote');
        END;
        CREATE TRIGGER media_totals_change AFTER UPDATE OF file, bytes ON media BEGIN
          UPDATE media_totals SET
            files = files + (new.file IS NOT NULL) - (old.file IS NOT NULL),
            bytes = bytes + iif(new.file IS NULL, 0, new.bytes) - iif(old.file IS NULL, 0, old.bytes)
          WHERE kind = iif(new.is_local = 1, 'local', 'remote');
        END;
        CREATE TRIGGER media_totals_drawn AFTER INSERT ON media_thumbnails WHEN new.file <> new.source BEGIN
          UPDATE media_totals SET files = files + 1, bytes = bytes + new.bytes WHERE kind = 'thumbnail';
        END;
        CREATE TRIGGER media_totals_redrawn AFTER UPDATE OF file, bytes ON media_thumbnails BEGIN
          UPDATE media_totals SET
            files = files + (new.file <> new.source) - (old.file <> old.source),
            bytes = bytes + iif(new.file = new.source, 0, new.bytes) - iif(old.file = old.source, 0, old.bytes)
          WHERE kind = 'thumbnail';
        END;
        CREATE TRIGGER media_totals_erased AFTER DELETE ON media_thumbnails WHEN old.file <> old.source BEGIN
          UPDATE media_totals SET files = files - 1, bytes = bytes - old.bytes WHERE kind = 'thumbnail';
        END;`,
    },
  ],
};

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
  ],
};

import type { ModuleMigrations } from '../../module.ts';

/** Where walks through spaces stand that have further pages to give. */
export const migrations: ModuleMigrations = {
  owner: 'spaces',
  migrations: [
    {
      sql: `
        CREATE TABLE space_walks (
          id INTEGER PRIMARY KEY,
          token TEXT NOT NULL UNIQUE,
          user_id TEXT NOT NULL,
          expires_ms INTEGER NOT NULL,
          walk TEXT NOT NULL
        ) STRICT;
        CREATE INDEX space_walks_expiry ON space_walks (expires_ms);
        CREATE INDEX space_walks_user ON space_walks (user_id, id);`,
    },
  ],
};

import type { MigrationSet } from './types.ts';

/** Positions reserved on disk at a time: after a crash the counter goes on behind the reservation. */
export const RESERVE_BLOCK = 1_000;

/** The tables of the storage itself. */
export const storageMigrations: MigrationSet = {
  owner: 'storage',
  migrations: [
    {
      sql: `
        -- Every position up to "reserved" may have been handed out.
        CREATE TABLE stream_position (
          only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
          reserved INTEGER NOT NULL
        ) STRICT;
        INSERT INTO stream_position (only_row, reserved) VALUES (1, 0);

        CREATE TABLE follower_cursors (
          name TEXT PRIMARY KEY,
          position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- Whom the data belong to, once and for all.
        CREATE TABLE database_owner (
          only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
          name TEXT NOT NULL
        ) STRICT;
      `,
    },
    {
      sql: `
        -- Times at which a copy of this database took its place. Between "copied" and "resumed" lie the positions that
        -- may have been given out in what was lost. "handled": the parts of the server have drawn their conclusions.
        CREATE TABLE restorations (
          id INTEGER PRIMARY KEY,
          copied INTEGER NOT NULL,
          resumed INTEGER NOT NULL,
          copied_ms INTEGER NOT NULL,
          restored_ms INTEGER NOT NULL,
          handled INTEGER NOT NULL DEFAULT 0
        ) STRICT;
      `,
    },
  ],
};

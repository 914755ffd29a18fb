import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'room-membership',
  migrations: [
    {
      // New users who have yet to be put into the rooms meant for everybody, in the order they came.
      sql: `
        CREATE TABLE pending_auto_joins (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          user_id TEXT NOT NULL UNIQUE,
          may_create INTEGER NOT NULL
        ) STRICT;
      `,
    },
  ],
};

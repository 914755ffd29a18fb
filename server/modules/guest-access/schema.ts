import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'guest-access',
  migrations: [
    {
      // Rooms whose rule for guests changed, until their guests have been seen to.
      sql: `
        CREATE TABLE guest_access_changes (
          room_id TEXT NOT NULL PRIMARY KEY,
          position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
      `,
    },
  ],
};

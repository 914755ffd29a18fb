import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'presence',
  migrations: [
    {
      // What others were last told of somebody, as of `position`; what only lives for a minute is not kept.
      sql: `
        CREATE TABLE presence (
          user_id TEXT PRIMARY KEY,
          state TEXT NOT NULL,
          status_msg TEXT,
          last_active_ts INTEGER,
          position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX presence_by_position ON presence (position);
      `,
    },
  ],
};

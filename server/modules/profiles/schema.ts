import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'profiles',
  migrations: [
    {
      // The two fields every member event carries have columns of their own; all others share one JSON object.
      sql: `
        CREATE TABLE profiles (
          user_id TEXT PRIMARY KEY,
          display_name TEXT,
          avatar_url TEXT,
          fields TEXT NOT NULL,
          position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX profiles_by_position ON profiles (position);
      `,
    },
  ],
};

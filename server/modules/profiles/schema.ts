import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'profiles',
  migrations: [
    {
      // The two fields every member event carries have columns of their own; all others share one JSON object.
      // face_position is when one of the two last changed: only that is news to rooms.
      sql: `
        CREATE TABLE profiles (
          user_id TEXT PRIMARY KEY,
          display_name TEXT,
          avatar_url TEXT,
          fields TEXT NOT NULL,
          face_position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX profiles_by_face_position ON profiles (face_position);
      `,
    },
  ],
};

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'tags',
  migrations: [
    {
      // The tags of a room travel together as one m.tag, so they share a row, and the row a position.
      sql: `
        CREATE TABLE room_tags (
          user_id TEXT NOT NULL,
          room_id TEXT NOT NULL,
          tags TEXT NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (user_id, room_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX room_tags_by_position ON room_tags (user_id, position);
      `,
    },
  ],
};

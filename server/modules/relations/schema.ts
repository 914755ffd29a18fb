import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'relations',
  migrations: [
    {
      // One row for each event that says it relates to another one. What follows is answered from the indexes alone.
      sql: `
        CREATE TABLE relations (
          child_id TEXT PRIMARY KEY,
          parent_id TEXT NOT NULL,
          room_id TEXT NOT NULL,
          rel_type TEXT NOT NULL,
          -- Of the child, as are all columns below.
          type TEXT NOT NULL,
          sender TEXT NOT NULL,
          origin_server_ts INTEGER NOT NULL,
          depth INTEGER NOT NULL,
          position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX relations_in_order ON relations (parent_id, depth, position, rel_type, sender);
        CREATE INDEX relations_by_sender ON relations (parent_id, rel_type, sender, origin_server_ts);
      `,
    },
  ],
};

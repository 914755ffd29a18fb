import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'threading',
  migrations: [
    {
      // One row for each thread, with the place of its latest reply in the graph.
      sql: `
        CREATE TABLE threads (
          room_id TEXT NOT NULL,
          root_id TEXT NOT NULL,
          depth INTEGER NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (room_id, root_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX threads_by_latest ON threads (room_id, depth, position);
      `,
    },
  ],
};

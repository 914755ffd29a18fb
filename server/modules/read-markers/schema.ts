import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'read-markers',
  migrations: [
    {
      // event_depth and event_position: the event's place in the room's graph.
      sql: `
        CREATE TABLE read_markers (
          user_id TEXT NOT NULL,
          room_id TEXT NOT NULL,
          event_id TEXT NOT NULL,
          event_depth INTEGER NOT NULL,
          event_position INTEGER NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (user_id, room_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX read_markers_by_position ON read_markers (user_id, position);
      `,
    },
  ],
};

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'report-content',
  migrations: [
    {
      // One table for all three kinds: what is not reported on stays null.
      sql: `
        CREATE TABLE reports (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          kind TEXT NOT NULL CHECK (kind IN ('event', 'room', 'user')),
          reporter TEXT NOT NULL,
          room_id TEXT,
          event_id TEXT,
          user_id TEXT,
          reason TEXT,
          score INTEGER,
          received_ms INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX reports_by_kind ON reports (kind, id);
      `,
    },
  ],
};

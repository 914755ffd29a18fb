import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'receipts',
  migrations: [
    {
      // thread_id is '' for unthreaded receipts. event_position is 0 for history fetched later.
      sql: `
        CREATE TABLE receipts (
          room_id TEXT NOT NULL,
          user_id TEXT NOT NULL,
          type TEXT NOT NULL CHECK (type IN ('m.read', 'm.read.private')),
          thread_id TEXT NOT NULL,
          event_id TEXT NOT NULL,
          event_depth INTEGER NOT NULL,
          event_position INTEGER NOT NULL,
          ts INTEGER NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (room_id, user_id, type, thread_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX receipts_by_position ON receipts (position);
      `,
    },
  ],
};

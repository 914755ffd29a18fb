import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'room-events',
  migrations: [
    {
      // Messages that are to be taken back at a time (ms since the epoch) their senders have set.
      sql: `
        CREATE TABLE ephemeral_messages (
          event_id TEXT PRIMARY KEY,
          expires_ts INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX ephemeral_messages_by_time ON ephemeral_messages (expires_ts);
      `,
    },
  ],
};

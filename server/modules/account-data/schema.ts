import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'account-data',
  migrations: [
    {
      // room_id is '' for what belongs to no room: NULLs would not be equal to each other in the key.
      sql: `
        CREATE TABLE account_data (
          user_id TEXT NOT NULL,
          room_id TEXT NOT NULL,
          type TEXT NOT NULL,
          content TEXT NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (user_id, room_id, type)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX account_data_by_position ON account_data (user_id, position);
      `,
    },
    {
      // What was deleted stays behind with an empty content, so that other devices come to hear of it.
      sql: 'ALTER TABLE account_data ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;',
    },
  ],
};

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'send-to-device',
  migrations: [
    {
      // `id` is the order of sending; `position` is the token that acknowledges the message, and may be moved on.
      sql: `
        CREATE TABLE to_device_messages (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          position INTEGER NOT NULL,
          sender TEXT NOT NULL,
          type TEXT NOT NULL,
          content TEXT NOT NULL
        ) STRICT;
        CREATE INDEX to_device_messages_by_device ON to_device_messages (user_id, device_id, position, id);

        CREATE TABLE to_device_transactions (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          transaction_id TEXT NOT NULL,
          sent_ms INTEGER NOT NULL,
          PRIMARY KEY (user_id, device_id, transaction_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX to_device_transactions_by_age ON to_device_transactions (sent_ms);
      `,
    },
  ],
};

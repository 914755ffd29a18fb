import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'send-to-device',
  migrations: [
    {
      sql: `
        -- "position" is the order of sending.
        CREATE TABLE to_device_messages (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          position INTEGER NOT NULL,
          sender TEXT NOT NULL,
          type TEXT NOT NULL,
          content TEXT NOT NULL,
          UNIQUE (user_id, device_id, position)
        ) STRICT;

        -- Answers that could not hold all: what came with the token of position "token" went up to "last" only.
        CREATE TABLE to_device_cuts (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          token INTEGER NOT NULL,
          last INTEGER NOT NULL,
          PRIMARY KEY (user_id, device_id, token)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE to_device_transactions (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          type TEXT NOT NULL,
          transaction_id TEXT NOT NULL,
          sent_ms INTEGER NOT NULL,
          PRIMARY KEY (user_id, device_id, type, transaction_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX to_device_transactions_by_age ON to_device_transactions (sent_ms);
      `,
    },
    {
      sql: `
        -- Messages that came from other servers: one that is sent again is not delivered again.
        CREATE TABLE to_device_received (
          origin TEXT NOT NULL,
          message_id TEXT NOT NULL,
          received_ms INTEGER NOT NULL,
          PRIMARY KEY (origin, message_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX to_device_received_by_age ON to_device_received (received_ms);
      `,
    },
    {
      sql: `
        -- Devices that are gone, of which there were many messages: those up to "position" are nobody's, and removed bit by
        -- bit. Another device may be called the same by now.
        CREATE TABLE to_device_leftovers (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (user_id, device_id)
        ) STRICT, WITHOUT ROWID;
      `,
    },
  ],
};

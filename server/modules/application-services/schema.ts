import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'application-services',
  migrations: [
    {
      sql: `
        -- Application services that things are sent to, by the IDs of their registrations.
        CREATE TABLE appservices (
          id TEXT PRIMARY KEY,
          -- The number of the next transaction.
          next_transaction INTEGER NOT NULL,
          -- Typing, receipts, presence and device lists were told up to here.
          news_position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- Events that wait to be put into a transaction. "position" is their order.
        CREATE TABLE appservice_events (
          service_id TEXT NOT NULL REFERENCES appservices (id) ON DELETE CASCADE,
          position INTEGER NOT NULL,
          event_id TEXT NOT NULL,
          PRIMARY KEY (service_id, position)
        ) STRICT, WITHOUT ROWID;

        -- Messages to devices that wait in the same way.
        CREATE TABLE appservice_to_device (
          service_id TEXT NOT NULL REFERENCES appservices (id) ON DELETE CASCADE,
          position INTEGER NOT NULL,
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          sender TEXT NOT NULL,
          type TEXT NOT NULL,
          content TEXT NOT NULL,
          UNIQUE (service_id, position)
        ) STRICT;

        -- The transaction that is being sent: each time it is tried, it has to be the same.
        CREATE TABLE appservice_transactions (
          service_id TEXT PRIMARY KEY REFERENCES appservices (id) ON DELETE CASCADE,
          number INTEGER NOT NULL,
          body TEXT NOT NULL
        ) STRICT;
      `,
    },
    {
      // Of a service that is down for long there are many, and the events of a room go fifteen at a time.
      sql: 'CREATE INDEX appservice_events_by_event ON appservice_events (event_id)',
    },
  ],
};

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'delayed-events',
  migrations: [
    {
      // One row for each event that waits for its time, kept a while after it was finalised. Times are ms since the epoch;
      // device_id is '' for an application service that speaks without one.
      sql: `
        CREATE TABLE delayed_events (
          delay_id TEXT PRIMARY KEY,
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          appservice_id TEXT,
          transaction_id TEXT,
          room_id TEXT NOT NULL,
          type TEXT NOT NULL,
          state_key TEXT,
          origin_server_ts INTEGER,
          content TEXT NOT NULL,
          delay_ms INTEGER NOT NULL,
          due_ts INTEGER NOT NULL,
          finalised_ts INTEGER,
          event_id TEXT,
          error TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX delayed_events_due ON delayed_events (due_ts) WHERE finalised_ts IS NULL;
        CREATE INDEX delayed_events_scheduled_by_user ON delayed_events (user_id, due_ts) WHERE finalised_ts IS NULL;
        CREATE INDEX delayed_events_finalised_by_user
          ON delayed_events (user_id, finalised_ts, delay_id) WHERE finalised_ts IS NOT NULL;
        CREATE INDEX delayed_events_finalised ON delayed_events (finalised_ts) WHERE finalised_ts IS NOT NULL;
        CREATE INDEX delayed_events_by_state
          ON delayed_events (room_id, type, state_key) WHERE finalised_ts IS NULL AND state_key IS NOT NULL;
        CREATE INDEX delayed_events_by_transaction
          ON delayed_events (user_id, device_id, transaction_id) WHERE transaction_id IS NOT NULL;
        CREATE INDEX delayed_events_by_event ON delayed_events (event_id) WHERE event_id IS NOT NULL;
      `,
    },
  ],
};

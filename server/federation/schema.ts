import type { MigrationSet } from '../storage/types.ts';

/** The tables of the post office. Times are ms since the epoch. */
export const federationMigrations: MigrationSet = {
  owner: 'federation',
  migrations: [
    {
      sql: `
        -- Servers that were in trouble once; one that always answered has no row.
        CREATE TABLE federation_destinations (
          server TEXT PRIMARY KEY,
          -- Since when nothing went through; null: all is well. The two after it are null with it.
          failing_since INTEGER,
          -- The wait after the last failure, and when it is over.
          retry_interval INTEGER,
          retry_at INTEGER,
          last_success INTEGER,
          last_error TEXT
        ) STRICT, WITHOUT ROWID;
      `,
    },
    {
      sql: `
        -- What servers said of their keys: canonical JSON with their own signatures, as a notary passes it on.
        CREATE TABLE federation_key_answers (
          answer_id INTEGER PRIMARY KEY,
          server TEXT NOT NULL,
          answer TEXT NOT NULL,
          -- Who gave it: the server itself or a notary.
          from_server TEXT NOT NULL,
          -- As the answer says, which may be far away.
          valid_until INTEGER NOT NULL,
          fetched_at INTEGER NOT NULL,
          -- 1: fetched only because another server asked us for it.
          for_others INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX federation_key_answers_server ON federation_key_answers (server);
        CREATE INDEX federation_key_answers_age ON federation_key_answers (for_others, fetched_at);
        CREATE TABLE federation_server_keys (
          server TEXT NOT NULL,
          key_id TEXT NOT NULL,
          public_key BLOB NOT NULL,
          -- Until when it is good: seven days from its fetching at most, for an old key the end of its use.
          valid_until INTEGER NOT NULL,
          expired INTEGER NOT NULL,
          -- 1: the server itself has told the key, not only a notary.
          direct INTEGER NOT NULL,
          answer_id INTEGER NOT NULL REFERENCES federation_key_answers (answer_id),
          PRIMARY KEY (server, key_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX federation_server_keys_answer ON federation_server_keys (answer_id);
      `,
    },
    {
      sql: `
        -- Servers that the same events went to. Never changed once written.
        CREATE TABLE outgoing_audiences (
          audience_id INTEGER PRIMARY KEY AUTOINCREMENT,
          -- Of the sorted names.
          digest TEXT NOT NULL UNIQUE
        ) STRICT;
        CREATE TABLE outgoing_audience_servers (
          audience_id INTEGER NOT NULL REFERENCES outgoing_audiences (audience_id),
          server TEXT NOT NULL,
          PRIMARY KEY (audience_id, server)
        ) STRICT, WITHOUT ROWID;

        -- Events on their way: one row each, however many servers they go to. Numbers are never used again.
        CREATE TABLE outgoing_pdus (
          seq INTEGER PRIMARY KEY AUTOINCREMENT,
          audience_id INTEGER NOT NULL REFERENCES outgoing_audiences (audience_id),
          room_id TEXT NOT NULL,
          event_id TEXT NOT NULL,
          queued_ts INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX outgoing_pdus_by_room ON outgoing_pdus (room_id, seq);
        CREATE INDEX outgoing_pdus_by_audience ON outgoing_pdus (audience_id, seq);

        -- How far each server got in them; one that has them all has no row.
        CREATE TABLE outgoing_cursors (
          server TEXT PRIMARY KEY,
          seq INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE outgoing_edus (
          seq INTEGER PRIMARY KEY AUTOINCREMENT,
          server TEXT NOT NULL,
          type TEXT NOT NULL,
          -- A newer one of the same type and key takes its place.
          key TEXT,
          -- JSON; null: made when it is sent.
          content TEXT,
          queued_ts INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX outgoing_edus_by_server ON outgoing_edus (server, seq);
        CREATE UNIQUE INDEX outgoing_edus_by_key ON outgoing_edus (server, type, key) WHERE key IS NOT NULL;
      `,
    },
    {
      sql: `
        -- The event itself (JSON), where it is gone from its room, which was removed here before all had it.
        ALTER TABLE outgoing_pdus ADD COLUMN pdu TEXT;
      `,
    },
  ],
};

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'end-to-end-encryption',
  migrations: [
    {
      sql: `
        CREATE TABLE device_keys (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          keys TEXT NOT NULL,
          PRIMARY KEY (user_id, device_id)
        ) STRICT, WITHOUT ROWID;

        -- In the order of upload. A claimed key is deleted.
        CREATE TABLE one_time_keys (
          id INTEGER PRIMARY KEY,
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          algorithm TEXT NOT NULL,
          key_id TEXT NOT NULL,
          key TEXT NOT NULL,
          UNIQUE (user_id, device_id, algorithm, key_id)
        ) STRICT;
        CREATE INDEX one_time_keys_in_order ON one_time_keys (user_id, device_id, algorithm, id);

        -- Keys that were given out, as long as their device exists: a client that repeats an upload must not have them
        -- given out again.
        CREATE TABLE claimed_keys (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          algorithm TEXT NOT NULL,
          public_key TEXT NOT NULL,
          PRIMARY KEY (user_id, device_id, algorithm, public_key)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE fallback_keys (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          algorithm TEXT NOT NULL,
          key_id TEXT NOT NULL,
          key TEXT NOT NULL,
          used INTEGER NOT NULL DEFAULT 0,
          PRIMARY KEY (user_id, device_id, algorithm)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE cross_signing_keys (
          user_id TEXT NOT NULL,
          usage TEXT NOT NULL CHECK (usage IN ('master', 'self_signing', 'user_signing')),
          public_key TEXT NOT NULL,
          keys TEXT NOT NULL,
          PRIMARY KEY (user_id, usage)
        ) STRICT, WITHOUT ROWID;

        -- Signatures uploaded after the keys they are on. The target is a device ID or a public cross-signing key.
        CREATE TABLE key_signatures (
          user_id TEXT NOT NULL,
          target TEXT NOT NULL,
          signer TEXT NOT NULL,
          signing_key_id TEXT NOT NULL,
          signature TEXT NOT NULL,
          PRIMARY KEY (user_id, target, signer, signing_key_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX key_signatures_by_signer ON key_signatures (signer, signing_key_id);

        -- The last change of a user's devices or keys. viewer '': for everyone who shares a room with them; else for
        -- that user alone (what one signed of somebody else's is shown to nobody else).
        CREATE TABLE device_list_changes (
          user_id TEXT NOT NULL,
          viewer TEXT NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (user_id, viewer)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX device_list_changes_by_position ON device_list_changes (position);
      `,
    },
    {
      sql: `
        -- Devices and cross-signing keys of users of other servers, as far as they were fetched and kept up since.
        CREATE TABLE remote_device_lists (
          user_id TEXT PRIMARY KEY,
          server TEXT NOT NULL,
          -- Updates that the list holds, by their stream IDs, the newest last: a JSON array of numbers.
          stream_ids TEXT NOT NULL,
          -- Position of this server's stream when the list was asked for; null: it never came.
          tracked_since INTEGER,
          -- 1: the list lacks something and is to be fetched (again), "retry_at" (ms) or later.
          stale INTEGER NOT NULL,
          failures INTEGER NOT NULL,
          retry_at INTEGER NOT NULL,
          master_key TEXT,
          self_signing_key TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX remote_device_lists_stale ON remote_device_lists (retry_at) WHERE stale = 1;
        CREATE INDEX remote_device_lists_of_server ON remote_device_lists (server, retry_at) WHERE stale = 1;

        -- Those with keys; a device without is of no use to anybody else.
        CREATE TABLE remote_devices (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          keys TEXT NOT NULL,
          display_name TEXT,
          PRIMARY KEY (user_id, device_id)
        ) STRICT, WITHOUT ROWID;

        -- The last change of each device of a local user, also of those that are gone; '' for the cross-signing keys.
        CREATE TABLE own_device_changes (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          position INTEGER NOT NULL,
          PRIMARY KEY (user_id, device_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX own_device_changes_by_position ON own_device_changes (position);

        -- When a local user last came to share a room with servers that may not know their devices.
        CREATE TABLE device_list_meetings (
          user_id TEXT PRIMARY KEY,
          position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX device_list_meetings_by_position ON device_list_meetings (position);

        -- How far each server was told of the changes of each user: up to "position", the last update being "stream_id".
        CREATE TABLE device_list_told (
          user_id TEXT NOT NULL,
          server TEXT NOT NULL,
          position INTEGER NOT NULL,
          stream_id INTEGER,
          PRIMARY KEY (user_id, server)
        ) STRICT, WITHOUT ROWID;
      `,
    },
    {
      sql: `
        -- Server-side key backups. A backup's keys are in a store, so that all of them can be let go of at once: what is
        -- in a discarded store is nobody's any more, and removed bit by bit.
        CREATE TABLE key_backup_stores (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          discarded INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX key_backup_stores_discarded ON key_backup_stores (id) WHERE discarded = 1;

        -- store_id null: the version was deleted; its row stays, so that it is known to have been there.
        CREATE TABLE key_backup_versions (
          user_id TEXT NOT NULL,
          version INTEGER NOT NULL,
          algorithm TEXT NOT NULL,
          auth_data TEXT NOT NULL,
          store_id INTEGER UNIQUE REFERENCES key_backup_stores (id),
          -- Keys in the store.
          count INTEGER NOT NULL DEFAULT 0,
          -- Goes up with each change of them.
          etag INTEGER NOT NULL DEFAULT 0,
          PRIMARY KEY (user_id, version)
        ) STRICT;

        -- Not WITHOUT ROWID: the keys have about 1 kB each, and come in no order.
        CREATE TABLE key_backup_sessions (
          store_id INTEGER NOT NULL,
          room_id TEXT NOT NULL,
          session_id TEXT NOT NULL,
          is_verified INTEGER NOT NULL,
          first_message_index INTEGER NOT NULL,
          forwarded_count INTEGER NOT NULL,
          session_data TEXT NOT NULL,
          UNIQUE (store_id, room_id, session_id)
        ) STRICT;

        -- A user's device that is not in use: it gathers keys for the device they log in with next.
        CREATE TABLE dehydrated_devices (
          user_id TEXT PRIMARY KEY,
          device_id TEXT NOT NULL,
          device_data TEXT NOT NULL
        ) STRICT;
      `,
    },
  ],
};

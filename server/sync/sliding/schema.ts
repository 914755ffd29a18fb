import type { Migration } from '../../storage/types.ts';

/** What is remembered of connections of sliding sync: a step of the migrations of /sync. */
export const slidingSyncTables: Migration = {
  sql: `
    -- A sync loop of a device. "held" numbers the state that the device has shown to have; "given" the last state told
    -- to it, whose difference to the held one is in "changes" until the device comes back with it.
    CREATE TABLE sliding_connections (
      connection_nid INTEGER PRIMARY KEY AUTOINCREMENT,
      user_id TEXT NOT NULL,
      device_id TEXT NOT NULL,
      conn_id TEXT NOT NULL,
      used_ms INTEGER NOT NULL,
      held INTEGER NOT NULL,
      given INTEGER NOT NULL,
      changes TEXT,
      UNIQUE (user_id, device_id, conn_id)
    ) STRICT;
    CREATE INDEX sliding_connections_by_use ON sliding_connections (used_ms);

    -- What the device holds of each room. "part" is empty for the room itself, or the name of an extension.
    CREATE TABLE sliding_sent (
      connection_nid INTEGER NOT NULL REFERENCES sliding_connections ON DELETE CASCADE,
      part TEXT NOT NULL,
      room_id TEXT NOT NULL,
      sent TEXT NOT NULL,
      PRIMARY KEY (connection_nid, part, room_id)
    ) STRICT, WITHOUT ROWID;

    -- What state was asked for: the same for nearly all rooms of a connection, so each is kept once.
    CREATE TABLE sliding_required (
      connection_nid INTEGER NOT NULL REFERENCES sliding_connections ON DELETE CASCADE,
      name TEXT NOT NULL,
      definition TEXT NOT NULL,
      PRIMARY KEY (connection_nid, name)
    ) STRICT, WITHOUT ROWID;

    -- Where something last happened in a room, whoever looks; 0 if nothing did.
    CREATE TABLE sliding_bumps (
      room_id TEXT PRIMARY KEY,
      position INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
  `,
};

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'room-directory',
  migrations: [
    {
      sql: `
        -- The aliases of this server.
        CREATE TABLE room_aliases (
          alias TEXT PRIMARY KEY,
          room_id TEXT NOT NULL,
          creator TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX room_aliases_by_room ON room_aliases (room_id, alias);

        -- What each room shows of itself, so that no list has to look into rooms.
        CREATE TABLE room_summaries (
          room_id TEXT PRIMARY KEY,
          name TEXT,
          topic TEXT,
          avatar_url TEXT,
          canonical_alias TEXT,
          room_type TEXT,
          encryption TEXT,
          join_rule TEXT NOT NULL,
          room_version TEXT NOT NULL,
          joined_members INTEGER NOT NULL,
          world_readable INTEGER NOT NULL,
          guest_can_join INTEGER NOT NULL,
          federates INTEGER NOT NULL,
          -- Everything a search looks at, in lower case.
          search_text TEXT NOT NULL,
          -- Whether it is in the published room directory.
          published INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX room_summaries_published ON room_summaries (joined_members, room_id) WHERE published = 1;

        -- The directories that application services keep of the networks they reach.
        CREATE TABLE network_rooms (
          instance_id TEXT NOT NULL,
          room_id TEXT NOT NULL,
          PRIMARY KEY (instance_id, room_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX network_rooms_by_room ON network_rooms (room_id);
      `,
    },
  ],
};

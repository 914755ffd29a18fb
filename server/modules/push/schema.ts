import type { ModuleMigrations } from '../../module.ts';

/** The tables of push: the rules that users changed, and what those rules found unread. */
export const migrations: ModuleMigrations = {
  owner: 'push',
  migrations: [
    {
      sql: `
        -- Users' own rules. Of one kind, the lower "place" is the more important.
        CREATE TABLE push_rules (
          user_id TEXT NOT NULL,
          kind TEXT NOT NULL CHECK (kind IN ('override', 'content', 'room', 'sender', 'underride')),
          rule_id TEXT NOT NULL,
          place INTEGER NOT NULL,
          enabled INTEGER NOT NULL,
          -- JSON, as the client sent it.
          actions TEXT NOT NULL,
          -- JSON, of override and underride rules.
          conditions TEXT,
          -- Of content rules.
          pattern TEXT,
          PRIMARY KEY (user_id, kind, rule_id)
        ) STRICT, WITHOUT ROWID;

        -- What users changed about the default rules. NULL: as it was.
        CREATE TABLE push_default_rules (
          user_id TEXT NOT NULL,
          rule_id TEXT NOT NULL,
          enabled INTEGER,
          actions TEXT,
          PRIMARY KEY (user_id, rule_id)
        ) STRICT, WITHOUT ROWID;

        -- When each user's rules last changed.
        CREATE TABLE push_rule_changes (
          user_id TEXT PRIMARY KEY,
          position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- What each local user has not read of a room, by thread ('main' for what is in none).
        CREATE TABLE push_unread (
          unread_nid INTEGER PRIMARY KEY,
          user_id TEXT NOT NULL,
          room_id TEXT NOT NULL,
          thread_id TEXT NOT NULL,
          notifications INTEGER NOT NULL,
          highlights INTEGER NOT NULL,
          -- Notifications at or below this position are read.
          read_up_to INTEGER NOT NULL,
          -- When the counts last changed: in the stream, and in ms since the epoch.
          position INTEGER NOT NULL,
          changed_ts INTEGER NOT NULL,
          UNIQUE (user_id, room_id, thread_id)
        ) STRICT;
        CREATE INDEX push_unread_by_position ON push_unread (user_id, position);

        -- The events behind the counts. Those nobody needs any more are cleared away.
        CREATE TABLE push_notifications (
          unread_nid INTEGER NOT NULL REFERENCES push_unread (unread_nid) ON DELETE CASCADE,
          highlight INTEGER NOT NULL CHECK (highlight IN (0, 1)),
          -- Of the event, in the stream.
          position INTEGER NOT NULL,
          event_id TEXT NOT NULL,
          -- JSON, of the rule that matched.
          actions TEXT NOT NULL,
          ts INTEGER NOT NULL,
          PRIMARY KEY (unread_nid, highlight, position)
        ) STRICT, WITHOUT ROWID;
      `,
    },
  ],
};

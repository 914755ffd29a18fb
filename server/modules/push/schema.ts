import type { ModuleMigrations } from '../../module.ts';

/** The tables of push: the rules that users changed, what those rules found unread, and who is told of it how. */
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
    {
      sql: `
        -- How users want to be notified.
        CREATE TABLE push_pushers (
          pusher_nid INTEGER PRIMARY KEY AUTOINCREMENT,
          user_id TEXT NOT NULL,
          app_id TEXT NOT NULL,
          pushkey TEXT NOT NULL,
          kind TEXT NOT NULL CHECK (kind IN ('http', 'email')),
          app_display_name TEXT NOT NULL,
          device_display_name TEXT NOT NULL,
          profile_tag TEXT NOT NULL,
          lang TEXT,
          -- JSON, as the client sent it.
          data TEXT NOT NULL,
          -- The device that made it, with which it goes.
          device_id TEXT,
          enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
          -- When it was last set, ms since the epoch.
          set_ts INTEGER NOT NULL,
          -- Events up to this position are done with.
          position INTEGER NOT NULL,
          -- The last count of what is unread that it knows of.
          badge INTEGER,
          last_success_ts INTEGER,
          -- Since when nothing has got through, ms since the epoch.
          failing_since INTEGER,
          UNIQUE (user_id, app_id, pushkey)
        ) STRICT;
        CREATE INDEX push_pushers_by_key ON push_pushers (app_id, pushkey);

        -- What users with pushers are to be told of, until the last of their pushers is done with it.
        CREATE TABLE push_outbox (
          user_id TEXT NOT NULL,
          -- Of the event, in the stream.
          position INTEGER NOT NULL,
          event_id TEXT NOT NULL,
          -- The count that says whether it has been read.
          unread_nid INTEGER NOT NULL,
          -- JSON, of the rule that matched.
          actions TEXT NOT NULL,
          -- When it came, ms since the epoch.
          ts INTEGER NOT NULL,
          PRIMARY KEY (user_id, position)
        ) STRICT, WITHOUT ROWID;

        -- When mail was last sent because of a room, and for how long (ms) there is none after that.
        CREATE TABLE push_mail_throttles (
          pusher_nid INTEGER NOT NULL REFERENCES push_pushers (pusher_nid) ON DELETE CASCADE,
          room_id TEXT NOT NULL,
          last_sent_ts INTEGER NOT NULL,
          throttle_ms INTEGER NOT NULL,
          -- When what the mail was about had come.
          last_event_ts INTEGER NOT NULL,
          PRIMARY KEY (pusher_nid, room_id)
        ) STRICT, WITHOUT ROWID;

        -- One row: the key that links in mails are signed with.
        CREATE TABLE push_link_key (
          one INTEGER PRIMARY KEY CHECK (one = 1),
          secret BLOB NOT NULL
        ) STRICT;

        -- For the number on an app's icon, which costs what is unread and not what was ever read.
        CREATE INDEX push_unread_waiting ON push_unread (user_id, room_id) WHERE notifications > 0;
      `,
    },
  ],
};

import type { MigrationSet } from '../storage/types.ts';

/**
 * The tables of the rooms. Rooms, events and the keys of states have small numbers ("nid") here, so that what refers to
 * them stays small; these numbers mean nothing outside this database.
 */
export const migrations: MigrationSet = {
  owner: 'rooms',
  migrations: [
    {
      sql: `
        CREATE TABLE rooms (
          room_nid INTEGER PRIMARY KEY,
          room_id TEXT NOT NULL UNIQUE,
          version TEXT NOT NULL,
          -- Root of the current state's tree; 0 is the empty state.
          state_root INTEGER NOT NULL DEFAULT 0,
          -- Of the newest live event; 0 while there is none.
          last_position INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX rooms_by_activity ON rooms (last_position);

        CREATE TABLE events (
          -- The stream position at which the event was first stored.
          event_nid INTEGER PRIMARY KEY,
          event_id TEXT NOT NULL,
          room_nid INTEGER NOT NULL REFERENCES rooms (room_nid),
          -- Differs from event_nid for what became part of the graph, or could be shown, only later.
          position INTEGER NOT NULL,
          depth INTEGER NOT NULL,
          origin_server_ts INTEGER NOT NULL,
          received_ts INTEGER NOT NULL,
          -- 0 not shown, 1 live, 2 history fetched later.
          timeline INTEGER NOT NULL,
          -- 0 accepted, 1 soft-failed, 2 rejected.
          verdict INTEGER NOT NULL,
          outlier INTEGER NOT NULL,
          -- Roots of the states around the event. No state is known of outliers; state_after is kept where it differs.
          state_before INTEGER,
          state_after INTEGER,
          -- For a state event: the one that held its place before.
          replaces INTEGER,
          redacted_by INTEGER,
          -- The signed PDU, pruned once redacted.
          pdu TEXT NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX events_by_id ON events (event_id);
        CREATE INDEX events_by_place ON events (room_nid, depth, position) WHERE timeline > 0;
        CREATE INDEX events_by_position ON events (room_nid, position) WHERE timeline = 1;
        CREATE INDEX events_by_time ON events (room_nid, origin_server_ts) WHERE timeline > 0;

        -- PDUs as they were before a redaction pruned them.
        CREATE TABLE unredacted_events (
          event_nid INTEGER PRIMARY KEY REFERENCES events (event_nid),
          redacted_ts INTEGER NOT NULL,
          pdu TEXT NOT NULL
        ) STRICT;

        -- Accepted redactions whose target has not arrived.
        CREATE TABLE waiting_redactions (
          target_id TEXT NOT NULL,
          event_nid INTEGER NOT NULL REFERENCES events (event_nid),
          PRIMARY KEY (target_id, event_nid)
        ) STRICT, WITHOUT ROWID;

        -- From state events to their auth events, as far as we have them.
        CREATE TABLE auth_edges (
          event_nid INTEGER NOT NULL REFERENCES events (event_nid),
          auth_nid INTEGER NOT NULL REFERENCES events (event_nid),
          PRIMARY KEY (event_nid, auth_nid)
        ) STRICT, WITHOUT ROWID;

        CREATE INDEX auth_edges_by_auth ON auth_edges (auth_nid);

        CREATE TABLE forward_extremities (
          room_nid INTEGER NOT NULL REFERENCES rooms (room_nid),
          event_nid INTEGER NOT NULL REFERENCES events (event_nid),
          PRIMARY KEY (room_nid, event_nid)
        ) STRICT, WITHOUT ROWID;

        -- Events we lack that an event of ours names as its predecessor.
        CREATE TABLE backward_extremities (
          missing_id TEXT NOT NULL,
          event_nid INTEGER NOT NULL REFERENCES events (event_nid),
          room_nid INTEGER NOT NULL REFERENCES rooms (room_nid),
          PRIMARY KEY (missing_id, event_nid)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE state_types (
          type_nid INTEGER PRIMARY KEY,
          type TEXT NOT NULL UNIQUE
        ) STRICT;
        CREATE TABLE state_keys (
          key_nid INTEGER PRIMARY KEY,
          state_key TEXT NOT NULL UNIQUE
        ) STRICT;

        -- Nodes of the state trees; never changed once written.
        CREATE TABLE state_nodes (
          node_nid INTEGER PRIMARY KEY,
          data BLOB NOT NULL
        ) STRICT;
        CREATE TABLE state_tree_salt (
          only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
          salt INTEGER NOT NULL
        ) STRICT;

        -- Which state was current from which position on.
        CREATE TABLE current_states (
          room_nid INTEGER NOT NULL REFERENCES rooms (room_nid),
          position INTEGER NOT NULL,
          state_root INTEGER NOT NULL,
          PRIMARY KEY (room_nid, position)
        ) STRICT, WITHOUT ROWID;

        -- membership: 1 join, 2 invite, 3 knock, 4 leave, 5 ban.
        CREATE TABLE room_members (
          room_nid INTEGER NOT NULL REFERENCES rooms (room_nid),
          user_id TEXT NOT NULL,
          membership INTEGER NOT NULL,
          event_nid INTEGER NOT NULL REFERENCES events (event_nid),
          sender TEXT NOT NULL,
          position INTEGER NOT NULL,
          -- Where the user's newest stay in the room began; NULL if there was none.
          joined_position INTEGER,
          display_name TEXT,
          avatar_url TEXT,
          forgotten INTEGER NOT NULL,
          -- JSON, with an invite or knock.
          stripped_state TEXT,
          PRIMARY KEY (room_nid, user_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX room_members_by_user ON room_members (user_id, membership);

        CREATE TABLE membership_changes (
          user_id TEXT NOT NULL,
          position INTEGER NOT NULL,
          room_nid INTEGER NOT NULL REFERENCES rooms (room_nid),
          -- NULL if there was none.
          before INTEGER,
          after INTEGER NOT NULL,
          event_nid INTEGER NOT NULL REFERENCES events (event_nid),
          PRIMARY KEY (user_id, position)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE sending_devices (
          device_nid INTEGER PRIMARY KEY,
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          UNIQUE (user_id, device_id)
        ) STRICT;
        CREATE TABLE event_transactions (
          event_nid INTEGER PRIMARY KEY REFERENCES events (event_nid),
          device_nid INTEGER NOT NULL REFERENCES sending_devices (device_nid),
          transaction_id TEXT NOT NULL
        ) STRICT;
        CREATE INDEX event_transactions_by_device ON event_transactions (device_nid, transaction_id);
      `,
    },
    {
      sql: 'CREATE INDEX unredacted_events_by_age ON unredacted_events (redacted_ts)',
    },
    {
      sql: `
        -- Checked events of other servers that do not stand in their rooms yet, in the order they came.
        CREATE TABLE staged_events (
          seq INTEGER PRIMARY KEY,
          room_id TEXT NOT NULL,
          event_id TEXT NOT NULL UNIQUE,
          -- The server that sent it.
          origin TEXT NOT NULL,
          received_ts INTEGER NOT NULL,
          -- How often what it rests upon could not be had.
          attempts INTEGER NOT NULL DEFAULT 0,
          pdu TEXT NOT NULL
        ) STRICT;
        CREATE INDEX staged_events_by_room ON staged_events (room_id, seq);
      `,
    },
    {
      sql: `
        -- The depth is that of the event which follows the missing one.
        ALTER TABLE backward_extremities ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;
        UPDATE backward_extremities
        SET depth = (SELECT events.depth FROM events WHERE events.event_nid = backward_extremities.event_nid);
        CREATE INDEX backward_extremities_by_place ON backward_extremities (room_nid, depth);
      `,
    },
    {
      sql: `
        -- Events of other servers' users that came through this server and are to be sent on to the room.
        CREATE TABLE forwarded_events (
          event_nid INTEGER PRIMARY KEY REFERENCES events (event_nid),
          -- Where in the stream that was decided.
          position INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX forwarded_events_by_position ON forwarded_events (position);
      `,
    },
    {
      sql: `
        -- Where events that others rest upon stand in the cover of the auth events by chains. A chain is named after its
        -- first event. An event that is removed leaves its place behind, so that nobody else is taken for it.
        CREATE TABLE auth_chain_places (
          event_nid INTEGER PRIMARY KEY,
          chain INTEGER NOT NULL,
          seq INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX auth_chain_places_by_chain ON auth_chain_places (chain, seq);
        -- From seq on, the events of a chain rest upon another up to to_seq, which grows with seq.
        CREATE TABLE auth_chain_links (
          chain INTEGER NOT NULL,
          to_chain INTEGER NOT NULL,
          seq INTEGER NOT NULL,
          to_seq INTEGER NOT NULL,
          PRIMARY KEY (chain, to_chain, seq)
        ) STRICT, WITHOUT ROWID;
        -- How far the state events that were there before have been looked at.
        CREATE TABLE auth_chain_progress (
          only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
          filed INTEGER NOT NULL,
          complete INTEGER NOT NULL
        ) STRICT;
        INSERT INTO auth_chain_progress SELECT 1, 0, NOT EXISTS (SELECT 1 FROM auth_edges);
      `,
    },
    {
      sql: `
        -- For the removal of events: what refers to them is found by them.
        CREATE INDEX room_members_by_event ON room_members (event_nid);
        CREATE INDEX membership_changes_by_event ON membership_changes (event_nid);
        CREATE INDEX backward_extremities_by_event ON backward_extremities (event_nid);
        CREATE INDEX waiting_redactions_by_event ON waiting_redactions (event_nid);
        -- Those that no index of a room's timeline holds: outliers, and what was refused.
        CREATE INDEX events_not_shown ON events (room_nid) WHERE timeline = 0;

        -- Rooms that are removed for good, or were lately. Times in ms.
        CREATE TABLE purges (
          room_id TEXT PRIMARY KEY,
          started_ts INTEGER NOT NULL,
          -- NULL while it is under way.
          ended_ts INTEGER,
          step TEXT NOT NULL,
          -- Users of this server who had to do with the room, JSON; known once they have left.
          users TEXT,
          -- Those of them who were in the room, or invited, when it began, JSON; and where in the stream it was gone for them.
          present TEXT NOT NULL,
          position INTEGER,
          -- What there was at first, and what is gone.
          events INTEGER NOT NULL,
          removed INTEGER NOT NULL DEFAULT 0,
          -- Of the database that held something, at first.
          bytes_before INTEGER NOT NULL,
          freed_bytes INTEGER
        ) STRICT, WITHOUT ROWID;

        -- Rooms that nobody of this server may enter.
        CREATE TABLE blocked_rooms (
          room_id TEXT PRIMARY KEY,
          blocked_ts INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- What the events of rooms take on the disk, about, of those up to a number.
        CREATE TABLE room_sizes (
          room_nid INTEGER PRIMARY KEY REFERENCES rooms (room_nid),
          events INTEGER NOT NULL,
          bytes INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE room_sizes_progress (
          only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
          counted INTEGER NOT NULL
        ) STRICT;
        INSERT INTO room_sizes_progress VALUES (1, 0);
      `,
    },
    {
      sql: `
        -- Without it, every event that is removed has the extremities of all rooms looked through.
        CREATE INDEX forward_extremities_by_event ON forward_extremities (event_nid);
        -- Asked with every sync.
        CREATE INDEX purges_by_position ON purges (position) WHERE position IS NOT NULL;
      `,
    },
    {
      sql: `
        -- Invites declined, and knocks taken back, that no server of the room has heard of. Times in ms.
        CREATE TABLE owed_leaves (
          room_id TEXT NOT NULL,
          user_id TEXT NOT NULL,
          -- The leave that stands here in its place; with any other membership, nothing is owed.
          event_id TEXT NOT NULL,
          -- JSON.
          content TEXT NOT NULL,
          -- Whom it may be told, JSON.
          servers TEXT NOT NULL,
          since_ts INTEGER NOT NULL,
          tries INTEGER NOT NULL,
          retry_at INTEGER NOT NULL,
          PRIMARY KEY (room_id, user_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX owed_leaves_by_user ON owed_leaves (user_id, since_ts);
        CREATE INDEX owed_leaves_by_age ON owed_leaves (since_ts);
        CREATE INDEX owed_leaves_by_time ON owed_leaves (retry_at);
      `,
    },
  ],
};

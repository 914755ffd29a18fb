import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'search',
  migrations: [
    {
      // Made of what the rooms hold, and can be made anew at any time.
      sql: `
        -- Rooms and senders, each of which stands in many rows.
        CREATE TABLE search_names (
          name_nid INTEGER PRIMARY KEY,
          name TEXT NOT NULL UNIQUE
        ) STRICT;

        CREATE TABLE search_documents (
          -- Later events have higher ones.
          document_nid INTEGER PRIMARY KEY,
          event_id TEXT NOT NULL,
          -- A number made of the event ID, to find it by: an index of the IDs themselves would take three times the space.
          event_key INTEGER NOT NULL,
          room_nid INTEGER NOT NULL,
          sender_nid INTEGER NOT NULL,
          -- The edit the text is from.
          edit_id TEXT
        ) STRICT;
        CREATE INDEX search_documents_by_key ON search_documents (event_key);

        -- The text is folded and split into words before it comes here; the tokenizer parts it at the spaces.
        CREATE VIRTUAL TABLE search_words USING fts5 (
          body, name, topic,
          content = '', contentless_delete = 1, tokenize = 'ascii'
        );

        CREATE TABLE search_rooms (
          room_id TEXT PRIMARY KEY,
          -- What came up to here is for the walk, what comes after it is news.
          position INTEGER NOT NULL,
          -- Where the walk through what the room held before goes on; empty at its beginning, NULL when it is over.
          walk TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX search_rooms_by_walk ON search_rooms (walk) WHERE walk IS NOT NULL;

        -- Events to be looked at (again): history that came later, and what lost an edit.
        CREATE TABLE search_pending (event_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

        -- Has a row while there are rooms that nobody has looked at yet.
        CREATE TABLE search_rebuilds (id INTEGER PRIMARY KEY) STRICT;
        INSERT INTO search_rebuilds (id) VALUES (1);
      `,
    },
  ],
};

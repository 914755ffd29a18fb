import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'user-directory',
  migrations: [
    {
      // A face is what a user shows of themselves in some room: users of this server have one everywhere, those of others
      // may have one in each room, which only those who see that room may learn of. No foreign keys: the directory is
      // made of what the rooms and profiles know and can be made anew, and tables nobody refers to are emptied at once.
      sql: `
        CREATE TABLE user_directory_faces (
          face_nid INTEGER PRIMARY KEY,
          user_id TEXT NOT NULL,
          -- Empty for none, here and below.
          display_name TEXT NOT NULL,
          avatar_url TEXT NOT NULL,
          -- The name without case and accents.
          folded_name TEXT NOT NULL,
          local INTEGER NOT NULL,
          -- Whether it can be found.
          listed INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX user_directory_faces_by_user ON user_directory_faces (user_id, display_name, avatar_url);
        CREATE INDEX user_directory_faces_by_name ON user_directory_faces (folded_name) WHERE listed = 1;

        CREATE TABLE user_directory_rooms (
          room_nid INTEGER PRIMARY KEY,
          room_id TEXT NOT NULL UNIQUE,
          -- Whether anybody may join or read it.
          open INTEGER NOT NULL,
          -- The stream position its members are known as of; NULL while they are only partly known.
          position INTEGER
        ) STRICT;

        CREATE TABLE user_directory_members (
          face_nid INTEGER NOT NULL,
          room_nid INTEGER NOT NULL,
          PRIMARY KEY (face_nid, room_nid)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX user_directory_members_by_room ON user_directory_members (room_nid);

        -- The text is folded and split into words before it comes here; the tokenizer parts it at the spaces.
        CREATE VIRTUAL TABLE user_directory_words USING fts5 (
          display_name, localpart, server,
          content = '', contentless_delete = 1, tokenize = 'ascii', prefix = '1 2 3'
        );

        -- The stream positions at which it was asked to make the directory anew.
        CREATE TABLE user_directory_rebuilds (position INTEGER PRIMARY KEY) STRICT;
        INSERT INTO user_directory_rebuilds (position) VALUES (0);
      `,
    },
  ],
};

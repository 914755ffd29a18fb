import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'thread-subscriptions',
  migrations: [
    {
      // One row for each thread that a user has ever followed. Who follows it no more has kept what was known then, in the
      // stream and in the graph: what is not newer than that cannot make them follow it again by itself.
      sql: `
        CREATE TABLE thread_subscriptions (
          user_id TEXT NOT NULL,
          room_id TEXT NOT NULL,
          root_id TEXT NOT NULL,
          position INTEGER NOT NULL,
          subscribed INTEGER NOT NULL CHECK (subscribed IN (0, 1)),
          automatic INTEGER NOT NULL CHECK (automatic IN (0, 1)),
          left_position INTEGER,
          left_depth INTEGER,
          PRIMARY KEY (user_id, room_id, root_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX thread_subscriptions_by_position ON thread_subscriptions (user_id, position);
      `,
    },
  ],
};

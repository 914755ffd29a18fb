import type { ModuleMigrations } from '../../module.ts';

/** The tables of accounts: users, their tokens, and what interactive authentication remembers. */
export const migrations: ModuleMigrations = {
  owner: 'accounts',
  migrations: [
    {
      sql: `
        CREATE TABLE users (
          user_id TEXT PRIMARY KEY,
          kind TEXT NOT NULL CHECK (kind IN ('user', 'guest')),
          created_ms INTEGER NOT NULL,
          password_hash TEXT,
          user_type TEXT,
          appservice_id TEXT,
          admin INTEGER NOT NULL DEFAULT 0,
          locked INTEGER NOT NULL DEFAULT 0,
          suspended INTEGER NOT NULL DEFAULT 0,
          rate_limited INTEGER NOT NULL DEFAULT 1,
          deactivated INTEGER NOT NULL DEFAULT 0,
          erased INTEGER NOT NULL DEFAULT 0,
          -- Deactivated, but what happens outside of this database (leaving rooms) is not done yet.
          departing INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX users_departing ON users (user_id) WHERE departing = 1;

        CREATE TABLE refresh_tokens (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          token_hash BLOB NOT NULL UNIQUE,
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          expires_ms INTEGER,
          session_expires_ms INTEGER,
          -- The one it was exchanged for.
          previous_id INTEGER,
          -- It, or the access token given out with it, has been seen: the client has it, and the previous one is void.
          used INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX refresh_tokens_device ON refresh_tokens (user_id, device_id);
        CREATE INDEX refresh_tokens_previous ON refresh_tokens (previous_id);

        -- Identities are never used again: other tables may go on naming a token that is gone.
        CREATE TABLE access_tokens (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          token_hash BLOB NOT NULL UNIQUE,
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          expires_ms INTEGER,
          -- When whoever holds it last proved to be the user.
          validated_ms INTEGER NOT NULL,
          refresh_id INTEGER REFERENCES refresh_tokens (id) ON DELETE CASCADE
        ) STRICT;
        CREATE INDEX access_tokens_device ON access_tokens (user_id, device_id);
        CREATE INDEX access_tokens_refresh ON access_tokens (refresh_id);

        CREATE TABLE login_tokens (
          token_hash BLOB PRIMARY KEY,
          user_id TEXT NOT NULL,
          expires_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX login_tokens_expiry ON login_tokens (expires_ms);

        CREATE TABLE registration_tokens (
          token TEXT PRIMARY KEY,
          uses_allowed INTEGER,
          pending INTEGER NOT NULL DEFAULT 0,
          completed INTEGER NOT NULL DEFAULT 0,
          expires_ms INTEGER
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE ui_auth_sessions (
          session_id TEXT PRIMARY KEY,
          operation TEXT NOT NULL,
          -- Who has to prove to be who; null where there is no user yet.
          user_id TEXT,
          -- The request without its secrets, for clients that do not send it again, and the flows it was offered, JSON.
          request TEXT NOT NULL,
          body_digest BLOB NOT NULL,
          -- Stage to what it found out, JSON.
          completed TEXT NOT NULL,
          -- The user a finished registration made.
          outcome TEXT,
          expires_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX ui_auth_sessions_expiry ON ui_auth_sessions (expires_ms);`,
    },
    {
      sql: `
        -- Whom a token is meant for, in the words of whoever made it.
        ALTER TABLE registration_tokens ADD COLUMN note TEXT;
        ALTER TABLE registration_tokens ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;`,
    },
    {
      sql: `
        -- When somebody last made an account with it. Those that were used before this was noted count from now on.
        ALTER TABLE registration_tokens ADD COLUMN last_used_ms INTEGER;
        UPDATE registration_tokens SET last_used_ms = unixepoch() * 1000 WHERE completed > 0;`,
    },
  ],
};

import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'account-validity',
  migrations: [
    {
      sql: `
        CREATE TABLE account_validity (
          user_id TEXT PRIMARY KEY,
          expires_ms INTEGER NOT NULL,
          -- A mail was sent, or is not wanted.
          reminded INTEGER NOT NULL DEFAULT 0,
          token TEXT,
          -- When the token was used; it renews once only.
          token_used_ms INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX account_validity_token ON account_validity (token) WHERE token IS NOT NULL;
        CREATE INDEX account_validity_reminders ON account_validity (expires_ms) WHERE reminded = 0;
      `,
    },
  ],
};

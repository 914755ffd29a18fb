import type { ModuleMigrations } from '../../module.ts';

/** Tokens that prove to other services who a user is. */
export const migrations: ModuleMigrations = {
  owner: 'openid',
  migrations: [
    {
      sql: `
        CREATE TABLE openid_tokens (
          token_hash BLOB PRIMARY KEY,
          user_id TEXT NOT NULL,
          expires_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX openid_tokens_expiry ON openid_tokens (expires_ms);
        CREATE INDEX openid_tokens_user ON openid_tokens (user_id);`,
    },
  ],
};

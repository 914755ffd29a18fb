import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'third-party-ids',
  migrations: [
    {
      sql: `
        -- The addresses of accounts, in their canonical form.
        CREATE TABLE account_threepids (
          medium TEXT NOT NULL,
          address TEXT NOT NULL,
          user_id TEXT NOT NULL,
          validated_ms INTEGER NOT NULL,
          added_ms INTEGER NOT NULL,
          PRIMARY KEY (medium, address)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX account_threepids_user ON account_threepids (user_id);

        -- Which identity server an address was bound at from here.
        CREATE TABLE threepid_bindings (
          user_id TEXT NOT NULL,
          medium TEXT NOT NULL,
          address TEXT NOT NULL,
          id_server TEXT NOT NULL,
          PRIMARY KEY (user_id, medium, address, id_server)
        ) STRICT, WITHOUT ROWID;

        -- Mails on their way to prove whose an address is. Secrets as SHA-256.
        CREATE TABLE threepid_sessions (
          sid TEXT PRIMARY KEY,
          purpose TEXT NOT NULL,
          medium TEXT NOT NULL,
          address TEXT NOT NULL,
          secret_hash BLOB NOT NULL,
          token_hash BLOB NOT NULL,
          next_link TEXT,
          send_attempt INTEGER NOT NULL,
          validated_ms INTEGER,
          expires_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX threepid_sessions_expiry ON threepid_sessions (expires_ms);
        CREATE INDEX threepid_sessions_address ON threepid_sessions (medium, address, secret_hash);
      `,
    },
  ],
};

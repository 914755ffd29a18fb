import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'consent',
  migrations: [
    {
      sql: `
        -- The newest version of the policy that a user has agreed to.
        CREATE TABLE policy_consents (
          user_id TEXT PRIMARY KEY,
          version TEXT NOT NULL,
          agreed_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
      `,
    },
  ],
};

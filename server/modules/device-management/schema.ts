import type { ModuleMigrations } from '../../module.ts';

/** The devices of this server's users, and where they were seen. */
export const migrations: ModuleMigrations = {
  owner: 'device-management',
  migrations: [
    {
      sql: `
        CREATE TABLE devices (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          display_name TEXT,
          created_ms INTEGER NOT NULL,
          last_seen_ms INTEGER,
          last_seen_ip TEXT,
          last_seen_user_agent TEXT,
          PRIMARY KEY (user_id, device_id)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE device_connections (
          user_id TEXT NOT NULL,
          device_id TEXT NOT NULL,
          ip TEXT NOT NULL,
          user_agent TEXT NOT NULL,
          last_seen_ms INTEGER NOT NULL,
          PRIMARY KEY (user_id, device_id, ip, user_agent),
          FOREIGN KEY (user_id, device_id) REFERENCES devices (user_id, device_id) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX device_connections_age ON device_connections (last_seen_ms);`,
    },
  ],
};

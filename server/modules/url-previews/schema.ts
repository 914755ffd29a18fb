import type { ModuleMigrations } from '../../module.ts';

export const migrations: ModuleMigrations = {
  owner: 'url-previews',
  migrations: [
    {
      // Several of one page, by when they were made: who reads an old message may ask what the page was then.
      sql: `
        CREATE TABLE url_previews (
          url TEXT NOT NULL,
          made_ms INTEGER NOT NULL,
          expires_ms INTEGER NOT NULL,
          preview TEXT NOT NULL,
          PRIMARY KEY (url, made_ms)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX url_previews_by_age ON url_previews (made_ms);
      `,
    },
  ],
};

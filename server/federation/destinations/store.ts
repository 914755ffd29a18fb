import type { ServerName } from '../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../storage/types.ts';

/** Since when a server fails, and when to try it again, ms since the epoch. */
export interface Trouble {
  readonly failingSince: number;
  /** The wait after the last failure, ms. */
  readonly interval: number;
  readonly retryAt: number;
}

export interface StoredDestination {
  readonly server: ServerName;
  readonly trouble: Trouble | undefined;
  readonly lastSuccess: number | undefined;
  readonly lastError: string | undefined;
}

interface Row {
  server: string;
  failing_since: number | null;
  retry_interval: number | null;
  retry_at: number | null;
  last_success: number | null;
  last_error: string | null;
}

/** The servers this one has had to do with. */
export class DestinationStore {
  readonly #find;
  readonly #listFailing;
  readonly #list;
  readonly #listFailingPage;
  readonly #put;
  readonly #remove;

  constructor(db: Pick<Database, 'prepareRead' | 'prepareWrite'>) {
    const columns = 'server, failing_since, retry_interval, retry_at, last_success, last_error';
    this.#find = db.prepareRead<Row>(`SELECT ${columns} FROM federation_destinations WHERE server = ?`);
    this.#listFailing = db.prepareRead<Row>(
      `SELECT ${columns} FROM federation_destinations WHERE failing_since IS NOT NULL ORDER BY retry_at`,
    );
    this.#list = db.prepareRead<Row>(
      `SELECT ${columns} FROM federation_destinations WHERE server > ? ORDER BY server LIMIT ?`,
    );
    this.#listFailingPage = db.prepareRead<Row>(`
      SELECT ${columns} FROM federation_destinations
      WHERE server > ? AND failing_since IS NOT NULL ORDER BY server LIMIT ?`);
    this.#put = db.prepareWrite(`
      INSERT INTO federation_destinations (${columns}) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET failing_since = excluded.failing_since, retry_interval = excluded.retry_interval,
        retry_at = excluded.retry_at, last_success = excluded.last_success, last_error = excluded.last_error`);
    this.#remove = db.prepareWrite('DELETE FROM federation_destinations WHERE server = ?');
  }

  find(server: ServerName): StoredDestination | undefined {
    const row = this.#find.find(server);
    return row === undefined ? undefined : fromRow(row);
  }

  /** All that are failing, those to be tried again first at the front. */
  listFailing(): StoredDestination[] {
    return this.#listFailing.list().map(fromRow);
  }

  /** At most `limit` by name, after `from`. */
  list(from: string, limit: number, failingOnly: boolean): StoredDestination[] {
    return (failingOnly ? this.#listFailingPage : this.#list).list(from, limit).map(fromRow);
  }

  put(tx: WriteTx, { server, trouble, lastSuccess, lastError }: StoredDestination): void {
    this.#put.run(
      tx,
      server,
      trouble?.failingSince ?? null,
      trouble?.interval ?? null,
      trouble?.retryAt ?? null,
      lastSuccess ?? null,
      lastError ?? null,
    );
  }

  remove(tx: WriteTx, server: ServerName): void {
    this.#remove.run(tx, server);
  }
}

function fromRow(row: Row): StoredDestination {
  const { failing_since: failingSince, retry_interval: interval, retry_at: retryAt } = row;
  const fails = failingSince !== null && interval !== null && retryAt !== null;
  return {
    server: row.server as ServerName,
    trouble: fails ? { failingSince, interval, retryAt } : undefined,
    lastSuccess: row.last_success ?? undefined,
    lastError: row.last_error ?? undefined,
  };
}

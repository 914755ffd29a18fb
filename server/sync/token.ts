import { invalidParam, MatrixError } from '../matrix/errors.ts';
import { parseTimelineToken } from '../rooms/timeline-token.ts';
import type { TimelineToken } from '../rooms/types.ts';
import { slidingSyncTables } from './sliding/schema.ts';
import type { Database, MigrationSet, Restoration, StreamPosition, WriteTx } from '../storage/types.ts';

/**
 * A stream position as a client sees it: `s<position>_<tag>`. The tag is this database's own, so that a token of
 * another server, or of this server before it was set up anew, is known for what it is.
 */
export type SyncToken = string & { readonly __syncToken: unique symbol };

/** Reads and writes the tokens that /sync hands out. */
export interface SyncTokens {
  format(position: StreamPosition): SyncToken;
  /**
   * The position of a token, `name` being the parameter it came in.
   * @throws MatrixError M_INVALID_PARAM for what is no token, M_UNKNOWN_POS (400) for one from the future or from
   * another server
   */
  parse(token: string, name?: string): StreamPosition;
  /**
   * The place in a room's timeline that a token names: one of ours (`next_batch`), or one of the timeline's own
   * (`prev_batch`, and what `/messages` gives). For every operation with a `from`, `to` or `at`.
   * @throws MatrixError as `parse`
   */
  parsePlace(token: string, name?: string): TimelineToken;
  /**
   * The position itself; or, for one given out in a time that is lost since a backup took the place of the data, the last one
   * before that.
   */
  lastKnown(position: StreamPosition): StreamPosition;
  /** Positions given out after the copy are of a lost time from now on. */
  addLostTime(tx: WriteTx, lost: Pick<Restoration, 'copied' | 'resumed'>): void;
}

// A position of sliding sync is one with the connection behind it: operations that take a token take it too.
const TOKEN = /^s([0-9]{1,16})(?:_([0-9a-f]{1,32})(?:\.[0-9]+\.[0-9]+)?)?$/;

/** The migrations of what belongs to /sync itself. */
export const syncMigrations: MigrationSet = {
  owner: 'sync',
  migrations: [
    {
      sql: `
        -- Tells this database's tokens from another's.
        CREATE TABLE sync_identity (
          only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
          tag TEXT NOT NULL
        ) STRICT;
        INSERT INTO sync_identity (only_row, tag) VALUES (1, lower(hex(randomblob(4))));

        -- Filters users have uploaded. "definition" is the JSON with its keys in order: the same filter is the same text.
        CREATE TABLE sync_filters (
          user_id TEXT NOT NULL,
          filter_id INTEGER NOT NULL,
          definition TEXT NOT NULL,
          PRIMARY KEY (user_id, filter_id),
          UNIQUE (user_id, definition)
        ) STRICT, WITHOUT ROWID;
      `,
    },
    slidingSyncTables,
    {
      sql: `
        -- Positions above "after", up to "until", were only given out in what a restored backup does not know of.
        CREATE TABLE sync_lost_times (
          after INTEGER PRIMARY KEY,
          until INTEGER NOT NULL
        ) STRICT;
      `,
    },
  ],
};

/** The tokens of this database. */
export function syncTokens({ db }: { db: Pick<Database, 'position' | 'prepareRead' | 'prepareWrite'> }): SyncTokens {
  const tag = db.prepareRead<{ tag: string }>('SELECT tag FROM sync_identity').find()?.tag;
  if (tag === undefined) throw new Error('the database has lost the tag of its tokens');

  const findLost = db.prepareRead<{ after: number }>(
    'SELECT after FROM sync_lost_times WHERE after < ? AND until >= ? ORDER BY after LIMIT 1',
  );
  const insertLost = db.prepareWrite('INSERT INTO sync_lost_times (after, until) VALUES (?, ?)');
  let hasLost = findLost.find(Number.MAX_SAFE_INTEGER, 0) !== undefined;

  const parse = (token: string, name = 'since'): StreamPosition => {
    const match = TOKEN.exec(token);
    const position = Number(match?.[1]);
    if (match === null || !Number.isSafeInteger(position)) throw invalidParam(`The ${name} parameter is not a token`);
    if (match[2] !== undefined && match[2] !== tag) throw unknownPosition('The token was given out by another server');
    if (position > db.position()) throw unknownPosition('The token is of a time that has not come yet');
    return position as StreamPosition;
  };

  return {
    format: (position) => `s${position}_${tag}` as SyncToken,
    parse,
    lastKnown: (position) =>
      ((hasLost ? findLost.find(position, position)?.after : undefined) ?? position) as StreamPosition,
    addLostTime: (tx, { copied, resumed }) => {
      insertLost.run(tx, copied, resumed);
      hasLost = true;
    },
    parsePlace: (token, name = 'from') => {
      const place = parseTimelineToken(token) ?? { order: 'stream', position: parse(token, name) };
      if (place.position > db.position()) throw unknownPosition('The token is of a time that has not come yet');
      return place;
    },
  };
}

function unknownPosition(message: string): MatrixError {
  return new MatrixError('M_UNKNOWN_POS', message, { status: 400 });
}

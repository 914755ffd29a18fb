import type { Module, ModuleMigrations } from '../../module.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import type { History } from '../contract.ts';

const HOUR_MS = 3_600_000;
/** Wherever on earth it is midnight, a new quarter of an hour begins. */
const QUARTER_MS = 900_000;
const QUARTERS = HOUR_MS / QUARTER_MS;
/** How often it is noted who is there and what memory is used. */
const SAMPLE_EVERY_MS = 300_000;
/** How many hours are kept. */
export const HOURS_KEPT = 31 * 24;

/** A table of a quarter of an hour a row, so that neither its size nor what it costs to read depends on how much was ever written. */
export const activityMigrations: ModuleMigrations = {
  owner: 'activity',
  migrations: [
    {
      sql: `
        CREATE TABLE activity_hours (
          -- Since the epoch.
          hour INTEGER PRIMARY KEY,
          messages INTEGER NOT NULL DEFAULT 0,
          active_people INTEGER NOT NULL DEFAULT 0,
          -- The most that was seen in that hour.
          resident_bytes INTEGER NOT NULL DEFAULT 0
        ) STRICT;
      `,
    },
    {
      // By the hour, a day could not be told apart from the one before where clocks differ from others by half an hour.
      sql: `
        CREATE TABLE activity_quarters (
          -- Of an hour, since the epoch.
          quarter INTEGER PRIMARY KEY,
          messages INTEGER NOT NULL DEFAULT 0,
          -- Seen since the beginning of that hour.
          active_people INTEGER NOT NULL DEFAULT 0,
          -- The most that was seen in that quarter.
          resident_bytes INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        INSERT INTO activity_quarters SELECT hour * 4, messages, active_people, resident_bytes FROM activity_hours;
        DROP TABLE activity_hours;
      `,
    },
  ],
};

/** What went on, by the hour. */
export interface Activity {
  /** Messages that came in or were sent, from the quarter of an hour of a time (ms since the epoch) on until now. */
  messagesSince(at: number): number;
  /** The last `hours` of them, the present one included. */
  history(hours: number): History;
}

interface ActivityNeeds {
  readonly db: Database;
  readonly clock: Clock;
  /** How many people of this server were seen since a time, ms since the epoch. */
  readonly countActiveSince: (at: number) => number;
  readonly residentBytes?: () => number;
}

interface Row {
  quarter: number;
  messages: number;
  active_people: number;
  resident_bytes: number;
}

const MESSAGES = new Set(['m.room.message', 'm.room.encrypted', 'm.sticker', 'm.poll.start']);

/** Counts messages as they are stored, and notes now and then who is there. */
export function activity(needs: ActivityNeeds): Module & { readonly activity: Activity } {
  const { db, clock, countActiveSince, residentBytes = () => process.memoryUsage.rss() } = needs;
  const add = db.prepareWrite(`
    INSERT INTO activity_quarters (quarter, messages) VALUES (?, 1) ON CONFLICT DO UPDATE SET messages = messages + 1`);
  const note = db.prepareWrite(`
    INSERT INTO activity_quarters (quarter, active_people, resident_bytes) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET active_people = max(active_people, excluded.active_people),
      resident_bytes = max(resident_bytes, excluded.resident_bytes)`);
  const forget = db.prepareWrite('DELETE FROM activity_quarters WHERE quarter < ?');
  const list = db.prepareRead<Row>(`
    SELECT quarter, messages, active_people, resident_bytes FROM activity_quarters WHERE quarter BETWEEN ? AND ?`);
  // Not what a clock that went wrong for a while has put into the future.
  const sum = db.prepareRead<{ messages: number | null }>(
    'SELECT sum(messages) AS messages FROM activity_quarters WHERE quarter BETWEEN ? AND ?',
  );

  const hourOf = (at: number): number => Math.floor(at / HOUR_MS);
  const quarterOf = (at: number): number => Math.floor(at / QUARTER_MS);
  const sample = (): void => {
    const now = clock.now();
    const people = countActiveSince(hourOf(now) * HOUR_MS);
    db.write((tx) => {
      note.run(tx, quarterOf(now), people, residentBytes());
      forget.run(tx, (hourOf(now) - HOURS_KEPT) * QUARTERS);
    });
  };
  let timer: Timer | undefined;
  const tick = (): void => {
    sample();
    timer = clock.after(SAMPLE_EVERY_MS, tick);
  };

  return {
    name: 'activity',
    projections: [
      {
        name: 'activity',
        project: (tx, event, { live }) => {
          if (live && event.verdict === 'accepted' && MESSAGES.has(event.type)) add.run(tx, quarterOf(clock.now()));
        },
      },
    ],
    start: tick,
    stop: () => {
      timer?.cancel();
      sample();
    },
    activity: {
      messagesSince: (at) => sum.find(quarterOf(at), quarterOf(clock.now()))?.messages ?? 0,
      history: (asked) => {
        const hours = Math.min(Math.max(1, Math.trunc(asked)), HOURS_KEPT);
        const last = hourOf(clock.now());
        const first = last - hours + 1;
        const history = { messages: zeros(hours), activePeople: zeros(hours), residentBytes: zeros(hours) };
        for (const row of list.list(first * QUARTERS, last * QUARTERS + QUARTERS - 1)) {
          const hour = Math.floor(row.quarter / QUARTERS) - first;
          history.messages[hour] = (history.messages[hour] ?? 0) + row.messages;
          history.activePeople[hour] = Math.max(history.activePeople[hour] ?? 0, row.active_people);
          history.residentBytes[hour] = Math.max(history.residentBytes[hour] ?? 0, row.resident_bytes);
        }
        // The present hour is only noted every few minutes.
        history.residentBytes[hours - 1] = Math.max(history.residentBytes[hours - 1] ?? 0, residentBytes());
        history.activePeople[hours - 1] = Math.max(
          history.activePeople[hours - 1] ?? 0,
          countActiveSince(last * HOUR_MS),
        );
        return { startsAt: first * HOUR_MS, ...history };
      },
    },
  };
}

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0);
}

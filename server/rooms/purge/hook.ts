import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import { jsonList } from '../../storage/sql.ts';
import type { Database, WriteTx } from '../../storage/types.ts';

/** A room that is removed for good. */
export interface PurgedRoom {
  readonly roomId: RoomId;
  /** Users of this server who ever had to do with it. */
  readonly users: readonly UserId[];
}

/** What somebody who keeps rows about rooms does when one is removed for good. Bears being repeated. */
export interface RoomPurge {
  /**
   * Before everybody leaves (`users` are those who are to): removes at most `limit` rows that would otherwise go in the
   * write of a leave, and says how many; fewer than that: none are left.
   */
  beforeLeaving?(tx: WriteTx, room: PurgedRoom, limit: number): number;
  /**
   * In the write from which on nobody comes across the room, whose memberships went without a trace: what is held in memory
   * of its users' rooms is no longer true.
   */
  hide?(tx: WriteTx, room: PurgedRoom): void;
  /** Removes at most `limit` rows that are about the room itself, and says how many; fewer than that: none are left. */
  room?(tx: WriteTx, room: PurgedRoom, limit: number): number;
  /** Removes what is kept of these events, which are about to go. */
  events?(tx: WriteTx, eventIds: readonly EventId[]): void;
  /** All of that is gone: removes what only it referred to. */
  end?(tx: WriteTx, room: PurgedRoom): void;
}

/** Statements that remove the rows of one owner, run in the order given. */
export interface PurgeStatements {
  /** Take a room ID and the most rows to remove. */
  readonly room?: readonly string[];
  /** For each user of this server: take their ID, the room's, and the most rows to remove. */
  readonly users?: readonly string[];
  /** Take a JSON list of event IDs. */
  readonly events?: readonly string[];
}

/** The usual way to be rid of rows: by statements alone. */
export function purgeBy(db: Pick<Database, 'prepareWrite'>, statements: PurgeStatements): RoomPurge {
  const prepare = (texts: readonly string[] = []) => texts.map((sql) => db.prepareWrite(sql));
  const ofRoom = prepare(statements.room);
  const ofUsers = prepare(statements.users);
  const ofEvents = prepare(statements.events);
  return {
    room: (tx, { roomId, users }, limit) => {
      let left = limit;
      for (const statement of ofRoom) {
        if (left > 0) left -= statement.run(tx, roomId, left).changes;
      }
      for (const statement of ofUsers) {
        for (const userId of users) {
          if (left > 0) left -= statement.run(tx, userId, roomId, left).changes;
        }
      }
      return limit - left;
    },
    events: (tx, eventIds) => {
      const list = jsonList(eventIds);
      for (const statement of ofEvents) statement.run(tx, list);
    },
  };
}

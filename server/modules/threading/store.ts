import type { EventId, RoomId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** A place in the graph of a room. */
export interface Place {
  readonly depth: number;
  readonly position: StreamPosition;
}

/** A thread, by its root and the place of its latest reply. */
export interface Thread extends Place {
  readonly rootId: EventId;
}

interface Row {
  root_id: EventId;
  depth: number;
  position: StreamPosition;
}

/** The threads of each room, in the order of their latest replies. */
export class ThreadStore {
  readonly #list;
  readonly #advance;
  readonly #set;
  readonly #remove;

  constructor(db: Database) {
    this.#list = db.prepareRead<Row>(`
      SELECT root_id, depth, position FROM threads
      WHERE room_id = ? AND (depth, position) <= (?, ?) ORDER BY depth DESC, position DESC LIMIT ?`);
    this.#advance = db.prepareWrite(`
      INSERT INTO threads (room_id, root_id, depth, position) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET depth = excluded.depth, position = excluded.position
      WHERE (excluded.depth, excluded.position) > (depth, position)`);
    this.#set = db.prepareWrite('UPDATE threads SET depth = ?, position = ? WHERE room_id = ? AND root_id = ?');
    this.#remove = db.prepareWrite('DELETE FROM threads WHERE room_id = ? AND root_id = ?');
  }

  /** From the latest one on; `from` is the place the first one is at or below. */
  list(roomId: RoomId, from: Place | undefined, limit: number): Thread[] {
    const furthest = Number.MAX_SAFE_INTEGER;
    const rows = this.#list.list(roomId, from?.depth ?? furthest, from?.position ?? furthest, limit);
    return rows.map(({ root_id: rootId, depth, position }) => ({ rootId, depth, position }));
  }

  /** A reply was made; one that comes earlier in the graph than the latest changes nothing. */
  advance(tx: WriteTx, roomId: RoomId, rootId: EventId, { depth, position }: Place): void {
    this.#advance.run(tx, roomId, rootId, depth, position);
  }

  /** Says which reply is the latest after one was taken away; undefined if none is left. */
  setLatest(tx: WriteTx, roomId: RoomId, rootId: EventId, latest: Place | undefined): void {
    if (latest === undefined) this.#remove.run(tx, roomId, rootId);
    else this.#set.run(tx, latest.depth, latest.position, roomId, rootId);
  }
}

import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { PersistedEvent, TimelineToken } from '../../rooms/types.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';
import type { Relation } from './service/relation.ts';

/** Where an event that relates to another stands in the order of the graph. */
export interface Child {
  readonly eventId: EventId;
  readonly depth: number;
  readonly position: StreamPosition;
}

export interface ChildQuery {
  readonly parentId: EventId;
  /** Undefined: of any kind. */
  readonly relType: string | undefined;
  /** The type of the children; undefined: any. */
  readonly type: string | undefined;
  /** How many relations may lie between the parent and what is found; 1 for its own children alone. */
  readonly levels: number;
  readonly direction: 'b' | 'f';
  /** Where to begin and to end, in that direction. */
  readonly from: TimelineToken | undefined;
  readonly to: TimelineToken | undefined;
  readonly limit: number;
}

interface ChildRow {
  child_id: EventId;
  depth: number;
  position: StreamPosition;
}

const FURTHEST = Number.MAX_SAFE_INTEGER;

/** Which events relate to which (spec: client-server API, "Forming relationships between events"). */
export class RelationStore {
  readonly #insert;
  readonly #remove;
  readonly #foreign;
  readonly #removeForeign;
  readonly #listBack;
  readonly #listForward;
  readonly #listBelowBack;
  readonly #listBelowForward;
  readonly #listKinds;
  readonly #listOf;
  readonly #listNewest;
  readonly #count;
  readonly #hasSent;
  readonly #isParent;
  readonly #listRelated;

  constructor(db: Database) {
    this.#insert = db.prepareWrite(`
      INSERT INTO relations (child_id, parent_id, room_id, rel_type, type, sender, origin_server_ts, depth, position)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET depth = excluded.depth, position = excluded.position`);
    this.#remove = db.prepareWrite('DELETE FROM relations WHERE child_id = ?');
    this.#foreign = db.prepareRead<{ found: number }>(
      'SELECT 1 AS found FROM relations WHERE parent_id = ? AND room_id <> ? LIMIT 1',
    );
    this.#removeForeign = db.prepareWrite('DELETE FROM relations WHERE parent_id = ? AND room_id <> ?');

    const matches = '(? IS NULL OR rel_type = ?) AND (? IS NULL OR type = ?)';
    // Behind a place and a position of the stream, up to another place and position.
    const within = '(depth, position) > (?, ?) AND position > ? AND (depth, position) <= (?, ?) AND position <= ?';
    const children = `SELECT child_id, depth, position FROM relations WHERE parent_id = ? AND ${matches} AND ${within}`;
    const back = 'ORDER BY depth DESC, position DESC LIMIT ?';
    const forward = 'ORDER BY depth, position LIMIT ?';
    this.#listBack = db.prepareRead<ChildRow>(`${children} ${back}`);
    this.#listForward = db.prepareRead<ChildRow>(`${children} ${forward}`);
    // Each step has to match, not only the last (spec: "Relationships API").
    const below = `
      WITH RECURSIVE found (child_id, depth, position, level) AS (
        SELECT child_id, depth, position, 1 FROM relations WHERE parent_id = ? AND ${matches}
        UNION
        SELECT relations.child_id, relations.depth, relations.position, found.level + 1
        FROM found JOIN relations ON relations.parent_id = found.child_id
        WHERE found.level < ? AND ${matches}
      )
      SELECT DISTINCT child_id, depth, position FROM found WHERE ${within}`;
    this.#listBelowBack = db.prepareRead<ChildRow>(`${below} ${back}`);
    this.#listBelowForward = db.prepareRead<ChildRow>(`${below} ${forward}`);

    this.#listKinds = db.prepareRead<{ parent_id: EventId; rel_type: string }>(`
      SELECT DISTINCT parent_id, rel_type FROM relations
      WHERE parent_id IN (SELECT value FROM json_each(?)) AND rel_type IN (SELECT value FROM json_each(?))`);
    this.#listOf = db.prepareRead<{ child_id: EventId }>(`
      SELECT child_id FROM relations INDEXED BY relations_by_sender
      WHERE parent_id = ? AND rel_type = ? AND sender = ? ORDER BY origin_server_ts DESC, child_id DESC LIMIT ?`);
    this.#listNewest = db.prepareRead<ChildRow>(`
      SELECT child_id, depth, position FROM relations INDEXED BY relations_in_order
      WHERE parent_id = ? AND rel_type = ? AND sender NOT IN (SELECT value FROM json_each(?))
      ORDER BY depth DESC, position DESC LIMIT ?`);
    this.#count = db.prepareRead<{ total: number }>(`
      SELECT count(*) AS total FROM relations INDEXED BY relations_by_sender
      WHERE parent_id = ? AND rel_type = ? AND sender NOT IN (SELECT value FROM json_each(?))`);
    this.#hasSent = db.prepareRead<{ found: number }>(
      'SELECT 1 AS found FROM relations WHERE parent_id = ? AND rel_type = ? AND sender = ? LIMIT 1',
    );
    this.#isParent = db.prepareRead<{ found: number }>(
      'SELECT 1 AS found FROM relations WHERE parent_id = ? AND room_id = ? LIMIT 1',
    );
    this.#listRelated = db.prepareRead<{ parent_id: EventId }>(`
      SELECT DISTINCT parent_id FROM relations
      WHERE parent_id IN (SELECT value FROM json_each(?))
        AND (? IS NULL OR sender IN (SELECT value FROM json_each(?)))
        AND (? IS NULL OR rel_type IN (SELECT value FROM json_each(?)))`);
  }

  insert(tx: WriteTx, child: PersistedEvent, { parentId, relType }: Relation): void {
    const { eventId, roomId, type, sender, originServerTs, depth, position } = child;
    this.#insert.run(tx, eventId, parentId, roomId, relType, type, sender, originServerTs, depth, position);
  }

  remove(tx: WriteTx, childId: EventId): void {
    this.#remove.run(tx, childId);
  }

  /** Drops what events of other rooms claimed of this one before it was known where it belongs. */
  removeForeign(tx: WriteTx, parentId: EventId, roomId: RoomId): void {
    // Nearly always there is nothing, and a read costs less than a write.
    if (this.#foreign.find(parentId, roomId) !== undefined) this.#removeForeign.run(tx, parentId, roomId);
  }

  /** What relates to an event, in the order of the graph. */
  list(query: ChildQuery): Child[] {
    const { parentId, relType, type, levels, direction, from, to, limit } = query;
    const isBack = direction === 'b';
    const [lower, upper] = isBack ? [to, from] : [from, to];
    const matches = [relType ?? null, relType ?? null, type ?? null, type ?? null];
    const rest = [...lowerBound(lower), ...upperBound(upper), limit];
    const rows =
      levels === 1
        ? (isBack ? this.#listBack : this.#listForward).list(parentId, ...matches, ...rest)
        : (isBack ? this.#listBelowBack : this.#listBelowForward).list(
            parentId,
            ...matches,
            levels,
            ...matches,
            ...rest,
          );
    return rows.map(toChild);
  }

  /** Which of `parents` have children of which of the kinds. */
  listKinds(parents: readonly EventId[], relTypes: readonly string[]): { parentId: EventId; relType: string }[] {
    const rows = this.#listKinds.list(JSON.stringify(parents), JSON.stringify(relTypes));
    return rows.map(({ parent_id: parentId, rel_type: relType }) => ({ parentId, relType }));
  }

  /** The children that one sender made, latest `origin_server_ts` first. */
  listBySender(parentId: EventId, relType: string, sender: UserId, limit: number): EventId[] {
    return this.#listOf.list(parentId, relType, sender, limit).map((row) => row.child_id);
  }

  /** The children that came last in the graph, newest first. */
  listNewest(parentId: EventId, relType: string, except: ReadonlySet<UserId>, limit: number): Child[] {
    return this.#listNewest.list(parentId, relType, JSON.stringify([...except]), limit).map(toChild);
  }

  count(parentId: EventId, relType: string, except: ReadonlySet<UserId>): number {
    return this.#count.find(parentId, relType, JSON.stringify([...except]))?.total ?? 0;
  }

  hasSent(sender: UserId, parentId: EventId, relType: string): boolean {
    return this.#hasSent.find(parentId, relType, sender) !== undefined;
  }

  /** Whether some event of the room relates to it. */
  isParent(eventId: EventId, roomId: RoomId): boolean {
    return this.#isParent.find(eventId, roomId) !== undefined;
  }

  /** Those of `parents` that one of `senders` (any, if undefined) relates to in one of the ways (any, if undefined). */
  listRelated(
    parents: readonly EventId[],
    senders: readonly UserId[] | undefined,
    relTypes: readonly string[] | undefined,
  ): EventId[] {
    const asJson = (list: readonly string[] | undefined): string | null =>
      list === undefined ? null : JSON.stringify(list);
    const [bySenders, byKinds] = [asJson(senders), asJson(relTypes)];
    const rows = this.#listRelated.list(JSON.stringify(parents), bySenders, bySenders, byKinds, byKinds);
    return rows.map((row) => row.parent_id);
  }
}

function toChild({ child_id: eventId, depth, position }: ChildRow): Child {
  return { eventId, depth, position };
}

/** Depth and position of the place, and the position of the stream, behind which a child has to stand. */
function lowerBound(token: TimelineToken | undefined): readonly [number, number, number] {
  if (token === undefined) return [-1, -1, -1];
  return token.order === 'stream' ? [-1, -1, token.position] : [token.depth, token.position, -1];
}

/** The same for where it may stand at most. */
function upperBound(token: TimelineToken | undefined): readonly [number, number, number] {
  if (token === undefined) return [FURTHEST, FURTHEST, FURTHEST];
  return token.order === 'stream' ? [FURTHEST, FURTHEST, token.position] : [token.depth, token.position, FURTHEST];
}

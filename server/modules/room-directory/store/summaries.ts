import { isRoomId, type RoomId } from '../../../matrix/identifiers.ts';
import type { Database, ReadStatement, SqlValue, WriteTx } from '../../../storage/types.ts';

/** What a room shows of itself from outside. */
export interface RoomSummary {
  readonly name: string | undefined;
  /** Plain text. */
  readonly topic: string | undefined;
  readonly avatarUrl: string | undefined;
  readonly canonicalAlias: string | undefined;
  readonly joinedMembers: number;
  readonly worldReadable: boolean;
  readonly guestCanJoin: boolean;
  /** `invite` where the room has no rule. */
  readonly joinRule: string;
  readonly roomType: string | undefined;
  /** The algorithm messages are encrypted with. */
  readonly encryption: string | undefined;
  readonly roomVersion: string;
  /** Whether users of other servers may ever join. */
  readonly federates: boolean;
}

export type StoredSummary = RoomSummary & { readonly roomId: RoomId };

/** Which of the directories: the published one, that of one network, or all of them at once. */
export type Scope = 'published' | 'all' | { readonly instanceId: string };

/** What a page of the directory is to hold. */
export interface ListFilter {
  readonly scope: Scope;
  /** Words in lower case that all have to occur. */
  readonly words: readonly string[];
  /** Null stands for rooms without a type; undefined takes all. */
  readonly roomTypes: readonly (string | null)[] | undefined;
  readonly federatingOnly: boolean;
}

/** A place in the order of the directory: the largest rooms first, and among equals by ID. */
export interface ListPlace {
  readonly joinedMembers: number;
  readonly roomId: string;
}

interface Row {
  room_id: string;
  name: string | null;
  topic: string | null;
  avatar_url: string | null;
  canonical_alias: string | null;
  room_type: string | null;
  encryption: string | null;
  join_rule: string;
  room_version: string;
  joined_members: number;
  world_readable: number;
  guest_can_join: number;
  federates: number;
}

const COLUMNS = `room_id, name, topic, avatar_url, canonical_alias, room_type, encryption, join_rule, room_version,
  joined_members, world_readable, guest_can_join, federates`;

// A room that nobody outside could enter, ask to enter or look into is of no use to them.
const FILTER = `
  joined_members > 0 AND (world_readable = 1 OR join_rule IN ('public', 'knock', 'knock_restricted'))
  AND (? IS NULL OR EXISTS (SELECT 1 FROM json_each(?) WHERE value IS room_type))
  AND NOT EXISTS (SELECT 1 FROM json_each(?) WHERE instr(search_text, value) = 0)
  AND federates >= ?`;

type ScopeKind = 'published' | 'all' | 'network';
const SCOPES: Readonly<Record<ScopeKind, string>> = {
  published: 'published = 1',
  all: '(published = 1 OR room_id IN (SELECT room_id FROM network_rooms))',
  network: 'room_id IN (SELECT room_id FROM network_rooms WHERE instance_id = ?)',
};

interface ListStatements {
  readonly forward: ReadStatement<Row>;
  readonly backward: ReadStatement<Row>;
  readonly count: ReadStatement<{ total: number }>;
}

/** The summaries of all rooms this server has the state of, and which of them are published. */
export class SummaryStore {
  readonly #find;
  readonly #listAfter;
  readonly #findPublished;
  readonly #put;
  readonly #setMembers;
  readonly #setPublished;
  readonly #insertNetworkRoom;
  readonly #removeNetworkRoom;
  readonly #moveNetworkRoom;
  readonly #removeRoom;
  readonly #removeFromNetworks;
  readonly #lists: Readonly<Record<ScopeKind, ListStatements>>;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>(`SELECT ${COLUMNS} FROM room_summaries WHERE room_id = ?`);
    this.#listAfter = db.prepareRead<Row>(
      `SELECT ${COLUMNS} FROM room_summaries WHERE room_id > ? ORDER BY room_id LIMIT ?`,
    );
    this.#findPublished = db.prepareRead<{ published: number }>(
      'SELECT published FROM room_summaries WHERE room_id = ?',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO room_summaries (${COLUMNS}, search_text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET name = excluded.name, topic = excluded.topic, avatar_url = excluded.avatar_url,
        canonical_alias = excluded.canonical_alias, room_type = excluded.room_type, encryption = excluded.encryption,
        join_rule = excluded.join_rule, room_version = excluded.room_version, joined_members = excluded.joined_members,
        world_readable = excluded.world_readable, guest_can_join = excluded.guest_can_join,
        federates = excluded.federates, search_text = excluded.search_text`);
    this.#setMembers = db.prepareWrite('UPDATE room_summaries SET joined_members = ? WHERE room_id = ?');
    this.#setPublished = db.prepareWrite('UPDATE room_summaries SET published = ? WHERE room_id = ?');
    this.#insertNetworkRoom = db.prepareWrite(
      'INSERT OR IGNORE INTO network_rooms (instance_id, room_id) VALUES (?, ?)',
    );
    this.#removeNetworkRoom = db.prepareWrite('DELETE FROM network_rooms WHERE instance_id = ? AND room_id = ?');
    this.#moveNetworkRoom = db.prepareWrite('UPDATE OR REPLACE network_rooms SET room_id = ? WHERE room_id = ?');
    this.#removeRoom = db.prepareWrite('DELETE FROM room_summaries WHERE room_id = ?');
    this.#removeFromNetworks = db.prepareWrite('DELETE FROM network_rooms WHERE room_id = ?');
    const list = (kind: ScopeKind): ListStatements => {
      const where = `FROM room_summaries WHERE ${SCOPES[kind]} AND ${FILTER}`;
      return {
        forward: db.prepareRead(`
          SELECT ${COLUMNS} ${where} AND (joined_members, room_id) < (?, ?)
          ORDER BY joined_members DESC, room_id DESC LIMIT ?`),
        backward: db.prepareRead(`
          SELECT ${COLUMNS} ${where} AND (joined_members, room_id) > (?, ?)
          ORDER BY joined_members, room_id LIMIT ?`),
        count: db.prepareRead(`SELECT COUNT(*) AS total ${where}`),
      };
    };
    this.#lists = { published: list('published'), all: list('all'), network: list('network') };
  }

  find(roomId: RoomId): StoredSummary | undefined {
    const row = this.#find.find(roomId);
    return row === undefined ? undefined : readRow(row);
  }

  /** The next ones after a room, by ID; an empty text stands before all. */
  listAfter(roomId: string, limit: number): StoredSummary[] {
    return this.#listAfter.list(roomId, limit).map(readRow);
  }

  put(tx: WriteTx, roomId: RoomId, summary: RoomSummary, searchText: string): void {
    this.#put.run(
      tx,
      roomId,
      summary.name ?? null,
      summary.topic ?? null,
      summary.avatarUrl ?? null,
      summary.canonicalAlias ?? null,
      summary.roomType ?? null,
      summary.encryption ?? null,
      summary.joinRule,
      summary.roomVersion,
      summary.joinedMembers,
      Number(summary.worldReadable),
      Number(summary.guestCanJoin),
      Number(summary.federates),
      searchText,
    );
  }

  setMembers(tx: WriteTx, roomId: RoomId, joinedMembers: number): void {
    this.#setMembers.run(tx, joinedMembers, roomId);
  }

  /** Undefined for a room without a summary. */
  isPublished(roomId: RoomId): boolean | undefined {
    const row = this.#findPublished.find(roomId);
    return row === undefined ? undefined : row.published === 1;
  }

  setPublished(tx: WriteTx, roomId: RoomId, published: boolean): void {
    this.#setPublished.run(tx, Number(published), roomId);
  }

  setInNetwork(tx: WriteTx, instanceId: string, roomId: RoomId, published: boolean): void {
    (published ? this.#insertNetworkRoom : this.#removeNetworkRoom).run(tx, instanceId, roomId);
  }

  /** Another room takes this one's place in every directory. */
  move(tx: WriteTx, from: RoomId, to: RoomId): void {
    if (this.isPublished(from) === true) {
      this.setPublished(tx, from, false);
      this.setPublished(tx, to, true);
    }
    this.#moveNetworkRoom.run(tx, to, from);
  }

  removeRoom(tx: WriteTx, roomId: RoomId): void {
    this.#removeRoom.run(tx, roomId);
    this.#removeFromNetworks.run(tx, roomId);
  }

  /** The rooms that come after a place, or before it (the nearest first, then). Undefined: from the beginning. */
  list(filter: ListFilter, place: ListPlace | undefined, direction: 'f' | 'b', limit: number): StoredSummary[] {
    const { statements, values } = this.#query(filter);
    const from = place ?? { joinedMembers: Number.MAX_SAFE_INTEGER, roomId: '' };
    const statement = direction === 'f' ? statements.forward : statements.backward;
    return statement.list(...values, from.joinedMembers, from.roomId, limit).map(readRow);
  }

  count(filter: ListFilter): number {
    const { statements, values } = this.#query(filter);
    return statements.count.find(...values)?.total ?? 0;
  }

  #query({ scope, words, roomTypes, federatingOnly }: ListFilter): {
    statements: ListStatements;
    values: SqlValue[];
  } {
    const types = roomTypes === undefined ? null : JSON.stringify(roomTypes);
    const common = [types, types, JSON.stringify(words), Number(federatingOnly)];
    return typeof scope === 'string'
      ? { statements: this.#lists[scope], values: common }
      : { statements: this.#lists.network, values: [scope.instanceId, ...common] };
  }
}

function readRow(row: Row): StoredSummary {
  if (!isRoomId(row.room_id)) throw new Error('a stored room summary is damaged');
  return {
    roomId: row.room_id,
    name: row.name ?? undefined,
    topic: row.topic ?? undefined,
    avatarUrl: row.avatar_url ?? undefined,
    canonicalAlias: row.canonical_alias ?? undefined,
    roomType: row.room_type ?? undefined,
    encryption: row.encryption ?? undefined,
    joinRule: row.join_rule,
    roomVersion: row.room_version,
    joinedMembers: row.joined_members,
    worldReadable: row.world_readable === 1,
    guestCanJoin: row.guest_can_join === 1,
    federates: row.federates === 1,
  };
}

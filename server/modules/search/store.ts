import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, StreamPosition, WriteStatement, WriteTx } from '../../storage/types.ts';
import type { Field, NewDocument } from './service/documents.ts';

/** An event that has the words that were asked for. Whether the asker may see it is another question. */
export interface Match {
  /** Its place in the order of time. */
  readonly nid: number;
  readonly eventId: EventId;
  readonly roomId: RoomId;
  readonly sender: UserId;
  readonly editId: EventId | undefined;
}

/** A room of which older events are still to be indexed. */
export interface Walk {
  readonly roomId: RoomId;
  /** Empty at the beginning. */
  readonly token: string;
}

interface MatchRow {
  document_nid: number;
  event_id: EventId;
  room_id: RoomId;
  sender: UserId;
  edit_id: EventId | null;
}

/** Above every place in the order of time. */
export const NEWEST = Number.MAX_SAFE_INTEGER;

/** Events of one millisecond that have their own places in the order of time; more of them go into the next one. */
const PER_MS = 2_048;
/** The last millisecond that has places: in the year 2109. */
const LAST_MS = Math.floor(NEWEST / PER_MS) - 1;

/** Pages of the index that are merged with each write that removes many documents. */
const MERGED_AT_ONCE = 8;

/** The index: which events have which words. */
export class SearchStore {
  readonly #findName: ReadStatement<{ name_nid: number }>;
  readonly #insertName;
  readonly #removeName;
  readonly #findDocument: ReadStatement<{ document_nid: number }>;
  readonly #findHighest: ReadStatement<{ highest: number | null }>;
  readonly #insertDocument;
  readonly #removeDocument;
  readonly #insertWords;
  readonly #removeWords;
  readonly #beforeMany: readonly WriteStatement[];
  readonly #afterMany: readonly WriteStatement[];
  readonly #match: ReadStatement<MatchRow>;
  readonly #findRoom: ReadStatement<{ position: StreamPosition }>;
  readonly #insertRoom;
  readonly #findWalk: ReadStatement<{ room_id: RoomId; walk: string }>;
  readonly #setWalk;
  readonly #enqueue;
  readonly #listPending: ReadStatement<{ event_id: EventId }>;
  readonly #dequeue;
  readonly #findRebuild: ReadStatement<{ id: number }>;
  readonly #removeRebuild;
  readonly #clear;

  constructor(db: Database) {
    this.#findName = db.prepareRead('SELECT name_nid FROM search_names WHERE name = ?');
    this.#insertName = db.prepareWrite('INSERT INTO search_names (name) VALUES (?)');
    this.#removeName = db.prepareWrite('DELETE FROM search_names WHERE name = ?');
    this.#findDocument = db.prepareRead(
      'SELECT document_nid FROM search_documents WHERE event_key = ? AND event_id = ?',
    );
    this.#findHighest = db.prepareRead(
      'SELECT max(document_nid) AS highest FROM search_documents WHERE document_nid >= ? AND document_nid < ?',
    );
    this.#insertDocument = db.prepareWrite(`
      INSERT INTO search_documents (document_nid, event_id, event_key, room_nid, sender_nid, edit_id)
      VALUES (?, ?, ?, ?, ?, ?)`);
    this.#removeDocument = db.prepareWrite('DELETE FROM search_documents WHERE document_nid = ?');
    this.#insertWords = db.prepareWrite('INSERT INTO search_words (rowid, body, name, topic) VALUES (?, ?, ?, ?)');
    this.#removeWords = db.prepareWrite('DELETE FROM search_words WHERE rowid = ?');
    // By itself, the index is merged with every 64 documents that go, hundreds of pages at a time: 50 ms. Here it is a few
    // pages with each write, and as before for all other writes.
    const merging = (sql: string): WriteStatement => db.prepareWrite(`INSERT INTO search_words ${sql}`);
    this.#beforeMany = [merging("(search_words, rank) VALUES ('automerge', 0)")];
    this.#afterMany = [
      merging("(search_words) VALUES ('flush')"),
      merging(`(search_words, rank) VALUES ('merge', ${MERGED_AT_ONCE})`),
      merging("(search_words, rank) VALUES ('automerge', 4)"),
    ];
    // CROSS: the words first; they come in the order that is wanted.
    this.#match = db.prepareRead(`
      SELECT document_nid, event_id, room.name AS room_id, sender.name AS sender, edit_id
      FROM search_words
        CROSS JOIN search_documents ON document_nid = search_words.rowid
        CROSS JOIN search_names AS room ON room.name_nid = room_nid
        CROSS JOIN search_names AS sender ON sender.name_nid = sender_nid
      WHERE search_words MATCH ? AND search_words.rowid < ? ORDER BY search_words.rowid DESC LIMIT ?`);
    this.#findRoom = db.prepareRead('SELECT position FROM search_rooms WHERE room_id = ?');
    this.#insertRoom = db.prepareWrite("INSERT INTO search_rooms (room_id, position, walk) VALUES (?, ?, '')");
    this.#findWalk = db.prepareRead('SELECT room_id, walk FROM search_rooms WHERE walk IS NOT NULL LIMIT 1');
    this.#setWalk = db.prepareWrite('UPDATE search_rooms SET walk = ? WHERE room_id = ?');
    this.#enqueue = db.prepareWrite('INSERT OR IGNORE INTO search_pending (event_id) VALUES (?)');
    this.#listPending = db.prepareRead('SELECT event_id FROM search_pending LIMIT ?');
    this.#dequeue = db.prepareWrite('DELETE FROM search_pending WHERE event_id = ?');
    this.#findRebuild = db.prepareRead('SELECT id FROM search_rebuilds');
    this.#removeRebuild = db.prepareWrite('DELETE FROM search_rebuilds');
    this.#clear = [
      "INSERT INTO search_words (search_words) VALUES ('delete-all')",
      'DELETE FROM search_documents',
      'DELETE FROM search_names',
      'DELETE FROM search_rooms',
      'DELETE FROM search_pending',
      'INSERT OR IGNORE INTO search_rebuilds (id) VALUES (1)',
    ].map((sql) => db.prepareWrite(sql));
  }

  /** The newest matches before a place in the order of time, newest first. `expression` is in the index's own language. */
  listMatches(expression: string, before: number, limit: number): Match[] {
    return this.#match.list(expression, before, limit).map((row) => ({
      nid: row.document_nid,
      eventId: row.event_id,
      roomId: row.room_id,
      sender: row.sender,
      editId: row.edit_id ?? undefined,
    }));
  }

  has(eventId: EventId): boolean {
    return this.#findNid(eventId) !== undefined;
  }

  /**
   * Puts documents into the index, in place of those of the same events. Many at once: the index takes them in the order
   * of time only, and begins a new segment for each that is out of it.
   */
  put(tx: WriteTx, documents: readonly NewDocument[]): void {
    for (const { eventId } of documents) this.remove(tx, eventId);
    for (const document of documents.toSorted((a, b) => a.ts - b.ts)) {
      const nid = this.#freePlace(document.ts);
      const { eventId, roomId, sender, editId, field, words } = document;
      const [room, by] = [this.#nameNid(tx, roomId), this.#nameNid(tx, sender)];
      this.#insertDocument.run(tx, nid, eventId, keyOf(eventId), room, by, editId ?? null);
      const wordsOf = (column: Field): string => (column === field ? words : '');
      this.#insertWords.run(tx, nid, wordsOf('body'), wordsOf('name'), wordsOf('topic'));
    }
  }

  remove(tx: WriteTx, eventId: EventId): void {
    const nid = this.#findNid(eventId);
    if (nid !== undefined) this.#removeAt(tx, nid);
  }

  /** Removes documents, some of very many: the index is merged anew as far as a few milliseconds take it. */
  removeMany(tx: WriteTx, eventIds: readonly EventId[]): void {
    const nids = eventIds.flatMap((eventId) => this.#findNid(eventId) ?? []);
    if (nids.length === 0) return;
    for (const statement of this.#beforeMany) statement.run(tx);
    for (const nid of nids) this.#removeAt(tx, nid);
    for (const statement of this.#afterMany) statement.run(tx);
  }

  /** Forgets a room or sender that no document is of any more. */
  removeName(tx: WriteTx, name: string): void {
    this.#removeName.run(tx, name);
  }

  findRoom(roomId: RoomId): { readonly position: StreamPosition } | undefined {
    return this.#findRoom.find(roomId);
  }

  /** Takes in a room: what comes after `position` is news, what came before is for a walk. */
  insertRoom(tx: WriteTx, roomId: RoomId, position: StreamPosition): void {
    this.#insertRoom.run(tx, roomId, position);
  }

  /** One of the rooms with older events to be indexed. */
  findWalk(): Walk | undefined {
    const row = this.#findWalk.find();
    return row === undefined ? undefined : { roomId: row.room_id, token: row.walk };
  }

  /** Undefined: the walk is over. */
  setWalk(tx: WriteTx, roomId: RoomId, token: string | undefined): void {
    this.#setWalk.run(tx, token ?? null, roomId);
  }

  enqueue(tx: WriteTx, eventId: EventId): void {
    this.#enqueue.run(tx, eventId);
  }
  listPending(limit: number): EventId[] {
    return this.#listPending.list(limit).map((row) => row.event_id);
  }
  dequeue(tx: WriteTx, eventId: EventId): void {
    this.#dequeue.run(tx, eventId);
  }

  /** Whether there are rooms that may never have been looked at. */
  isRebuildDue(): boolean {
    return this.#findRebuild.find() !== undefined;
  }
  finishRebuild(tx: WriteTx): void {
    this.#removeRebuild.run(tx);
  }

  /** Forgets everything; it will have to be made anew. */
  clear(tx: WriteTx): void {
    for (const statement of this.#clear) statement.run(tx);
  }

  #removeAt(tx: WriteTx, nid: number): void {
    this.#removeDocument.run(tx, nid);
    this.#removeWords.run(tx, nid);
  }

  #findNid(eventId: EventId): number | undefined {
    return this.#findDocument.find(keyOf(eventId), eventId)?.document_nid;
  }

  #nameNid(tx: WriteTx, name: string): number {
    return this.#findName.find(name)?.name_nid ?? this.#insertName.run(tx, name).lastId;
  }

  #freePlace(ts: number): number {
    let ms = Math.min(Math.max(Math.trunc(ts), 0), LAST_MS);
    for (;;) {
      const first = ms * PER_MS;
      const highest = this.#findHighest.find(first, first + PER_MS)?.highest ?? undefined;
      const place = highest === undefined ? first : highest + 1;
      if (place < first + PER_MS) return place;
      ms += 1;
    }
  }
}

/** FNV-1a, 32 bits, signed. Different event IDs may have the same. */
function keyOf(eventId: EventId): number {
  let hash = 0x81_1c_9d_c5;
  for (let at = 0; at < eventId.length; at += 1) hash = Math.imul(hash ^ eventId.charCodeAt(at), 0x01_00_01_93);
  return hash | 0;
}

import { isUserId, localpartOf, type RoomId, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, StreamPosition, WriteTx } from '../../storage/types.ts';
import { fold } from '../../util/words.ts';
import { type Term, wordsOfName } from './service/text.ts';

/** What a user shows of themselves; empty text for nothing. */
export interface Face {
  readonly displayName: string;
  readonly avatarUrl: string;
}

/** A face that matches a search. */
export interface FoundFace extends Face {
  readonly userId: UserId;
  readonly foldedName: string;
  readonly isLocal: boolean;
  /** Whether a room lets the searcher see this face. */
  readonly isVisible: boolean;
}

/** A room whose members are in the directory. */
interface DirectoryRoom {
  readonly nid: number;
  /** What its members are known as of; undefined while they are only partly known. */
  readonly position: StreamPosition | undefined;
}

/** Whom a search may find. */
interface Scope {
  readonly searcher: UserId;
  /** Everybody there is, rather than those whom a room shows to the searcher. */
  readonly all: boolean;
  readonly localOnly: boolean;
}

interface FaceRow {
  user_id: string;
  display_name: string;
  avatar_url: string;
  folded_name: string;
  local: number;
  visible: number;
}

interface Searches {
  readonly all: ReadStatement<FaceRow>;
  readonly visible: ReadStatement<FaceRow>;
}

/** The most matches that are ranked; of a term that finds more than this, the rest is passed over. */
const RANKED = 1_000;

/** Shown by an open room, or by one that the searcher is in too (which shows nobody themselves). */
const VISIBLE = `EXISTS (
  SELECT 1 FROM user_directory_members AS stay CROSS JOIN user_directory_rooms AS room USING (room_nid)
  WHERE stay.face_nid = face.face_nid AND (room.open = 1 OR (face.face_nid <> ? AND EXISTS (
    SELECT 1 FROM user_directory_members AS own WHERE own.face_nid = ? AND own.room_nid = stay.room_nid))))`;

/** The faces of users, and the rooms that show them. */
export class DirectoryStore {
  readonly #findLocal;
  readonly #findRemote;
  readonly #insertFace;
  readonly #updateFace;
  readonly #removeFace;
  readonly #insertWords;
  readonly #removeWords;
  readonly #findRoom;
  readonly #insertRoom;
  readonly #setOpen;
  readonly #setPosition;
  readonly #removeRoom;
  readonly #listFaces;
  readonly #findStays;
  readonly #insertStay;
  readonly #removeStay;
  readonly #findUse;
  readonly #clear;
  readonly #findRebuild;
  readonly #insertRebuild;
  readonly #removeRebuilds;
  readonly #searches;

  constructor(db: Database) {
    this.#findLocal = db.prepareRead<{ face_nid: number }>(
      'SELECT face_nid FROM user_directory_faces WHERE user_id = ? LIMIT 1',
    );
    this.#findRemote = db.prepareRead<{ face_nid: number }>(
      'SELECT face_nid FROM user_directory_faces WHERE user_id = ? AND display_name = ? AND avatar_url = ?',
    );
    this.#insertFace = db.prepareWrite(`
      INSERT INTO user_directory_faces (user_id, display_name, avatar_url, folded_name, local, listed)
      VALUES (?, ?, ?, ?, ?, ?)`);
    this.#updateFace = db.prepareWrite(`
      UPDATE user_directory_faces SET display_name = ?, avatar_url = ?, folded_name = ?, listed = ? WHERE face_nid = ?`);
    this.#removeFace = db.prepareWrite('DELETE FROM user_directory_faces WHERE face_nid = ?');
    this.#insertWords = db.prepareWrite(
      'INSERT INTO user_directory_words (rowid, display_name, localpart, server) VALUES (?, ?, ?, ?)',
    );
    this.#removeWords = db.prepareWrite('DELETE FROM user_directory_words WHERE rowid = ?');
    this.#findRoom = db.prepareRead<{ room_nid: number; position: number | null }>(
      'SELECT room_nid, position FROM user_directory_rooms WHERE room_id = ?',
    );
    this.#insertRoom = db.prepareWrite('INSERT INTO user_directory_rooms (room_id, open) VALUES (?, 0)');
    this.#setOpen = db.prepareWrite('UPDATE user_directory_rooms SET open = ? WHERE room_nid = ?');
    this.#setPosition = db.prepareWrite('UPDATE user_directory_rooms SET position = ? WHERE room_nid = ?');
    this.#removeRoom = db.prepareWrite('DELETE FROM user_directory_rooms WHERE room_nid = ?');
    this.#listFaces = db.prepareRead<{ face_nid: number }>(
      'SELECT face_nid FROM user_directory_members WHERE room_nid = ?',
    );
    // CROSS: a user has few faces, a room has many.
    this.#findStays = db.prepareRead<{ face_nid: number }>(`
      SELECT face_nid FROM user_directory_faces CROSS JOIN user_directory_members USING (face_nid)
      WHERE user_id = ? AND room_nid = ?`);
    this.#insertStay = db.prepareWrite('INSERT INTO user_directory_members (face_nid, room_nid) VALUES (?, ?)');
    this.#removeStay = db.prepareWrite('DELETE FROM user_directory_members WHERE face_nid = ? AND room_nid = ?');
    this.#findUse = db.prepareRead<{ used: number }>(`
      SELECT 1 AS used FROM user_directory_faces WHERE face_nid = ? AND (local = 1 OR EXISTS (
        SELECT 1 FROM user_directory_members WHERE face_nid = user_directory_faces.face_nid))`);
    this.#clear = [
      "INSERT INTO user_directory_words (user_directory_words) VALUES ('delete-all')",
      'DELETE FROM user_directory_members',
      'DELETE FROM user_directory_rooms',
      'DELETE FROM user_directory_faces',
    ].map((sql) => db.prepareWrite(sql));
    this.#findRebuild = db.prepareRead<{ position: number }>(
      'SELECT position FROM user_directory_rebuilds WHERE position <= ? LIMIT 1',
    );
    this.#insertRebuild = db.prepareWrite('INSERT INTO user_directory_rebuilds (position) VALUES (?)');
    this.#removeRebuilds = db.prepareWrite('DELETE FROM user_directory_rebuilds WHERE position <= ?');

    const search = (source: string, all: boolean): string => `
      SELECT user_id, face.display_name, avatar_url, folded_name, local, ${all ? VISIBLE : '1'} AS visible
      FROM ${source} AND listed = 1 AND local >= ? AND ${all ? 'face.face_nid <> ?' : VISIBLE} LIMIT ${RANKED}`;
    const searches = (source: string): Searches => ({
      all: db.prepareRead(search(source, true)),
      visible: db.prepareRead(search(source, false)),
    });
    this.#searches = {
      userIds: searches('user_directory_faces AS face WHERE user_id >= ? AND user_id < ?'),
      name: searches('user_directory_faces AS face WHERE folded_name = ?'),
      words: searches(`user_directory_words AS words
        CROSS JOIN user_directory_faces AS face ON face.face_nid = words.rowid WHERE user_directory_words MATCH ?`),
    };
  }

  /** The faces a term matches, those it names exactly among them, in no order; one may come twice. */
  search(term: Term, { searcher, all, localOnly }: Scope): FoundFace[] {
    const self = this.#findLocal.find(searcher)?.face_nid ?? 0;
    const run = (statements: Searches, ...by: string[]): FaceRow[] => {
      return all
        ? statements.all.list(self, self, ...by, Number(localOnly), self)
        : statements.visible.list(...by, Number(localOnly), self, self);
    };
    const match = term.phrases.map((phrase) => `"${phrase}"*`).join(' ');
    return [
      ...run(this.#searches.userIds, ...term.userIds),
      ...run(this.#searches.name, term.text),
      ...(match === '' ? [] : run(this.#searches.words, match)),
    ].flatMap((row) => {
      const { user_id: userId } = row;
      if (!isUserId(userId)) return [];
      return {
        userId,
        displayName: row.display_name,
        avatarUrl: row.avatar_url,
        foldedName: row.folded_name,
        isLocal: row.local === 1,
        isVisible: row.visible === 1,
      };
    });
  }

  /** Sets the one face of a user of this server; what is not listed is only kept to know whose rooms they are in. */
  putLocalFace(tx: WriteTx, userId: UserId, { displayName, avatarUrl }: Face, listed: boolean): number {
    const known = this.#findLocal.find(userId)?.face_nid;
    if (known === undefined) return this.#insert(tx, userId, { displayName, avatarUrl }, { local: true, listed });
    this.#updateFace.run(tx, displayName, avatarUrl, fold(displayName), Number(listed), known);
    this.#removeWords.run(tx, known);
    if (listed) this.#index(tx, known, userId, displayName);
    return known;
  }

  findLocalFace(userId: UserId): number | undefined {
    return this.#findLocal.find(userId)?.face_nid;
  }

  /** The face of a user of another server, made if it is new. */
  ensureRemoteFace(tx: WriteTx, userId: UserId, face: Face): number {
    const known = this.#findRemote.find(userId, face.displayName, face.avatarUrl)?.face_nid;
    return known ?? this.#insert(tx, userId, face, { local: false, listed: true });
  }

  findRoom(roomId: RoomId): DirectoryRoom | undefined {
    const row = this.#findRoom.find(roomId);
    if (row === undefined) return undefined;
    return { nid: row.room_nid, position: row.position === null ? undefined : (row.position as StreamPosition) };
  }

  /** Takes in a room nobody is known of yet. */
  insertRoom(tx: WriteTx, roomId: RoomId): number {
    return this.#insertRoom.run(tx, roomId).lastId;
  }

  setOpen(tx: WriteTx, roomNid: number, open: boolean): void {
    this.#setOpen.run(tx, Number(open), roomNid);
  }

  setPosition(tx: WriteTx, roomNid: number, position: StreamPosition | undefined): void {
    this.#setPosition.run(tx, position ?? null, roomNid);
  }

  /** Removes a room whose members are gone. */
  removeRoom(tx: WriteTx, roomNid: number): void {
    this.#removeRoom.run(tx, roomNid);
  }

  listFaces(roomNid: number): number[] {
    return this.#listFaces.list(roomNid).map((row) => row.face_nid);
  }

  isMember(roomNid: number, userId: UserId): boolean {
    return this.#findStays.find(userId, roomNid) !== undefined;
  }

  /** Shows a user's face in a room in place of what they showed there, or nothing any more. */
  setMember(tx: WriteTx, roomNid: number, userId: UserId, faceNid: number | undefined): void {
    const stays = this.#findStays.list(userId, roomNid).map((row) => row.face_nid);
    if (faceNid !== undefined && !stays.includes(faceNid)) this.#insertStay.run(tx, faceNid, roomNid);
    for (const stay of stays) if (stay !== faceNid) this.removeMember(tx, roomNid, stay);
  }

  /** Takes a face out of a room; one of another server's user that no room shows is forgotten. */
  removeMember(tx: WriteTx, roomNid: number, faceNid: number): void {
    this.#removeStay.run(tx, faceNid, roomNid);
    if (this.#findUse.find(faceNid) !== undefined) return;
    this.#removeWords.run(tx, faceNid);
    this.#removeFace.run(tx, faceNid);
  }

  /** Empties the directory. */
  clear(tx: WriteTx): void {
    for (const statement of this.#clear) statement.run(tx);
  }

  /** Whether it was asked, up to a position, to make the directory anew. */
  isRebuildDue(now: StreamPosition): boolean {
    return this.#findRebuild.find(now) !== undefined;
  }

  requestRebuild(tx: WriteTx): void {
    this.#insertRebuild.run(tx, tx.nextPosition());
  }

  finishRebuild(tx: WriteTx, now: StreamPosition): void {
    this.#removeRebuilds.run(tx, now);
  }

  #insert(tx: WriteTx, userId: UserId, face: Face, { local, listed }: { local: boolean; listed: boolean }): number {
    const { displayName, avatarUrl } = face;
    const flags = [Number(local), Number(listed)];
    const { lastId } = this.#insertFace.run(tx, userId, displayName, avatarUrl, fold(displayName), ...flags);
    if (listed) this.#index(tx, lastId, userId, displayName);
    return lastId;
  }

  #index(tx: WriteTx, faceNid: number, userId: UserId, displayName: string): void {
    const [name, localpart, server] = [displayName, localpartOf(userId), serverNameOf(userId)].map((part) =>
      wordsOfName(fold(part)),
    );
    this.#insertWords.run(tx, faceNid, name ?? '', localpart ?? '', server ?? '');
  }
}

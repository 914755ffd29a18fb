import { isServerName, isUserId, type ServerName, type UserId } from '../../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../../storage/types.ts';

/** A medium: what an `mxc://` URI names. */
export interface Medium {
  readonly origin: ServerName;
  readonly mediaId: string;
  readonly isLocal: boolean;
  /** SHA-256 of the content; undefined while it is only announced. */
  readonly file: Buffer | undefined;
  readonly bytes: number;
  readonly type: string;
  readonly name: string | undefined;
  /** Who uploaded it; undefined for media of other servers, and for what this one found itself. */
  readonly uploader: UserId | undefined;
  /** When it was uploaded, or fetched from its server, ms. */
  readonly createdMs: number;
  readonly accessedMs: number;
  /** When an announced upload must be complete, or content goes that is kept for a while only, ms. */
  readonly expiresMs: number | undefined;
  /** Came after unauthenticated access was frozen. */
  readonly needsToken: boolean;
  readonly quarantinedBy: string | undefined;
  /** Cannot be quarantined, and does not expire. */
  readonly isProtected: boolean;
}

/** A medium whose content is here. */
export type KeptMedium = Medium & { readonly file: Buffer };

export type NewMedium = Pick<Medium, 'origin' | 'mediaId' | 'isLocal' | 'bytes' | 'type' | 'name' | 'uploader'> & {
  readonly file: Buffer;
  readonly now: number;
  readonly needsToken: boolean;
  /** When it goes, ms; it stays unless told. */
  readonly expiresMs?: number;
};

interface Row {
  origin: string;
  media_id: string;
  is_local: number;
  file: Buffer | null;
  bytes: number;
  type: string;
  name: string | null;
  uploader: string | null;
  created_ms: number;
  accessed_ms: number;
  expires_ms: number | null;
  needs_token: number;
  quarantined_by: string | null;
  is_protected: number;
}

const COLUMNS =
  'origin, media_id, is_local, file, bytes, type, name, uploader, created_ms, accessed_ms, expires_ms, needs_token, quarantined_by, is_protected';

/** What is to be listed of the media that are here. */
export interface MediaListing {
  /** Undefined: wherever they are from. */
  readonly origin: 'local' | 'remote' | undefined;
  readonly order: 'size' | 'age' | 'access';
  readonly offset: number;
  readonly limit: number;
}

/** Whoever is named as having quarantined what came after its like had been. */
const BY_LIKENESS = 'system';

/** Media, announced and kept, of this server and of others. */
export class MediaStore {
  readonly #find: ReadStatement<Row>;
  readonly #insert: WriteStatement;
  readonly #announce: WriteStatement;
  readonly #fill: WriteStatement;
  readonly #remove: WriteStatement;
  readonly #removeExpired: WriteStatement;
  readonly #countAnnounced: ReadStatement<{ count: number; first: number | null }>;
  readonly #sumUploaded: ReadStatement<{ bytes: number }>;
  readonly #hasFile: ReadStatement<{ one: number }>;
  readonly #findQuarantine: ReadStatement<{ quarantined_by: string }>;
  readonly #quarantine: WriteStatement;
  readonly #release: WriteStatement;
  readonly #protect: WriteStatement;
  readonly #touch: WriteStatement;
  readonly #idleLocal: ReadStatement<Row>;
  readonly #idleRemote: ReadStatement<Row>;
  readonly #passed: ReadStatement<Row>;
  readonly #totals: ReadStatement<{ kind: string; files: number; bytes: number }>;
  readonly #kept: Readonly<Record<MediaListing['order'], ReadStatement<Row>>>;
  readonly #ofUser: ReadStatement<Row>;
  readonly #countOfUser: ReadStatement<{ count: number; bytes: number }>;

  constructor(db: Database) {
    this.#find = db.prepareRead(`SELECT ${COLUMNS} FROM media WHERE origin = ? AND media_id = ?`);
    this.#insert = db.prepareWrite(`
      INSERT INTO media (origin, media_id, is_local, file, bytes, type, name, uploader, created_ms, accessed_ms, needs_token,
        quarantined_by, expires_ms)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#announce = db.prepareWrite(`
      INSERT INTO media (origin, media_id, is_local, bytes, type, uploader, created_ms, accessed_ms, expires_ms, needs_token)
      VALUES (?, ?, 1, 0, '', ?, ?, ?, ?, 1)`);
    this.#fill = db.prepareWrite(`
      UPDATE media SET file = ?, bytes = ?, type = ?, name = ?, created_ms = ?, accessed_ms = ?, needs_token = ?,
        quarantined_by = ?, expires_ms = NULL
      WHERE origin = ? AND media_id = ? AND file IS NULL`);
    this.#remove = db.prepareWrite('DELETE FROM media WHERE origin = ? AND media_id = ?');
    this.#removeExpired = db.prepareWrite('DELETE FROM media WHERE file IS NULL AND expires_ms <= ?');
    this.#countAnnounced = db.prepareRead(`
      SELECT COUNT(*) AS count, MIN(expires_ms) AS first FROM media WHERE file IS NULL AND uploader = ? AND expires_ms > ?`);
    this.#sumUploaded = db.prepareRead(`
      SELECT COALESCE(SUM(bytes), 0) AS bytes FROM media WHERE uploader = ? AND created_ms > ?`);
    this.#hasFile = db.prepareRead('SELECT 1 AS one FROM media WHERE file = ? LIMIT 1');
    this.#findQuarantine = db.prepareRead(`
      SELECT quarantined_by FROM media WHERE file = ? AND quarantined_by IS NOT NULL LIMIT 1`);
    this.#quarantine = db.prepareWrite(`
      UPDATE media SET quarantined_by = ? WHERE file = ? AND quarantined_by IS NULL AND is_protected = 0`);
    this.#release = db.prepareWrite('UPDATE media SET quarantined_by = NULL WHERE file = ?');
    this.#protect = db.prepareWrite('UPDATE media SET is_protected = ? WHERE origin = ? AND media_id = ?');
    this.#touch = db.prepareWrite(`
      UPDATE media SET accessed_ms = ? WHERE origin = ? AND media_id = ? AND accessed_ms < ?`);
    this.#idleLocal = db.prepareRead(`
      SELECT ${COLUMNS} FROM media
      WHERE file IS NOT NULL AND is_local = 1 AND accessed_ms < ? AND quarantined_by IS NULL AND is_protected = 0
      ORDER BY accessed_ms LIMIT ?`);
    this.#idleRemote = db.prepareRead(`
      SELECT ${COLUMNS} FROM media
      WHERE file IS NOT NULL AND is_local = 0 AND accessed_ms < ? AND quarantined_by IS NULL
      ORDER BY accessed_ms LIMIT ?`);
    this.#passed = db.prepareRead(`
      SELECT ${COLUMNS} FROM media
      WHERE file IS NOT NULL AND expires_ms IS NOT NULL AND expires_ms <= ? AND quarantined_by IS NULL AND is_protected = 0
      ORDER BY expires_ms LIMIT ?`);
    this.#totals = db.prepareRead('SELECT kind, files, bytes FROM media_totals');
    const kept = (index: string, column: string): ReadStatement<Row> =>
      // The pages before it are passed over in the index alone.
      db.prepareRead(`
        SELECT ${COLUMNS} FROM media WHERE (origin, media_id) IN (
          SELECT origin, media_id FROM media INDEXED BY ${index}
          WHERE file IS NOT NULL AND is_local >= ? AND is_local <= ? ORDER BY ${column} DESC LIMIT ? OFFSET ?)
        ORDER BY ${column} DESC, origin DESC, media_id DESC`);
    this.#kept = {
      size: kept('media_by_size', 'bytes'),
      age: kept('media_by_age', 'created_ms'),
      access: kept('media_by_last_access', 'accessed_ms'),
    };
    this.#ofUser = db.prepareRead(`
      SELECT ${COLUMNS} FROM media WHERE uploader = ? AND file IS NOT NULL ORDER BY created_ms DESC, media_id LIMIT ? OFFSET ?`);
    this.#countOfUser = db.prepareRead(`
      SELECT COUNT(*) AS count, COALESCE(SUM(bytes), 0) AS bytes FROM media WHERE uploader = ? AND file IS NOT NULL`);
  }

  find(origin: ServerName, mediaId: string): Medium | undefined {
    const row = this.#find.find(origin, mediaId);
    return row === undefined ? undefined : toMedium(row);
  }

  /** Adds a medium with its content. What looks like something in quarantine is so from the start. */
  insert(tx: WriteTx, { now, ...medium }: NewMedium): void {
    this.#insert.run(
      tx,
      medium.origin,
      medium.mediaId,
      medium.isLocal ? 1 : 0,
      medium.file,
      medium.bytes,
      medium.type,
      medium.name ?? null,
      medium.uploader ?? null,
      now,
      now,
      medium.needsToken ? 1 : 0,
      this.#quarantineOf(medium.file),
      medium.expiresMs ?? null,
    );
  }

  announce(tx: WriteTx, origin: ServerName, mediaId: string, by: UserId, now: number, expiresMs: number): void {
    this.#announce.run(tx, origin, mediaId, by, now, now, expiresMs);
  }

  /** Gives an announced medium its content; false where it has some, or is gone. */
  fill(tx: WriteTx, { now, ...medium }: Omit<NewMedium, 'isLocal' | 'uploader' | 'expiresMs'>): boolean {
    const { changes } = this.#fill.run(
      tx,
      medium.file,
      medium.bytes,
      medium.type,
      medium.name ?? null,
      now,
      now,
      medium.needsToken ? 1 : 0,
      this.#quarantineOf(medium.file),
      medium.origin,
      medium.mediaId,
    );
    return changes > 0;
  }

  remove(tx: WriteTx, { origin, mediaId }: Pick<Medium, 'origin' | 'mediaId'>): boolean {
    return this.#remove.run(tx, origin, mediaId).changes > 0;
  }

  /** Forgets announcements that nothing came of. */
  removeExpired(tx: WriteTx, now: number): void {
    this.#removeExpired.run(tx, now);
  }

  /** How many uploads a user has announced that may still come, and when the first of them expires, ms. */
  countAnnounced(by: UserId, now: number): { readonly count: number; readonly firstExpiry: number | undefined } {
    const found = this.#countAnnounced.find(by, now);
    return { count: found?.count ?? 0, firstExpiry: found?.first ?? undefined };
  }

  /** Bytes a user has uploaded after `sinceMs`. */
  sumUploaded(by: UserId, sinceMs: number): number {
    return this.#sumUploaded.find(by, sinceMs)?.bytes ?? 0;
  }

  hasFile(file: Buffer): boolean {
    return this.#hasFile.find(file) !== undefined;
  }

  /** Quarantines every medium with this content that is not protected. */
  quarantine(tx: WriteTx, file: Buffer, by: string): number {
    return this.#quarantine.run(tx, by, file).changes;
  }

  release(tx: WriteTx, file: Buffer): number {
    return this.#release.run(tx, file).changes;
  }

  protect(tx: WriteTx, origin: ServerName, mediaId: string, isProtected: boolean): boolean {
    return this.#protect.run(tx, isProtected ? 1 : 0, origin, mediaId).changes > 0;
  }

  touch(tx: WriteTx, { origin, mediaId }: Pick<Medium, 'origin' | 'mediaId'>, atMs: number): void {
    this.#touch.run(tx, atMs, origin, mediaId, atMs);
  }

  /** Media nobody has looked at since `beforeMs` and that may go, the longest unused first. */
  listIdle(which: 'local' | 'remote', beforeMs: number, limit: number): KeptMedium[] {
    return (which === 'local' ? this.#idleLocal : this.#idleRemote).list(beforeMs, limit).map(toMedium).filter(isKept);
  }

  /** Media that were kept for a while only, which is over. */
  listPassed(now: number, limit: number): KeptMedium[] {
    return this.#passed.list(now, limit).map(toMedium).filter(isKept);
  }

  /** A page of what is here, the most first. Costs the length of the pages before it, in entries of an index. */
  listKept({ origin, order, offset, limit }: MediaListing): KeptMedium[] {
    const [least, most] = origin === undefined ? [0, 1] : origin === 'local' ? [1, 1] : [0, 0];
    return this.#kept[order].list(least, most, limit, offset).map(toMedium).filter(isKept);
  }

  /** What is here, by where it came from. */
  countByOrigin(): { local: { files: number; bytes: number }; remote: { files: number; bytes: number } } {
    const totals = new Map(this.#totals.list().map(({ kind, files, bytes }) => [kind, { files, bytes }]));
    const of = (kind: string): { files: number; bytes: number } => totals.get(kind) ?? { files: 0, bytes: 0 };
    return { local: of('local'), remote: of('remote') };
  }

  /** A page of what a user has uploaded, the newest first. */
  listOfUser(userId: UserId, limit: number, offset: number): KeptMedium[] {
    return this.#ofUser.list(userId, limit, offset).map(toMedium).filter(isKept);
  }

  countOfUser(userId: UserId): { readonly count: number; readonly bytes: number } {
    return this.#countOfUser.find(userId) ?? { count: 0, bytes: 0 };
  }

  #quarantineOf(file: Buffer): string | null {
    return this.#findQuarantine.find(file) === undefined ? null : BY_LIKENESS;
  }
}

export function isKept(medium: Medium): medium is KeptMedium {
  return medium.file !== undefined;
}

function toMedium(row: Row): Medium {
  const { origin, uploader } = row;
  if (!isServerName(origin)) throw new TypeError('a stored server name is none');
  if (uploader !== null && !isUserId(uploader)) throw new TypeError('a stored user ID is none');
  return {
    origin,
    mediaId: row.media_id,
    isLocal: row.is_local === 1,
    file: row.file ?? undefined,
    bytes: row.bytes,
    type: row.type,
    name: row.name ?? undefined,
    uploader: uploader ?? undefined,
    createdMs: row.created_ms,
    accessedMs: row.accessed_ms,
    expiresMs: row.expires_ms ?? undefined,
    needsToken: row.needs_token === 1,
    quarantinedBy: row.quarantined_by ?? undefined,
    isProtected: row.is_protected === 1,
  };
}

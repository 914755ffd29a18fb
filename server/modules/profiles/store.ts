import type { UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** All that a local user shows of themselves. */
export interface StoredProfile {
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
  /** Fields other than those two, by their key. */
  readonly fields: JsonObject;
}

interface Row {
  display_name: string | null;
  avatar_url: string | null;
  fields: string;
}

/** The profiles of local users. Everybody with an account has one, be it empty. */
export class ProfileStore {
  readonly #find;
  readonly #listNewFaces;
  readonly #put;
  readonly #putFields;
  readonly #remove;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>('SELECT display_name, avatar_url, fields FROM profiles WHERE user_id = ?');
    this.#listNewFaces = db.prepareRead<{ user_id: string }>(
      'SELECT user_id FROM profiles WHERE face_position > ? AND face_position <= ? ORDER BY face_position',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO profiles (user_id, display_name, avatar_url, fields, face_position) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET display_name = excluded.display_name, avatar_url = excluded.avatar_url,
        fields = excluded.fields, face_position = excluded.face_position`);
    this.#putFields = db.prepareWrite('UPDATE profiles SET fields = ? WHERE user_id = ?');
    this.#remove = db.prepareWrite('DELETE FROM profiles WHERE user_id = ?');
  }

  /** Name and picture alone, which is what member events ask for. */
  findFace(userId: UserId): Pick<StoredProfile, 'displayName' | 'avatarUrl'> | undefined {
    const row = this.#find.find(userId);
    if (row === undefined) return undefined;
    return { displayName: row.display_name ?? undefined, avatarUrl: row.avatar_url ?? undefined };
  }

  find(userId: UserId): StoredProfile | undefined {
    const row = this.#find.find(userId);
    if (row === undefined) return undefined;
    return {
      displayName: row.display_name ?? undefined,
      avatarUrl: row.avatar_url ?? undefined,
      fields: JSON.parse(row.fields),
    };
  }

  /** Users whose name or picture last changed in (since, now]. */
  listNewFaces(since: StreamPosition, now: StreamPosition): UserId[] {
    return this.#listNewFaces.list(since, now).map((row) => row.user_id as UserId);
  }

  put(tx: WriteTx, userId: UserId, { displayName, avatarUrl, fields }: StoredProfile): void {
    const position = tx.nextPosition();
    this.#put.run(tx, userId, displayName ?? null, avatarUrl ?? null, JSON.stringify(fields), position);
  }

  /** Of one who has a profile already. */
  putFields(tx: WriteTx, userId: UserId, fields: JsonObject): void {
    this.#putFields.run(tx, JSON.stringify(fields), userId);
  }

  remove(tx: WriteTx, userId: UserId): void {
    this.#remove.run(tx, userId);
  }
}

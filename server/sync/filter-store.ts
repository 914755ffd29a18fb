import type { UserId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../storage/types.ts';

/** The filters users have uploaded. The same filter of the same user is kept once. */
export class FilterStore {
  readonly #byDefinition: ReadStatement<{ filter_id: number }>;
  readonly #byId: ReadStatement<{ definition: string }>;
  readonly #insert: WriteStatement;
  readonly #newest: ReadStatement<{ filter_id: number | null }>;

  constructor(db: Pick<Database, 'prepareRead' | 'prepareWrite'>) {
    this.#byDefinition = db.prepareRead('SELECT filter_id FROM sync_filters WHERE user_id = ? AND definition = ?');
    this.#byId = db.prepareRead('SELECT definition FROM sync_filters WHERE user_id = ? AND filter_id = ?');
    this.#newest = db.prepareRead('SELECT max(filter_id) AS filter_id FROM sync_filters WHERE user_id = ?');
    this.#insert = db.prepareWrite('INSERT INTO sync_filters (user_id, filter_id, definition) VALUES (?, ?, ?)');
  }

  /** The ID of the user's filter of that definition, if they have uploaded it before. */
  findId(userId: UserId, definition: JsonObject): string | undefined {
    return this.#byDefinition.find(userId, canonicalText(definition))?.filter_id.toString();
  }

  /** Keeps a new filter and gives its ID, which no `{` begins. */
  insert(tx: WriteTx, userId: UserId, definition: JsonObject): string {
    const id = (this.#newest.find(userId)?.filter_id ?? -1) + 1;
    this.#insert.run(tx, userId, id, canonicalText(definition));
    return id.toString();
  }

  /** The definition as it was uploaded, up to the order of its keys. */
  find(userId: UserId, filterId: string): JsonObject | undefined {
    if (!/^(?:0|[1-9][0-9]{0,14})$/.test(filterId)) return undefined;
    const row = this.#byId.find(userId, Number(filterId));
    return row === undefined ? undefined : (JSON.parse(row.definition) as JsonObject);
  }
}

/** JSON with the keys of every object in order. */
function canonicalText(definition: JsonObject): string {
  return JSON.stringify(definition, (_key, value: JsonValue) =>
    isJsonObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value,
  );
}

import { LRUCache } from 'lru-cache';

import type { ServerName } from '../../matrix/identifiers.ts';
import { isKeyId, type KeyId } from '../../matrix/signing.ts';
import type { Database, ReadStatement, ReturningStatement, WriteStatement, WriteTx } from '../../storage/types.ts';
import { atMost } from '../../util/lru.ts';
import type { ServerKey, ServerKeysAnswer } from './server-keys.ts';

/** Where an answer came from, and what for. */
export interface AnswerOrigin {
  readonly from: ServerName;
  /** ms */
  readonly fetchedAt: number;
  /** Only because another server asked us: such answers are the first to go. */
  readonly forOthers: boolean;
}

/** An answer as it is kept to be passed on. */
export interface KeptAnswer {
  readonly answerId: number;
  readonly text: string;
  /** As it says, ms. */
  readonly validUntil: number;
  readonly fetchedAt: number;
  /** The keys for which it is the latest word. */
  readonly keyIds: readonly string[];
}

const SERVERS_CACHED = 2_000;
/** Keys kept of one server. One that changes its keys more often than this loses those that were good least long. */
const KEYS_PER_SERVER = 200;
/** Answers kept for ourselves, and for others. */
const OWN_ANSWERS = 20_000;
const OTHERS_ANSWERS = 2_000;
/** After how many new answers these bounds are looked at. */
const PRUNE_EVERY = 100;

type ServerKeys = ReadonlyMap<KeyId, ServerKey>;

interface KeyRow {
  readonly key_id: string;
  readonly public_key: Buffer;
  readonly valid_until: number;
  readonly expired: number;
  readonly direct: number;
}

/** The keys of other servers, and the signed answers they came in. */
export class KeyStore {
  readonly #cache = new LRUCache<ServerName, ServerKeys>(atMost(SERVERS_CACHED));
  readonly #list: ReadStatement<KeyRow>;
  readonly #put: WriteStatement;
  readonly #removeExcess: WriteStatement;
  readonly #insertAnswer: ReturningStatement<{ answer_id: number }>;
  readonly #removeUnused: WriteStatement;
  readonly #listAnswers: ReadStatement<{
    answer_id: number;
    answer: string;
    valid_until: number;
    fetched_at: number;
    key_id: string;
  }>;
  readonly #countAnswers: ReadStatement<{ count: number }>;
  readonly #listOldest: ReadStatement<{ answer_id: number }>;
  readonly #removeKeysOf: ReturningStatement<{ server: ServerName }>;
  readonly #removeAnswer: WriteStatement;
  #inserted = 0;

  constructor(db: Database) {
    this.#list = db.prepareRead(
      'SELECT key_id, public_key, valid_until, expired, direct FROM federation_server_keys WHERE server = ?',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO federation_server_keys (server, key_id, public_key, valid_until, expired, direct, answer_id)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (server, key_id) DO UPDATE SET public_key = excluded.public_key, valid_until = excluded.valid_until,
        expired = excluded.expired, direct = excluded.direct, answer_id = excluded.answer_id`);
    this.#removeExcess = db.prepareWrite(`
      DELETE FROM federation_server_keys WHERE server = ? AND key_id IN (
        SELECT key_id FROM federation_server_keys WHERE server = ? ORDER BY valid_until DESC LIMIT -1 OFFSET ?)`);
    this.#insertAnswer = db.prepareReturning(`
      INSERT INTO federation_key_answers (server, answer, from_server, valid_until, fetched_at, for_others)
      VALUES (?, ?, ?, ?, ?, ?) RETURNING answer_id`);
    this.#removeUnused = db.prepareWrite(`
      DELETE FROM federation_key_answers WHERE server = ? AND answer_id NOT IN (
        SELECT answer_id FROM federation_server_keys WHERE server = federation_key_answers.server)`);
    this.#listAnswers = db.prepareRead(`
      SELECT answer_id, answer, federation_key_answers.valid_until, fetched_at, key_id
      FROM federation_server_keys JOIN federation_key_answers USING (answer_id)
      WHERE federation_server_keys.server = ? ORDER BY fetched_at DESC, answer_id DESC`);
    this.#countAnswers = db.prepareRead('SELECT count(*) AS count FROM federation_key_answers WHERE for_others = ?');
    this.#listOldest = db.prepareRead(
      'SELECT answer_id FROM federation_key_answers WHERE for_others = ? ORDER BY fetched_at LIMIT ?',
    );
    this.#removeKeysOf = db.prepareReturning('DELETE FROM federation_server_keys WHERE answer_id = ? RETURNING server');
    this.#removeAnswer = db.prepareWrite('DELETE FROM federation_key_answers WHERE answer_id = ?');
  }

  /** The keys that are known of a server, expired ones too. */
  find(server: ServerName): ServerKeys {
    const cached = this.#cache.get(server);
    if (cached !== undefined) return cached;
    const keys = new Map<KeyId, ServerKey>();
    for (const row of this.#list.list(server)) {
      if (isKeyId(row.key_id)) keys.set(row.key_id, keyOf(row.key_id, row));
    }
    this.#cache.set(server, keys);
    return keys;
  }

  /** The answers that were kept of a server, newest first. */
  listAnswers(server: ServerName): KeptAnswer[] {
    const answers = new Map<number, KeptAnswer & { readonly keyIds: string[] }>();
    for (const row of this.#listAnswers.list(server)) {
      const known = answers.get(row.answer_id);
      if (known !== undefined) known.keyIds.push(row.key_id);
      else {
        answers.set(row.answer_id, {
          answerId: row.answer_id,
          text: row.answer,
          validUntil: row.valid_until,
          fetchedAt: row.fetched_at,
          keyIds: [row.key_id],
        });
      }
    }
    return [...answers.values()];
  }

  /**
   * Takes over what an answer says. Keys it does not name stay as they were: a server that forgets a key cannot make
   * others forget what was signed with it. What a notary passes on changes no key that is known by that ID already, and
   * revives none that has expired.
   */
  put(tx: WriteTx, answer: ServerKeysAnswer, origin: AnswerOrigin): void {
    const { server } = answer;
    const direct = origin.from === server;
    const known = new Map(this.#list.list(server).map((row) => [row.key_id, row]));
    const changes: (ServerKey & { readonly direct: boolean })[] = [];
    for (const key of answer.keys) {
      const merged = merge(known.get(key.keyId), key, direct);
      if (merged !== undefined) changes.push(merged);
    }
    if (changes.length === 0) return;
    const row = this.#insertAnswer.find(
      tx,
      server,
      answer.text,
      origin.from,
      answer.validUntil,
      origin.fetchedAt,
      origin.forOthers ? 1 : 0,
    );
    if (row === undefined) throw new TypeError('an inserted answer has no ID');
    for (const key of changes) {
      const { keyId, publicKey, validUntil, expired } = key;
      this.#put.run(tx, server, keyId, publicKey, validUntil, expired ? 1 : 0, key.direct ? 1 : 0, row.answer_id);
    }
    if (known.size + changes.length > KEYS_PER_SERVER) this.#removeExcess.run(tx, server, server, KEYS_PER_SERVER);
    this.#removeUnused.run(tx, server);
    this.#forget(tx, server);
    this.#inserted += 1;
    if (this.#inserted % PRUNE_EVERY === 0) this.#prune(tx);
  }

  #prune(tx: WriteTx): void {
    for (const [forOthers, limit] of [
      [0, OWN_ANSWERS],
      [1, OTHERS_ANSWERS],
    ] as const) {
      const excess = (this.#countAnswers.find(forOthers)?.count ?? 0) - limit;
      if (excess <= 0) continue;
      for (const { answer_id: id } of this.#listOldest.list(forOthers, excess)) {
        for (const { server } of this.#removeKeysOf.list(tx, id)) this.#forget(tx, server);
        this.#removeAnswer.run(tx, id);
      }
    }
  }

  #forget(tx: WriteTx, server: ServerName): void {
    this.#cache.delete(server);
    tx.onRollback(() => this.#cache.delete(server));
  }
}

function keyOf(keyId: KeyId, row: KeyRow): ServerKey {
  return { keyId, publicKey: row.public_key, validUntil: row.valid_until, expired: row.expired === 1 };
}

/** What is to be stored of a key that an answer names; undefined: what is known is better. */
function merge(
  known: KeyRow | undefined,
  told: ServerKey,
  direct: boolean,
): (ServerKey & { readonly direct: boolean }) | undefined {
  if (known === undefined) return { ...told, direct };
  if (!known.public_key.equals(told.publicKey)) return direct ? { ...told, direct } : undefined;
  const wasDirect = direct || known.direct === 1;
  if (told.expired) return { ...told, direct: wasDirect };
  if (known.expired === 1) return direct ? { ...told, direct } : undefined;
  // Never shorter: both were signed by the server, and an older answer may come later.
  if (!direct && known.valid_until > told.validUntil) return undefined;
  return { ...told, validUntil: Math.max(known.valid_until, told.validUntil), direct: wasDirect };
}

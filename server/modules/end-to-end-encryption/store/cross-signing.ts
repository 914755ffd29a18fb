import type { UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

export type Usage = 'master' | 'self_signing' | 'user_signing';

/** A cross-signing key as it was uploaded, and the public key in it (unpadded base64). */
export interface CrossSigningKey {
  readonly publicKey: string;
  readonly keys: JsonObject;
}

/** A signature on a device's keys or a cross-signing key, made after those were uploaded. */
export interface KeySignature {
  readonly userId: UserId;
  /** Device ID or public key. */
  readonly target: string;
  readonly signer: UserId;
  /** `ed25519:…` */
  readonly signingKeyId: string;
  readonly signature: string;
}

/** Cross-signing keys and the signatures on keys. */
export class CrossSigningStore {
  readonly #find;
  readonly #put;
  readonly #isPublicKey;
  readonly #removeKeys;
  readonly #listSignatures;
  readonly #putSignature;
  readonly #removeSignaturesOn;
  readonly #removeSignaturesBy;
  readonly #removeAllSignaturesOn;
  readonly #removeAllSignaturesBy;

  constructor(db: Database) {
    this.#find = db.prepareRead<{ public_key: string; keys: string }>(
      'SELECT public_key, keys FROM cross_signing_keys WHERE user_id = ? AND usage = ?',
    );
    this.#put = db.prepareWrite(`
      INSERT INTO cross_signing_keys (user_id, usage, public_key, keys) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET public_key = excluded.public_key, keys = excluded.keys`);
    this.#isPublicKey = db.prepareRead<{ usage: string }>(
      'SELECT usage FROM cross_signing_keys WHERE user_id = ? AND public_key = ? LIMIT 1',
    );
    this.#removeKeys = db.prepareWrite('DELETE FROM cross_signing_keys WHERE user_id = ?');
    this.#listSignatures = db.prepareRead<{ signing_key_id: string; signature: string }>(`
      SELECT signing_key_id, signature FROM key_signatures WHERE user_id = ? AND target = ? AND signer = ?`);
    this.#putSignature = db.prepareWrite(`
      INSERT INTO key_signatures (user_id, target, signer, signing_key_id, signature) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET signature = excluded.signature`);
    this.#removeSignaturesOn = db.prepareWrite('DELETE FROM key_signatures WHERE user_id = ? AND target = ?');
    this.#removeSignaturesBy = db.prepareWrite('DELETE FROM key_signatures WHERE signer = ? AND signing_key_id = ?');
    this.#removeAllSignaturesOn = db.prepareWrite('DELETE FROM key_signatures WHERE user_id = ?');
    this.#removeAllSignaturesBy = db.prepareWrite('DELETE FROM key_signatures WHERE signer = ?');
  }

  find(userId: UserId, usage: Usage): CrossSigningKey | undefined {
    const row = this.#find.find(userId, usage);
    return row === undefined ? undefined : { publicKey: row.public_key, keys: JSON.parse(row.keys) };
  }

  put(tx: WriteTx, userId: UserId, usage: Usage, { publicKey, keys }: CrossSigningKey): void {
    this.#put.run(tx, userId, usage, publicKey, JSON.stringify(keys));
  }

  isPublicKey(userId: UserId, publicKey: string): boolean {
    return this.#isPublicKey.find(userId, publicKey) !== undefined;
  }

  /** The signatures of one user on one key: signing key ID → signature. */
  listSignatures(userId: UserId, target: string, signer: UserId): (readonly [string, string])[] {
    return this.#listSignatures.list(userId, target, signer).map((row) => [row.signing_key_id, row.signature]);
  }

  putSignature(tx: WriteTx, { userId, target, signer, signingKeyId, signature }: KeySignature): void {
    this.#putSignature.run(tx, userId, target, signer, signingKeyId, signature);
  }

  /** Forgets the signatures on and by a key that is gone; `name` is a device ID or a public key. */
  removeSignaturesAround(tx: WriteTx, userId: UserId, name: string): void {
    this.#removeSignaturesOn.run(tx, userId, name);
    this.#removeSignaturesBy.run(tx, userId, `ed25519:${name}`);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeKeys.run(tx, userId);
    this.#removeAllSignaturesOn.run(tx, userId);
    this.#removeAllSignaturesBy.run(tx, userId);
  }
}

import { LRUCache } from 'lru-cache';
import type { DeviceId, ServerName, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import { type Database, STREAM_START, type StreamPosition, type WriteTx } from '../../storage/types.ts';
import { atMost } from '../../util/lru.ts';

/** Devices whose waiting messages are counted in memory. */
const COUNTS_KEPT = 1_000;
/** Old IDs removed in one write. */
const EXPIRED_AT_ONCE = 5_000;

/** Messages of a device that is gone, removed in one write: a few milliseconds. */
const LEFTOVERS_AT_ONCE = 200;

/** A message waiting for one device. */
export interface ToDeviceMessage {
  readonly sender: UserId;
  readonly type: string;
  readonly content: JsonObject;
}

/** A request to send, by what makes it the same as another (spec: "Transaction identifiers"). */
export interface ToDeviceTransaction {
  readonly sender: UserId;
  /** Undefined for an application service that acts without a device. */
  readonly deviceId: DeviceId | undefined;
  readonly type: string;
  readonly transactionId: string;
}

interface Row {
  position: number;
  sender: string;
  type: string;
  content: string;
}

/** Messages for devices, from sending until the device has shown that it has them. */
export class ToDeviceStore {
  readonly #insert;
  readonly #list;
  readonly #putCut;
  readonly #findCut;
  readonly #removeCuts;
  readonly #findUpTo;
  readonly #removeUpTo;
  readonly #removeSome;
  readonly #putLeftovers;
  readonly #findLeftovers;
  readonly #nextLeftovers;
  readonly #endLeftovers;
  readonly #removeAllCuts;
  readonly #removeTransactionsOf;
  readonly #insertTransaction;
  readonly #removeTransactions;
  readonly #count;
  readonly #insertReceived;
  readonly #removeReceived;
  /** Messages waiting for a device, where they had to be counted. */
  readonly #waiting = new LRUCache<string, number>(atMost(COUNTS_KEPT));

  constructor(db: Database) {
    this.#insert = db.prepareWrite(`
      INSERT INTO to_device_messages (user_id, device_id, position, sender, type, content) VALUES (?, ?, ?, ?, ?, ?)`);
    this.#list = db.prepareRead<Row>(`
      SELECT position, sender, type, content FROM to_device_messages
      WHERE user_id = ? AND device_id = ? AND position > ? AND position <= ? ORDER BY position LIMIT ?`);
    this.#putCut = db.prepareWrite(`
      INSERT INTO to_device_cuts (user_id, device_id, token, last) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET last = min(last, excluded.last)`);
    this.#findCut = db.prepareRead<{ last: number }>(
      'SELECT last FROM to_device_cuts WHERE user_id = ? AND device_id = ? AND token = ?',
    );
    this.#removeCuts = db.prepareWrite('DELETE FROM to_device_cuts WHERE user_id = ? AND device_id = ? AND token <= ?');
    this.#findUpTo = db.prepareRead<{ position: number }>(
      'SELECT position FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position > ? AND position <= ? LIMIT 1',
    );
    this.#removeUpTo = db.prepareWrite(
      'DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position > ? AND position <= ?',
    );
    this.#removeSome = db.prepareWrite(`
      DELETE FROM to_device_messages WHERE rowid IN (
        SELECT rowid FROM to_device_messages
        WHERE user_id = ? AND device_id = ? AND position <= ? ORDER BY position LIMIT ${LEFTOVERS_AT_ONCE})`);
    this.#putLeftovers = db.prepareWrite(`
      INSERT INTO to_device_leftovers (user_id, device_id, position) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET position = excluded.position`);
    this.#findLeftovers = db.prepareRead<{ position: number }>(
      'SELECT position FROM to_device_leftovers WHERE user_id = ? AND device_id = ?',
    );
    this.#nextLeftovers = db.prepareRead<{ user_id: string; device_id: string; position: number }>(
      'SELECT user_id, device_id, position FROM to_device_leftovers ORDER BY user_id, device_id LIMIT 1',
    );
    this.#endLeftovers = db.prepareWrite('DELETE FROM to_device_leftovers WHERE user_id = ? AND device_id = ?');
    this.#removeAllCuts = db.prepareWrite('DELETE FROM to_device_cuts WHERE user_id = ? AND device_id = ?');
    this.#removeTransactionsOf = db.prepareWrite(
      'DELETE FROM to_device_transactions WHERE user_id = ? AND device_id = ?',
    );
    this.#insertTransaction = db.prepareWrite(`
      INSERT INTO to_device_transactions (user_id, device_id, type, transaction_id, sent_ms) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING`);
    this.#removeTransactions = db.prepareWrite('DELETE FROM to_device_transactions WHERE sent_ms < ?');
    this.#count = db.prepareRead<{ waiting: number }>(
      'SELECT count(*) AS waiting FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position > ?',
    );
    this.#insertReceived = db.prepareWrite(`
      INSERT INTO to_device_received (origin, message_id, received_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`);
    this.#removeReceived = db.prepareWrite(`
      DELETE FROM to_device_received WHERE (origin, message_id) IN (
        SELECT origin, message_id FROM to_device_received WHERE received_ms < ? LIMIT ${EXPIRED_AT_ONCE})`);
  }

  insert(tx: WriteTx, userId: UserId, deviceId: DeviceId, message: ToDeviceMessage): void {
    const { sender, type, content } = message;
    this.#insert.run(tx, userId, deviceId, tx.nextPosition(), sender, type, JSON.stringify(content));
    tx.touch(`device:${userId}/${deviceId}`);
    const key = keyOf(userId, deviceId);
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    this.#waiting.set(key, waiting + 1);
    tx.onRollback(() => this.#waiting.delete(key));
  }

  /** How many messages wait for a device. Cheap for one that gets many. */
  countWaiting(userId: UserId, deviceId: DeviceId): number {
    const key = keyOf(userId, deviceId);
    const known = this.#waiting.get(key);
    if (known !== undefined) return known;
    const waiting = this.#count.find(userId, deviceId, this.#first(userId, deviceId))?.waiting ?? 0;
    this.#waiting.set(key, waiting);
    return waiting;
  }

  /** Those that wait and were sent after `after`, up to `now`, in the order they were sent, at most `limit`. */
  list(
    userId: UserId,
    deviceId: DeviceId,
    now: StreamPosition,
    limit: number,
    after: StreamPosition = STREAM_START,
  ): (ToDeviceMessage & { readonly position: StreamPosition })[] {
    const first = Math.max(after, this.#first(userId, deviceId));
    return this.#list.list(userId, deviceId, first, now, limit).map((row) => ({
      position: row.position as StreamPosition,
      sender: row.sender as UserId,
      type: row.type,
      content: JSON.parse(row.content),
    }));
  }

  /** The answer with the token of `token` held no messages after `last`, though there were some. */
  putCut(tx: WriteTx, userId: UserId, deviceId: DeviceId, token: StreamPosition, last: StreamPosition): void {
    this.#putCut.run(tx, userId, deviceId, token, last);
  }

  /** Up to where a device has messages if it has the answer with the token of `token`. */
  lastGivenWith(userId: UserId, deviceId: DeviceId, token: StreamPosition): StreamPosition {
    const cut = this.#findCut.find(userId, deviceId, token);
    return cut === undefined ? token : (cut.last as StreamPosition);
  }

  hasUpTo(userId: UserId, deviceId: DeviceId, position: StreamPosition): boolean {
    return this.#findUpTo.find(userId, deviceId, this.#first(userId, deviceId), position) !== undefined;
  }

  removeUpTo(tx: WriteTx, userId: UserId, deviceId: DeviceId, position: StreamPosition): void {
    this.#removeUpTo.run(tx, userId, deviceId, this.#first(userId, deviceId), position);
    this.#countAnew(tx, userId, deviceId);
    // Later cuts stay: whoever comes back with such a token must not be taken to have all that had been sent by then.
    this.#removeCuts.run(tx, userId, deviceId, position);
  }

  /** Removes what a device has; true if some of its messages are left over, though they are nobody's any more. */
  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): boolean {
    const position = tx.nextPosition();
    this.#putLeftovers.run(tx, userId, deviceId, position);
    const isEmpty = this.#removeLeftovers(tx, userId, deviceId, position);
    this.#countAnew(tx, userId, deviceId);
    this.#removeAllCuts.run(tx, userId, deviceId);
    this.#removeTransactionsOf.run(tx, userId, deviceId);
    return !isEmpty;
  }

  hasLeftovers(): boolean {
    return this.#nextLeftovers.find() !== undefined;
  }

  /** Removes some messages of a device that is gone. */
  removeSomeLeftovers(tx: WriteTx): void {
    const next = this.#nextLeftovers.find();
    if (next !== undefined) this.#removeLeftovers(tx, next.user_id, next.device_id, next.position);
  }

  /** Whether none are left. */
  #removeLeftovers(tx: WriteTx, userId: string, deviceId: string, position: number): boolean {
    if (this.#removeSome.run(tx, userId, deviceId, position).changes === LEFTOVERS_AT_ONCE) return false;
    this.#endLeftovers.run(tx, userId, deviceId);
    return true;
  }

  /** What waits for a device comes after this: before it, another one was called the same. */
  #first(userId: UserId, deviceId: DeviceId): number {
    return this.#findLeftovers.find(userId, deviceId)?.position ?? STREAM_START;
  }

  /** Remembers a transaction (`now`: ms since the epoch); false if it was there already. */
  insertTransaction(tx: WriteTx, { sender, deviceId, type, transactionId }: ToDeviceTransaction, now: number): boolean {
    return this.#insertTransaction.run(tx, sender, deviceId ?? '', type, transactionId, now).changes === 1;
  }

  removeTransactionsBefore(tx: WriteTx, time: number): void {
    this.#removeTransactions.run(tx, time);
  }

  /** Remembers a message of another server (`now`: ms since the epoch); false if it was there already. */
  insertReceived(tx: WriteTx, origin: ServerName, messageId: string, now: number): boolean {
    return this.#insertReceived.run(tx, origin, messageId, now).changes === 1;
  }

  /** Forgets some of those that came before `time` (ms). */
  removeReceivedBefore(tx: WriteTx, time: number): void {
    this.#removeReceived.run(tx, time);
  }

  #countAnew(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    const key = keyOf(userId, deviceId);
    this.#waiting.delete(key);
    tx.onRollback(() => this.#waiting.delete(key));
  }
}

function keyOf(userId: UserId, deviceId: DeviceId): string {
  return `${userId}\0${deviceId}`;
}

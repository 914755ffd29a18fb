import { LRUCache } from 'lru-cache';
import type { DeviceId, ServerName, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import { type Database, STREAM_START, type StreamPosition, type WriteTx } from '../../storage/types.ts';
import { atMost } from '../../util/lru.ts';

/** Devices whose waiting messages are counted in memory. */
const COUNTS_KEPT = 1_000;
/** Old IDs removed in one write. */
const EXPIRED_AT_ONCE = 5_000;

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
  readonly #removeMessages;
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
      'SELECT position FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position <= ? LIMIT 1',
    );
    this.#removeUpTo = db.prepareWrite(
      'DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position <= ?',
    );
    this.#removeMessages = db.prepareWrite('DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ?');
    this.#removeAllCuts = db.prepareWrite('DELETE FROM to_device_cuts WHERE user_id = ? AND device_id = ?');
    this.#removeTransactionsOf = db.prepareWrite(
      'DELETE FROM to_device_transactions WHERE user_id = ? AND device_id = ?',
    );
    this.#insertTransaction = db.prepareWrite(`
      INSERT INTO to_device_transactions (user_id, device_id, type, transaction_id, sent_ms) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING`);
    this.#removeTransactions = db.prepareWrite('DELETE FROM to_device_transactions WHERE sent_ms < ?');
    this.#count = db.prepareRead<{ waiting: number }>(
      'SELECT count(*) AS waiting FROM to_device_messages WHERE user_id = ? AND device_id = ?',
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
    const waiting = this.#count.find(userId, deviceId)?.waiting ?? 0;
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
    return this.#list.list(userId, deviceId, after, now, limit).map((row) => ({
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
    return this.#findUpTo.find(userId, deviceId, position) !== undefined;
  }

  removeUpTo(tx: WriteTx, userId: UserId, deviceId: DeviceId, position: StreamPosition): void {
    this.#removeUpTo.run(tx, userId, deviceId, position);
    this.#countAnew(tx, userId, deviceId);
    // Later cuts stay: whoever comes back with such a token must not be taken to have all that had been sent by then.
    this.#removeCuts.run(tx, userId, deviceId, position);
  }

  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    this.#removeMessages.run(tx, userId, deviceId);
    this.#countAnew(tx, userId, deviceId);
    this.#removeAllCuts.run(tx, userId, deviceId);
    this.#removeTransactionsOf.run(tx, userId, deviceId);
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

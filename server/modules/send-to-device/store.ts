import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

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

  constructor(db: Database) {
    this.#insert = db.prepareWrite(`
      INSERT INTO to_device_messages (user_id, device_id, position, sender, type, content) VALUES (?, ?, ?, ?, ?, ?)`);
    this.#list = db.prepareRead<Row>(`
      SELECT position, sender, type, content FROM to_device_messages
      WHERE user_id = ? AND device_id = ? AND position <= ? ORDER BY position LIMIT ?`);
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
  }

  insert(tx: WriteTx, userId: UserId, deviceId: DeviceId, message: ToDeviceMessage): void {
    const { sender, type, content } = message;
    this.#insert.run(tx, userId, deviceId, tx.nextPosition(), sender, type, JSON.stringify(content));
    tx.touch(`device:${userId}/${deviceId}`);
  }

  /** Those that wait and were sent up to `now`, in the order they were sent, at most `limit`. */
  list(
    userId: UserId,
    deviceId: DeviceId,
    now: StreamPosition,
    limit: number,
  ): (ToDeviceMessage & { readonly position: StreamPosition })[] {
    return this.#list.list(userId, deviceId, now, limit).map((row) => ({
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
    // Later cuts stay: whoever comes back with such a token must not be taken to have all that had been sent by then.
    this.#removeCuts.run(tx, userId, deviceId, position);
  }

  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    this.#removeMessages.run(tx, userId, deviceId);
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
}

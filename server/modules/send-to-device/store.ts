import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** A message waiting for one device. */
export interface ToDeviceMessage {
  readonly sender: UserId;
  readonly type: string;
  readonly content: JsonObject;
}

interface Row {
  id: number;
  sender: string;
  type: string;
  content: string;
}

/** Messages for devices, from sending until the device has shown that it has them. */
export class ToDeviceStore {
  readonly #insert;
  readonly #list;
  readonly #postpone;
  readonly #findAcknowledged;
  readonly #removeUpTo;
  readonly #removeDevice;
  readonly #insertTransaction;
  readonly #removeTransactions;

  constructor(db: Database) {
    this.#insert = db.prepareWrite(`
      INSERT INTO to_device_messages (user_id, device_id, position, sender, type, content) VALUES (?, ?, ?, ?, ?, ?)`);
    this.#list = db.prepareRead<Row>(`
      SELECT id, sender, type, content FROM to_device_messages
      WHERE user_id = ? AND device_id = ? AND position > ? AND position <= ? ORDER BY id LIMIT ?`);
    this.#postpone = db.prepareWrite(`
      UPDATE to_device_messages SET position = ?
      WHERE user_id = ? AND device_id = ? AND position <= ? AND id > ?`);
    this.#findAcknowledged = db.prepareRead<{ id: number }>(
      'SELECT id FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position <= ? LIMIT 1',
    );
    this.#removeUpTo = db.prepareWrite(
      'DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position <= ?',
    );
    this.#removeDevice = db.prepareWrite('DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ?');
    this.#insertTransaction = db.prepareWrite(`
      INSERT INTO to_device_transactions (user_id, device_id, transaction_id, sent_ms) VALUES (?, ?, ?, ?)
      ON CONFLICT DO NOTHING`);
    this.#removeTransactions = db.prepareWrite('DELETE FROM to_device_transactions WHERE sent_ms < ?');
  }

  insert(tx: WriteTx, userId: UserId, deviceId: DeviceId, message: ToDeviceMessage): void {
    const { sender, type, content } = message;
    this.#insert.run(tx, userId, deviceId, tx.nextPosition(), sender, type, JSON.stringify(content));
    tx.touch(`device:${userId}/${deviceId}`);
  }

  /** Those of (since, now], in the order they were sent, at most `limit`; each with a number that grows. */
  list(
    userId: UserId,
    deviceId: DeviceId,
    since: StreamPosition,
    now: StreamPosition,
    limit: number,
  ): (ToDeviceMessage & { readonly id: number })[] {
    return this.#list.list(userId, deviceId, since, now, limit).map((row) => ({
      id: row.id,
      sender: row.sender as UserId,
      type: row.type,
      content: JSON.parse(row.content),
    }));
  }

  /** Has messages after the one with number `id` acknowledged by a later token than `now`. */
  postpone(tx: WriteTx, userId: UserId, deviceId: DeviceId, now: StreamPosition, id: number): void {
    this.#postpone.run(tx, tx.nextPosition(), userId, deviceId, now, id);
    tx.touch(`device:${userId}/${deviceId}`);
  }

  hasUpTo(userId: UserId, deviceId: DeviceId, position: StreamPosition): boolean {
    return this.#findAcknowledged.find(userId, deviceId, position) !== undefined;
  }

  removeUpTo(tx: WriteTx, userId: UserId, deviceId: DeviceId, position: StreamPosition): void {
    this.#removeUpTo.run(tx, userId, deviceId, position);
  }

  removeDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void {
    this.#removeDevice.run(tx, userId, deviceId);
  }

  /** Remembers a transaction; false if it was there already. */
  insertTransaction(tx: WriteTx, userId: UserId, deviceId: DeviceId, transactionId: string, now: number): boolean {
    return this.#insertTransaction.run(tx, userId, deviceId, transactionId, now).changes === 1;
  }

  removeTransactionsBefore(tx: WriteTx, time: number): void {
    this.#removeTransactions.run(tx, time);
  }
}

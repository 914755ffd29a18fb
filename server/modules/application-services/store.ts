import { type DeviceId, type EventId, isDeviceId, isEventId, isUserId, type UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';

/** How far an application service has come. */
export interface Progress {
  readonly nextTransaction: number;
  /** Typing, receipts, presence and device lists were told up to here. */
  readonly newsPosition: StreamPosition;
}

/** An event that waits for its transaction. */
export interface QueuedEvent {
  readonly position: StreamPosition;
  readonly eventId: EventId;
}

/** A message for a device of one of an application service's users. */
export interface DeviceMessage {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly sender: UserId;
  readonly type: string;
  readonly content: JsonObject;
}

export interface StoredTransaction {
  readonly number: number;
  /** JSON. */
  readonly body: string;
}

interface MessageRow {
  position: number;
  user_id: string;
  device_id: string;
  sender: string;
  type: string;
  content: string;
}

/** What waits for application services, and what they are being sent. */
export class AppserviceStore {
  /** Messages to devices that wait, by service, where they had to be counted. */
  readonly #waiting = new Map<string, number>();
  readonly #listIds;
  readonly #find;
  readonly #insert;
  readonly #setProgress;
  readonly #remove;
  readonly #insertEvent;
  readonly #listEvents;
  readonly #removeEvents;
  readonly #insertMessage;
  readonly #listMessages;
  readonly #countMessages;
  readonly #removeMessages;
  readonly #findTransaction;
  readonly #putTransaction;
  readonly #removeTransaction;

  constructor(db: Database) {
    this.#listIds = db.prepareRead<{ id: string }>('SELECT id FROM appservices');
    this.#find = db.prepareRead<{ next_transaction: number; news_position: number }>(
      'SELECT next_transaction, news_position FROM appservices WHERE id = ?',
    );
    this.#insert = db.prepareWrite('INSERT INTO appservices (id, next_transaction, news_position) VALUES (?, ?, ?)');
    this.#setProgress = db.prepareWrite('UPDATE appservices SET next_transaction = ?, news_position = ? WHERE id = ?');
    this.#remove = db.prepareWrite('DELETE FROM appservices WHERE id = ?');
    this.#insertEvent = db.prepareWrite(
      'INSERT INTO appservice_events (service_id, position, event_id) VALUES (?, ?, ?)',
    );
    this.#listEvents = db.prepareRead<{ position: number; event_id: string }>(
      'SELECT position, event_id FROM appservice_events WHERE service_id = ? ORDER BY position LIMIT ?',
    );
    this.#removeEvents = db.prepareWrite('DELETE FROM appservice_events WHERE service_id = ? AND position <= ?');
    this.#insertMessage = db.prepareWrite(`
      INSERT INTO appservice_to_device (service_id, position, user_id, device_id, sender, type, content)
      VALUES (?, ?, ?, ?, ?, ?, ?)`);
    this.#listMessages = db.prepareRead<MessageRow>(`
      SELECT position, user_id, device_id, sender, type, content FROM appservice_to_device
      WHERE service_id = ? ORDER BY position LIMIT ?`);
    this.#countMessages = db.prepareRead<{ waiting: number }>(
      'SELECT count(*) AS waiting FROM appservice_to_device WHERE service_id = ?',
    );
    this.#removeMessages = db.prepareWrite('DELETE FROM appservice_to_device WHERE service_id = ? AND position <= ?');
    this.#findTransaction = db.prepareRead<StoredTransaction>(
      'SELECT number, body FROM appservice_transactions WHERE service_id = ?',
    );
    this.#putTransaction = db.prepareWrite(
      'INSERT OR REPLACE INTO appservice_transactions (service_id, number, body) VALUES (?, ?, ?)',
    );
    this.#removeTransaction = db.prepareWrite('DELETE FROM appservice_transactions WHERE service_id = ?');
  }

  listIds(): string[] {
    return this.#listIds.list().map(({ id }) => id);
  }

  findProgress(id: string): Progress | undefined {
    const row = this.#find.find(id);
    if (row === undefined) return undefined;
    return { nextTransaction: row.next_transaction, newsPosition: row.news_position as StreamPosition };
  }

  insert(tx: WriteTx, id: string, { nextTransaction, newsPosition }: Progress): void {
    this.#insert.run(tx, id, nextTransaction, newsPosition);
  }

  setProgress(tx: WriteTx, id: string, { nextTransaction, newsPosition }: Progress): void {
    this.#setProgress.run(tx, nextTransaction, newsPosition, id);
  }

  /** Removes a service and all that waits for it. */
  remove(tx: WriteTx, id: string): void {
    this.#remove.run(tx, id);
  }

  insertEvent(tx: WriteTx, id: string, { position, eventId }: QueuedEvent): void {
    this.#insertEvent.run(tx, id, position, eventId);
  }

  /** The first `limit` that wait, in their order. */
  listEvents(id: string, limit: number): QueuedEvent[] {
    return this.#listEvents.list(id, limit).map((row) => {
      if (!isEventId(row.event_id)) throw new TypeError('a stored event ID is none');
      return { position: row.position as StreamPosition, eventId: row.event_id };
    });
  }

  removeEventsUpTo(tx: WriteTx, id: string, position: StreamPosition): void {
    this.#removeEvents.run(tx, id, position);
  }

  insertMessage(tx: WriteTx, id: string, message: DeviceMessage): void {
    const { userId, deviceId, sender, type, content } = message;
    this.#insertMessage.run(tx, id, tx.nextPosition(), userId, deviceId, sender, type, JSON.stringify(content));
    this.#count(tx, id, 1);
  }

  /** The first `limit` that wait, in their order. */
  listMessages(id: string, limit: number): (DeviceMessage & { readonly position: StreamPosition })[] {
    return this.#listMessages.list(id, limit).map((row) => {
      const { user_id: userId, device_id: deviceId, sender, type } = row;
      if (!isUserId(userId) || !isDeviceId(deviceId) || !isUserId(sender)) {
        throw new TypeError('a stored message to a device is damaged');
      }
      const content: JsonObject = JSON.parse(row.content);
      return { position: row.position as StreamPosition, userId, deviceId, sender, type, content };
    });
  }

  countMessages(id: string): number {
    const known = this.#waiting.get(id);
    if (known !== undefined) return known;
    const waiting = this.#countMessages.find(id)?.waiting ?? 0;
    this.#waiting.set(id, waiting);
    return waiting;
  }

  removeMessagesUpTo(tx: WriteTx, id: string, position: StreamPosition): void {
    this.#count(tx, id, -this.#removeMessages.run(tx, id, position).changes);
  }

  #count(tx: WriteTx, id: string, by: number): void {
    const known = this.#waiting.get(id);
    if (known === undefined) return;
    this.#waiting.set(id, known + by);
    tx.onRollback(() => this.#waiting.delete(id));
  }

  findTransaction(id: string): StoredTransaction | undefined {
    return this.#findTransaction.find(id);
  }

  /** In the place of the last one. */
  putTransaction(tx: WriteTx, id: string, { number, body }: StoredTransaction): void {
    this.#putTransaction.run(tx, id, number, body);
  }

  removeTransaction(tx: WriteTx, id: string): void {
    this.#removeTransaction.run(tx, id);
  }
}

import { LRUCache } from 'lru-cache';
import type { DeviceId, UserId } from '../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { atMost } from '../util/lru.ts';

/** For how long (ms) the repetition of a request is recognised. */
const KEPT_MS = 24 * 60 * 60 * 1000;
/** Old transactions are looked for once in so many new ones, and at most twice as many are removed at once. */
const SWEEP_EVERY = 256;
const DEVICES_KEPT = 2_000;

/** One device of a user. */
interface Sender {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
}

/**
 * The transaction IDs that clients sent events with (spec: client-server API, "Transaction identifiers"). Written in the
 * write that stores the event, so that the one is never there without the other.
 */
export class SendTransactions {
  readonly #clock: Clock;
  readonly #devices = new LRUCache<string, number>(atMost(DEVICES_KEPT));
  readonly #find: ReadStatement<{ event_nid: number }>;
  readonly #findId: ReadStatement<{ transaction_id: string }>;
  readonly #findDevice: ReadStatement<{ device_nid: number }>;
  readonly #insertDevice: WriteStatement;
  readonly #insert: WriteStatement;
  readonly #removeOld: WriteStatement;
  #sinceSweep = 0;

  constructor({ db, clock }: { db: Database; clock: Clock }) {
    this.#clock = clock;
    this.#find = db.prepareRead(`
      SELECT event_nid FROM event_transactions WHERE device_nid = ? AND transaction_id = ? ORDER BY event_nid DESC`);
    this.#findId = db.prepareRead(`
      SELECT transaction_id FROM event_transactions JOIN sending_devices USING (device_nid)
      WHERE event_nid = ? AND user_id = ? AND device_id = ?`);
    this.#findDevice = db.prepareRead('SELECT device_nid FROM sending_devices WHERE user_id = ? AND device_id = ?');
    this.#insertDevice = db.prepareWrite('INSERT INTO sending_devices (user_id, device_id) VALUES (?, ?)');
    this.#insert = db.prepareWrite(`
      INSERT INTO event_transactions (event_nid, device_nid, transaction_id) VALUES (?, ?, ?)`);
    this.#removeOld = db.prepareWrite(`
      DELETE FROM event_transactions WHERE event_nid IN (
        SELECT oldest.event_nid
        FROM (SELECT event_nid FROM event_transactions ORDER BY event_nid LIMIT ?) AS oldest JOIN events USING (event_nid)
        WHERE received_ts < ?)`);
  }

  /** The events sent with this transaction ID, newest first; more than one only if they were sent to different paths. */
  list(sender: Sender, transactionId: string): number[] {
    const deviceNid = this.#deviceNid(sender);
    return deviceNid === undefined ? [] : this.#find.list(deviceNid, transactionId).map((row) => row.event_nid);
  }

  findTransactionId(eventNid: number, { userId, deviceId }: Sender): string | undefined {
    return this.#findId.find(eventNid, userId, deviceId)?.transaction_id;
  }

  insert(tx: WriteTx, sender: Sender, transactionId: string, eventNid: number): void {
    const deviceNid = this.#deviceNid(sender) ?? this.#addDevice(tx, sender);
    this.#insert.run(tx, eventNid, deviceNid, transactionId);
    this.#sinceSweep += 1;
    if (this.#sinceSweep >= SWEEP_EVERY) {
      this.#sinceSweep = 0;
      this.#removeOld.run(tx, 2 * SWEEP_EVERY, this.#clock.now() - KEPT_MS);
    }
  }

  #addDevice(tx: WriteTx, sender: Sender): number {
    // It may be read, and so be kept, before this write is undone.
    tx.onRollback(() => this.#devices.delete(keyOf(sender)));
    return this.#insertDevice.run(tx, sender.userId, sender.deviceId).lastId;
  }

  #deviceNid(sender: Sender): number | undefined {
    const key = keyOf(sender);
    const kept = this.#devices.get(key);
    if (kept !== undefined) return kept;
    const nid = this.#findDevice.find(sender.userId, sender.deviceId)?.device_nid;
    if (nid !== undefined) this.#devices.set(key, nid);
    return nid;
  }
}

function keyOf({ userId, deviceId }: Sender): string {
  return `${userId}\0${deviceId}`;
}

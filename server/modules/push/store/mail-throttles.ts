import type { RoomId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

/** When a user last got mail because of a room, and for how long there is none after that. Times in ms. */
export interface MailThrottle {
  readonly lastSentTs: number;
  readonly throttleMs: number;
  /** When the newest event of that mail had come. */
  readonly lastEventTs: number;
}

interface ThrottleRow {
  last_sent_ts: number;
  throttle_ms: number;
  last_event_ts: number;
}

/** How often pushers send mail about each room, and the key that links in mails are signed with. */
export class MailThrottleStore {
  readonly #find;
  readonly #put;
  readonly #findKey;
  readonly #insertKey;

  constructor(db: Database) {
    this.#find = db.prepareRead<ThrottleRow>(
      'SELECT last_sent_ts, throttle_ms, last_event_ts FROM push_mail_throttles WHERE pusher_nid = ? AND room_id = ?',
    );
    this.#put = db.prepareWrite(`
      INSERT OR REPLACE INTO push_mail_throttles (pusher_nid, room_id, last_sent_ts, throttle_ms, last_event_ts)
      VALUES (?, ?, ?, ?, ?)`);
    this.#findKey = db.prepareRead<{ secret: Buffer }>('SELECT secret FROM push_link_key');
    this.#insertKey = db.prepareWrite('INSERT INTO push_link_key (one, secret) VALUES (1, ?)');
  }

  find(pusherNid: number, roomId: RoomId): MailThrottle | undefined {
    const row = this.#find.find(pusherNid, roomId);
    return row === undefined
      ? undefined
      : { lastSentTs: row.last_sent_ts, throttleMs: row.throttle_ms, lastEventTs: row.last_event_ts };
  }

  put(tx: WriteTx, pusherNid: number, roomId: RoomId, throttle: MailThrottle): void {
    this.#put.run(tx, pusherNid, roomId, throttle.lastSentTs, throttle.throttleMs, throttle.lastEventTs);
  }

  findKey(): Buffer | undefined {
    return this.#findKey.find()?.secret;
  }

  insertKey(tx: WriteTx, secret: Buffer): void {
    this.#insertKey.run(tx, secret);
  }
}

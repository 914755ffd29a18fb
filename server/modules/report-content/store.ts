import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../storage/types.ts';

/** What somebody found inappropriate, and why. */
export interface Report {
  readonly kind: 'event' | 'room' | 'user';
  readonly reporter: UserId;
  readonly roomId?: RoomId;
  readonly eventId?: EventId;
  readonly userId?: UserId;
  readonly reason: string | undefined;
  /** -100 (most offensive) to 0, from clients that still send it. */
  readonly score?: number | undefined;
  /** Milliseconds since the epoch. */
  readonly receivedTs: number;
}

/** Reports, kept until an administrator deletes them. */
export class ReportStore {
  readonly #insert;

  constructor(db: Database) {
    this.#insert = db.prepareWrite(`
      INSERT INTO reports (kind, reporter, room_id, event_id, user_id, reason, score, received_ms)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
  }

  insert(tx: WriteTx, report: Report): void {
    const { kind, reporter, roomId, eventId, userId, reason, score, receivedTs } = report;
    this.#insert.run(
      tx,
      kind,
      reporter,
      roomId ?? null,
      eventId ?? null,
      userId ?? null,
      reason ?? null,
      score ?? null,
      receivedTs,
    );
  }
}

import type { DeviceId, EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, WriteTx } from '../../storage/types.ts';

/** What a user wants sent later. */
export interface DelayedDraft {
  readonly userId: UserId;
  readonly deviceId: DeviceId | undefined;
  readonly appserviceId: string | undefined;
  /** Undefined where the operation has none. */
  readonly transactionId: string | undefined;
  readonly roomId: RoomId;
  readonly type: string;
  /** Undefined for what is no state. */
  readonly stateKey: string | undefined;
  /** Heeded from application services. */
  readonly originServerTs: number | undefined;
  readonly content: JsonObject;
  readonly delayMs: number;
}

/** How it ended: sent, failed, or (with neither of the two) cancelled by hand. */
export interface Finalised {
  readonly ts: number;
  readonly eventId: EventId | undefined;
  /** A standard error response. */
  readonly error: JsonObject | undefined;
}

/** A delayed event, waiting or finalised. */
export interface DelayedEvent extends DelayedDraft {
  readonly delayId: string;
  /** When it is, or was, to be sent (ms since the epoch). */
  readonly dueTs: number;
  readonly finalised: Finalised | undefined;
}

/** A place in the list of a user's finalised events: the one before it, newest first. */
export interface FinalisedPlace {
  readonly ts: number;
  readonly delayId: string;
}

interface Row {
  delay_id: string;
  user_id: UserId;
  device_id: string;
  appservice_id: string | null;
  transaction_id: string | null;
  room_id: RoomId;
  type: string;
  state_key: string | null;
  origin_server_ts: number | null;
  content: string;
  delay_ms: number;
  due_ts: number;
  finalised_ts: number | null;
  event_id: EventId | null;
  error: string | null;
}

function toEvent(row: Row): DelayedEvent {
  return {
    delayId: row.delay_id,
    userId: row.user_id,
    deviceId: row.device_id === '' ? undefined : (row.device_id as DeviceId),
    appserviceId: row.appservice_id ?? undefined,
    transactionId: row.transaction_id ?? undefined,
    roomId: row.room_id,
    type: row.type,
    stateKey: row.state_key ?? undefined,
    originServerTs: row.origin_server_ts ?? undefined,
    content: JSON.parse(row.content),
    delayMs: row.delay_ms,
    dueTs: row.due_ts,
    finalised:
      row.finalised_ts === null
        ? undefined
        : {
            ts: row.finalised_ts,
            eventId: row.event_id ?? undefined,
            error: row.error === null ? undefined : JSON.parse(row.error),
          },
  };
}

/** The events that wait for their time, and those that had it. */
export class DelayedEventStore {
  readonly #find;
  readonly #findSent;
  readonly #findByTransaction;
  readonly #findWaiting;
  readonly #nextDue;
  readonly #listDue;
  readonly #listScheduled;
  readonly #countScheduled;
  readonly #listFinalised;
  readonly #insert;
  readonly #restart;
  readonly #postpone;
  readonly #finalise;
  readonly #failState;
  readonly #removeUser;
  readonly #removeWaiting;
  readonly #removeOld;
  readonly #removeBeyond;

  constructor(db: Database) {
    this.#find = db.prepareRead<Row>('SELECT * FROM delayed_events WHERE delay_id = ?');
    this.#findSent = db.prepareRead<{ delay_id: string }>('SELECT delay_id FROM delayed_events WHERE event_id = ?');
    this.#findByTransaction = db.prepareRead<{ delay_id: string }>(`
      SELECT delay_id FROM delayed_events
      WHERE user_id = ? AND device_id = ? AND transaction_id = ? AND room_id = ? AND type = ?`);
    this.#findWaiting = db.prepareRead<{ delay_id: string }>(`
      SELECT delay_id FROM delayed_events
      WHERE room_id = ? AND type = ? AND state_key = ? AND finalised_ts IS NULL LIMIT 1`);
    this.#nextDue = db.prepareRead<{ due_ts: number | null }>(
      'SELECT min(due_ts) AS due_ts FROM delayed_events WHERE finalised_ts IS NULL',
    );
    this.#listDue = db.prepareRead<Row>(`
      SELECT * FROM delayed_events WHERE finalised_ts IS NULL AND due_ts <= ? ORDER BY due_ts LIMIT ?`);
    this.#listScheduled = db.prepareRead<Row>(`
      SELECT * FROM delayed_events WHERE user_id = ? AND finalised_ts IS NULL ORDER BY due_ts`);
    this.#countScheduled = db.prepareRead<{ count: number }>(
      'SELECT count(*) AS count FROM delayed_events WHERE user_id = ? AND finalised_ts IS NULL',
    );
    this.#listFinalised = db.prepareRead<Row>(`
      SELECT * FROM delayed_events
      WHERE user_id = ? AND finalised_ts IS NOT NULL AND (finalised_ts, delay_id) < (?, ?)
      ORDER BY finalised_ts DESC, delay_id DESC LIMIT ?`);
    this.#insert = db.prepareWrite(`
      INSERT INTO delayed_events (delay_id, user_id, device_id, appservice_id, transaction_id, room_id, type, state_key,
        origin_server_ts, content, delay_ms, due_ts)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#restart = db.prepareWrite(
      'UPDATE delayed_events SET due_ts = ? + delay_ms WHERE delay_id = ? AND finalised_ts IS NULL',
    );
    this.#postpone = db.prepareWrite(
      'UPDATE delayed_events SET due_ts = ? WHERE delay_id = ? AND finalised_ts IS NULL',
    );
    this.#finalise = db.prepareWrite(`
      UPDATE delayed_events SET finalised_ts = ?, event_id = ?, error = ? WHERE delay_id = ? AND finalised_ts IS NULL`);
    this.#failState = db.prepareWrite(`
      UPDATE delayed_events SET finalised_ts = ?, error = ?
      WHERE room_id = ? AND type = ? AND state_key = ? AND user_id <> ? AND finalised_ts IS NULL`);
    this.#removeWaiting = db.prepareWrite('DELETE FROM delayed_events WHERE finalised_ts IS NULL');
    this.#removeUser = db.prepareWrite('DELETE FROM delayed_events WHERE user_id = ?');
    this.#removeOld = db.prepareWrite(`
      DELETE FROM delayed_events WHERE delay_id IN (
        SELECT delay_id FROM delayed_events WHERE finalised_ts < ? ORDER BY finalised_ts LIMIT ?)`);
    this.#removeBeyond = db.prepareWrite(`
      DELETE FROM delayed_events WHERE delay_id IN (
        SELECT delay_id FROM delayed_events WHERE user_id = ? AND finalised_ts IS NOT NULL
        ORDER BY finalised_ts DESC, delay_id DESC LIMIT -1 OFFSET ?)`);
  }

  find(delayId: string): DelayedEvent | undefined {
    const row = this.#find.find(delayId);
    return row === undefined ? undefined : toEvent(row);
  }

  /** The delay ID that an event was sent under. */
  findSent(eventId: EventId): string | undefined {
    return this.#findSent.find(eventId)?.delay_id;
  }

  /** What an earlier request with the same transaction ID to the same path has scheduled. */
  findByTransaction({ userId, deviceId, transactionId, roomId, type }: DelayedDraft): string | undefined {
    if (transactionId === undefined) return undefined;
    return this.#findByTransaction.find(userId, deviceId ?? '', transactionId, roomId, type)?.delay_id;
  }

  /** Whether something waits that would set a key of a room's state. */
  isStateAwaited(roomId: RoomId, type: string, stateKey: string): boolean {
    return this.#findWaiting.find(roomId, type, stateKey) !== undefined;
  }

  /** When the next one is to be sent (ms since the epoch), if any waits. */
  findNextDue(): number | undefined {
    return this.#nextDue.find()?.due_ts ?? undefined;
  }

  /** Those whose time has come at `now` (ms since the epoch), the longest due first. */
  listDue(now: number, limit: number): DelayedEvent[] {
    return this.#listDue.list(now, limit).map(toEvent);
  }

  /** A user's waiting events in the order in which they are to be sent. */
  listScheduled(userId: UserId): DelayedEvent[] {
    return this.#listScheduled.list(userId).map(toEvent);
  }

  countScheduled(userId: UserId): number {
    return this.#countScheduled.find(userId)?.count ?? 0;
  }

  /** A user's finalised events, the latest first. */
  listFinalised(userId: UserId, after: FinalisedPlace | undefined, limit: number): DelayedEvent[] {
    const { ts, delayId } = after ?? { ts: Number.MAX_SAFE_INTEGER, delayId: '' };
    return this.#listFinalised.list(userId, ts, delayId, limit).map(toEvent);
  }

  /** Forgets all that wait. */
  removeWaiting(tx: WriteTx): void {
    this.#removeWaiting.run(tx);
  }

  insert(tx: WriteTx, delayId: string, draft: DelayedDraft, dueTs: number): void {
    this.#insert.run(
      tx,
      delayId,
      draft.userId,
      draft.deviceId ?? '',
      draft.appserviceId ?? null,
      draft.transactionId ?? null,
      draft.roomId,
      draft.type,
      draft.stateKey ?? null,
      draft.originServerTs ?? null,
      JSON.stringify(draft.content),
      draft.delayMs,
      dueTs,
    );
  }

  /** Begins the wait anew at `now`. False if it does not wait any more. */
  restart(tx: WriteTx, delayId: string, now: number): boolean {
    return this.#restart.run(tx, now, delayId).changes > 0;
  }

  /** Lets it wait until a time (ms since the epoch), whatever its delay. */
  postpone(tx: WriteTx, delayId: string, dueTs: number): void {
    this.#postpone.run(tx, dueTs, delayId);
  }

  /** False if it does not wait any more. */
  finalise(tx: WriteTx, delayId: string, { ts, eventId, error }: Finalised): boolean {
    const text = error === undefined ? null : JSON.stringify(error);
    return this.#finalise.run(tx, ts, eventId ?? null, text, delayId).changes > 0;
  }

  /** Ends the wait of all that would set a key of a room's state, `owner`'s own ones apart. Gives how many. */
  failState(
    tx: WriteTx,
    key: { readonly roomId: RoomId; readonly type: string; readonly stateKey: string; readonly owner: UserId },
    { ts, error }: { readonly ts: number; readonly error: JsonObject },
  ): number {
    return this.#failState.run(tx, ts, JSON.stringify(error), key.roomId, key.type, key.stateKey, key.owner).changes;
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    this.#removeUser.run(tx, userId);
  }

  /** Forgets what was finalised before a time (ms since the epoch), at most `limit` of it. */
  removeOld(tx: WriteTx, before: number, limit: number): void {
    this.#removeOld.run(tx, before, limit);
  }

  /** Forgets all but the `kept` latest finalised events of a user. */
  removeBeyond(tx: WriteTx, userId: UserId, kept: number): void {
    this.#removeBeyond.run(tx, userId, kept);
  }
}

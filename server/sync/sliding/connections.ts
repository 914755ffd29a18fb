import { LRUCache } from 'lru-cache';
import { MatrixError } from '../../matrix/errors.ts';
import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import { type Database, STREAM_START, type StreamPosition, type WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';
import type { SyncTokens } from '../token.ts';
import {
  type ConnectionKey,
  ConnectionStore,
  type Sent,
  type SentChanges,
  type SentRooms,
} from './connection-store.ts';

/** Connections a device may have; the one it has not used for longest makes room for another. */
const MOST_PER_DEVICE = 16;
/** A connection nobody used for this long (ms) is given up: what is missed since is much, and begun anew is soon told. */
const UNUSED_MS = 30 * 24 * 3_600_000;
/** How old (ms) the noted time of use may get before it is written anew. */
const NOTED_EVERY_MS = 3_600_000;
/** Connections kept in memory, each with what it holds of every room; reading one again takes a millisecond or so. */
const REMEMBERED = 200;
/** Different wishes for state in the life of a connection, and how long they are together. Clients have a handful. */
const MOST_REQUIRED = 200;
const MOST_REQUIRED_TEXT = 1_048_576;

interface Live {
  readonly key: ConnectionKey;
  readonly nid: number;
  readonly sent: Map<string, Map<RoomId, Sent>>;
  /** The names of the wishes for state that are kept with it, and how long each is. */
  readonly required: Map<string, number>;
  held: number;
  given: number;
  changes: SentChanges | undefined;
  usedMs: number;
  /** The last request. */
  turn: number;
}

/** One request's view of its connection. */
export interface Connection {
  readonly nid: number;
  /** Nothing has been told on it yet. */
  readonly initial: boolean;
  /** Where the device stands. */
  readonly since: StreamPosition;
  readonly sent: SentRooms;
  /** The number of the state `sent` is of. */
  readonly held: number;
  /** Tells a request from later ones of the connection. */
  readonly turn: number;
}

const NOTHING_SENT: SentRooms = new Map();

/**
 * The connections of sliding sync (MSC4186, "Connections"). A position that a client is given names a moment of the
 * stream and a numbered state of what has been told. Two states are kept: the one the client has shown to hold, and the
 * one it was given last; coming back with the latter, it lets go of the former. An answer that told of no new room
 * changes no state, so it costs no write.
 */
export class Connections {
  readonly #db: Database;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #tokens: SyncTokens;
  readonly #store: ConnectionStore;
  #turn = 0;
  readonly #live = new LRUCache<number, Live>(atMost(REMEMBERED));

  constructor({ db, clock, tokens }: { db: Database; clock: Pick<Clock, 'now'>; tokens: SyncTokens }) {
    this.#db = db;
    this.#clock = clock;
    this.#tokens = tokens;
    this.#store = new ConnectionStore(db);
  }

  /**
   * The connection as it stands for a client that comes with `pos`; a new one, in the place of any of the same name, if
   * it has none.
   * @throws MatrixError M_UNKNOWN_POS (400) for a position of another connection or device, or one that was let go
   */
  open(key: ConnectionKey, pos: string | undefined): Connection {
    if (pos === undefined) return this.#begin(key);
    const { nid, serial, since } = this.#parse(pos);
    const live = this.#find(nid);
    if (live === undefined || !isSame(live.key, key)) throw unknownPosition();
    if (serial === live.given && live.changes !== undefined) this.#hold(live, live.changes);
    else if (serial !== live.held) throw unknownPosition();
    const now = this.#clock.now();
    if (now - live.usedMs > NOTED_EVERY_MS) {
      live.usedMs = now;
      this.#db.write((tx) => this.#store.setUsed(tx, nid, now));
    }
    this.#turn += 1;
    live.turn = this.#turn;
    return { nid, initial: false, since, sent: live.sent, held: live.held, turn: live.turn };
  }

  /**
   * The position for an answer that tells everything up to `now` and makes these changes to what the client holds.
   * @throws MatrixError M_UNKNOWN_POS (400) if the connection has meanwhile gone on with a later request
   */
  give(connection: Connection, now: StreamPosition, changes: SentChanges): string {
    const live = this.#find(connection.nid);
    // A later request has the connection now: what this one has to say nobody waits for, and it must not undo what that one said.
    if (live === undefined || live.held !== connection.held || live.turn > connection.turn) throw unknownPosition();
    if (![...changes.values()].some((rooms) => rooms.size > 0)) return this.#format(live.nid, live.held, now);
    if (this.#hasTooMany(live, changes)) {
      this.#db.write((tx) => this.#store.remove(tx, live.key));
      this.#live.delete(live.nid);
      throw unknownPosition();
    }
    const given = Math.max(live.held, live.given) + 1;
    const usedMs = this.#clock.now();
    this.#db.write((tx) => {
      tx.onRollback(() => this.#live.delete(live.nid));
      this.#store.setGiven(tx, live.nid, given, changes, usedMs);
    });
    live.given = given;
    live.changes = changes;
    live.usedMs = usedMs;
    return this.#format(live.nid, given, now);
  }

  /** Forgets what a device was told. */
  /** Every device begins anew. */
  removeAll(tx: WriteTx): void {
    this.#store.removeAll(tx);
    this.#live.clear();
  }

  removeDevice(tx: WriteTx, userId: UserId, deviceId: string): void {
    this.#store.removeDevice(tx, userId, deviceId);
    this.#live.clear();
  }

  #begin(key: ConnectionKey): Connection {
    const usedMs = this.#clock.now();
    const nid = this.#db.write((tx) => {
      if (this.#store.removeUnusedSince(tx, usedMs - UNUSED_MS)) this.#live.clear();
      const made = this.#store.insert(tx, key, usedMs);
      this.#store.removeOldest(tx, key, MOST_PER_DEVICE);
      tx.onRollback(() => this.#live.delete(made));
      return made;
    });
    // Those that made room are no longer to be found, here either.
    for (const [other, live] of this.#live.entries()) if (isOfDevice(live.key, key)) this.#live.delete(other);
    this.#live.set(nid, {
      key,
      nid,
      sent: new Map(),
      required: new Map(),
      held: 0,
      given: 0,
      changes: undefined,
      usedMs,
      turn: 0,
    });
    return { nid, initial: true, since: STREAM_START, sent: NOTHING_SENT, held: 0, turn: 0 };
  }

  #find(nid: number): Live | undefined {
    const known = this.#live.get(nid);
    if (known !== undefined) return known;
    const stored = this.#store.find(nid);
    if (stored === undefined) return undefined;
    const { connection, sent, required } = stored;
    const { userId, deviceId, connId } = connection;
    const live: Live = {
      key: { userId, deviceId, connId },
      nid,
      sent,
      required,
      held: connection.held,
      given: connection.given,
      changes: connection.changes,
      usedMs: connection.usedMs,
      turn: 0,
    };
    this.#live.set(nid, live);
    // What was read may yet be undone with its transaction.
    this.#db.committed().catch(() => this.#live.delete(nid));
    return live;
  }

  #hold(live: Live, changes: SentChanges): void {
    const usedMs = this.#clock.now();
    this.#db.write((tx) => {
      tx.onRollback(() => this.#live.delete(live.nid));
      this.#store.setHeld(tx, live.nid, live.given, changes, usedMs);
    });
    for (const [part, rooms] of changes) {
      const sent = live.sent.get(part) ?? new Map<RoomId, Sent>();
      live.sent.set(part, sent);
      for (const [roomId, what] of rooms) {
        if (what === undefined) sent.delete(roomId);
        else sent.set(roomId, what);
      }
    }
    live.held = live.given;
    live.changes = undefined;
    live.usedMs = usedMs;
  }

  #hasTooMany({ required }: Live, changes: SentChanges): boolean {
    for (const rooms of changes.values()) {
      for (const sent of rooms.values()) {
        if (sent?.required !== undefined) required.set(sent.required.name, sent.required.text.length);
      }
    }
    let length = 0;
    for (const of of required.values()) length += of;
    return required.size > MOST_REQUIRED || length > MOST_REQUIRED_TEXT;
  }

  #format(nid: number, serial: number, at: StreamPosition): string {
    return `${this.#tokens.format(at)}.${nid}.${serial}`;
  }

  #parse(pos: string): { nid: number; serial: number; since: StreamPosition } {
    const [token = '', nid, serial] = pos.split('.');
    const numbers = { nid: Number(nid), serial: Number(serial) };
    if (!Number.isSafeInteger(numbers.nid) || !Number.isSafeInteger(numbers.serial)) throw unknownPosition();
    try {
      const since = this.#tokens.parse(token, 'pos');
      // What was told until then is lost, so it cannot be gone on from.
      if (this.#tokens.lastKnown(since) !== since) throw unknownPosition();
      return { ...numbers, since };
    } catch (error) {
      // Whatever is wrong with it: a client that hears this begins anew, and that is what helps.
      if (error instanceof MatrixError) throw unknownPosition();
      throw error;
    }
  }
}

function isSame(a: ConnectionKey, b: ConnectionKey): boolean {
  return isOfDevice(a, b) && a.connId === b.connId;
}

function isOfDevice(a: ConnectionKey, b: ConnectionKey): boolean {
  return a.userId === b.userId && a.deviceId === b.deviceId;
}

function unknownPosition(): MatrixError {
  return new MatrixError('M_UNKNOWN_POS', 'The position is not known, or no longer', { status: 400 });
}

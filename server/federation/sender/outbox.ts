import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import {
  type EventId,
  isEventId,
  isRoomId,
  isServerName,
  type RoomId,
  type ServerName,
} from '../../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';
import type { OutgoingPdu } from '../types.ts';

/** An event that waits for one server. */
export interface WaitingPdu {
  readonly seq: number;
  readonly roomId: RoomId;
  readonly eventId: EventId;
  /** JSON; undefined: the event is where events are. */
  readonly pdu: string | undefined;
}

/** A durable EDU that waits for one server. */
export interface WaitingEdu {
  readonly seq: number;
  readonly type: string;
  /** Always there where `content` is not. */
  readonly key: string | undefined;
  /** JSON; undefined: made when it is sent. */
  readonly content: string | undefined;
}

/** What waits for a server. */
export interface QueueStatus {
  readonly server: ServerName;
  readonly pdus: number;
  readonly edus: number;
  /** When the oldest of them was queued, ms since the epoch. */
  readonly oldestTs: number;
}

/** Servers that the same events go to. */
export interface Audience {
  readonly id: number;
  readonly servers: readonly ServerName[];
}

/** How many events of one room are kept for a server. */
export interface SweepLimits {
  /** For one that answers. */
  readonly live: number;
  /** The most for one that does not. */
  readonly failing: number;
  readonly keepFor: (server: ServerName) => number;
}

interface OfRoom {
  seq: number;
  audience_id: number;
  is_apart: number;
}

interface Behind {
  readonly server: ServerName;
  readonly cursor: number;
  readonly keep: number;
}

/** A sweep of one room under way. */
export interface Sweep {
  readonly roomId: RoomId;
  readonly audiences: ReadonlyMap<number, readonly Behind[]>;
  /** How many of its events each server has been left. */
  readonly kept: Map<ServerName, number>;
  /** Events before this one are still to be looked at. */
  below: number;
  /** Events that were removed though a server lacked them. */
  lost: number;
}

const AUDIENCES_KEPT = 500;

/** What was promised to other servers, on disk: events once for all who are to have them, EDUs for each. */
export class Outbox {
  readonly #clock: Clock;
  readonly #audiences = new LRUCache<string, number>(atMost(AUDIENCES_KEPT));
  #byList = new WeakMap<readonly ServerName[], Audience>();
  /** The last event's audience and write: then all of its servers are known to wait already. */
  #last: { readonly tx: WriteTx; readonly audienceId: number } | undefined;

  readonly #findAudience: ReadStatement<{ audience_id: number }>;
  readonly #insertAudience: WriteStatement;
  readonly #insertMember: WriteStatement;
  readonly #insertPdu: WriteStatement;
  readonly #startCursors: WriteStatement;
  readonly #moveCursor: WriteStatement;
  readonly #removeCursor: WriteStatement;
  readonly #findCursor: ReadStatement<{ seq: number }>;
  readonly #listPdus: ReadStatement<{ seq: number; room_id: string; event_id: string; pdu: string | null }>;
  readonly #insertEdu: WriteStatement;
  readonly #removeEdu: WriteStatement;
  readonly #removeSameEdu: WriteStatement;
  readonly #removeEdus: WriteStatement;
  readonly #trimEdus: WriteStatement;
  readonly #listEdus: ReadStatement<{ seq: number; type: string; key: string | null; content: string | null }>;
  readonly #listServers: ReadStatement<{ server: string }>;
  readonly #listRooms: ReadStatement<{ room_id: string }>;
  readonly #listOfRoom: ReadStatement<OfRoom>;
  readonly #listNewest: ReadStatement<{ seq: number; event_id: string }>;
  readonly #listGone: ReadStatement<{ seq: number }>;
  readonly #keepPdu: WriteStatement;
  readonly #listAudiences: ReadStatement<{ audience_id: number }>;
  readonly #findOlder: ReadStatement<{ seq: number }>;
  readonly #listBehind: ReadStatement<{ server: string; seq: number }>;
  readonly #removePdu: WriteStatement;
  readonly #listUnused: ReadStatement<{ audience_id: number }>;
  readonly #removeMembers: WriteStatement;
  readonly #removePdusBefore: WriteStatement;
  readonly #removeAllEdus: WriteStatement;
  readonly #removeIdleCursors: WriteStatement;
  readonly #removeAudience: WriteStatement;
  readonly #countPdus: ReadStatement<{ server: string; count: number; oldest: number }>;
  readonly #countEdus: ReadStatement<{ server: string; count: number; oldest: number }>;

  constructor({ db, clock }: { db: Database; clock: Clock }) {
    this.#clock = clock;
    this.#findAudience = db.prepareRead('SELECT audience_id FROM outgoing_audiences WHERE digest = ?');
    this.#insertAudience = db.prepareWrite('INSERT INTO outgoing_audiences (digest) VALUES (?)');
    this.#insertMember = db.prepareWrite('INSERT INTO outgoing_audience_servers (audience_id, server) VALUES (?, ?)');
    this.#insertPdu = db.prepareWrite(
      'INSERT INTO outgoing_pdus (audience_id, room_id, event_id, queued_ts) VALUES (?, ?, ?, ?)',
    );
    this.#startCursors = db.prepareWrite(`
      INSERT OR IGNORE INTO outgoing_cursors (server, seq)
      SELECT server, ? FROM outgoing_audience_servers WHERE audience_id = ?`);
    this.#moveCursor = db.prepareWrite('UPDATE outgoing_cursors SET seq = ? WHERE server = ?');
    this.#removeCursor = db.prepareWrite('DELETE FROM outgoing_cursors WHERE server = ?');
    this.#findCursor = db.prepareRead('SELECT seq FROM outgoing_cursors WHERE server = ?');
    // The order of the join is prescribed: along the few events behind the cursor, looking up whether each is for it.
    this.#listPdus = db.prepareRead(`
      SELECT p.seq, p.room_id, p.event_id, p.pdu FROM outgoing_pdus AS p CROSS JOIN outgoing_audience_servers AS a
      WHERE p.seq > ? AND a.audience_id = p.audience_id AND a.server = ? ORDER BY p.seq LIMIT ?`);
    this.#insertEdu = db.prepareWrite(
      'INSERT INTO outgoing_edus (server, type, key, content, queued_ts) VALUES (?, ?, ?, ?, ?)',
    );
    this.#removeEdu = db.prepareWrite('DELETE FROM outgoing_edus WHERE seq = ?');
    this.#removeSameEdu = db.prepareWrite('DELETE FROM outgoing_edus WHERE server = ? AND type = ? AND key = ?');
    this.#removeEdus = db.prepareWrite('DELETE FROM outgoing_edus WHERE server = ?');
    this.#trimEdus = db.prepareWrite(`
      DELETE FROM outgoing_edus WHERE server = ? AND seq <= (
        SELECT seq FROM outgoing_edus WHERE server = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`);
    this.#listEdus = db.prepareRead(
      'SELECT seq, type, key, content FROM outgoing_edus WHERE server = ? ORDER BY seq LIMIT ?',
    );
    this.#listServers = db.prepareRead('SELECT server FROM outgoing_cursors UNION SELECT server FROM outgoing_edus');
    this.#listRooms = db.prepareRead('SELECT DISTINCT room_id FROM outgoing_pdus');
    this.#listOfRoom = db.prepareRead(
      `SELECT seq, audience_id, pdu IS NOT NULL AS is_apart FROM outgoing_pdus
      WHERE room_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?`,
    );
    this.#listNewest = db.prepareRead(
      'SELECT seq, event_id FROM outgoing_pdus WHERE room_id = ? AND pdu IS NULL ORDER BY seq DESC LIMIT ?',
    );
    this.#listGone = db.prepareRead('SELECT seq FROM outgoing_pdus WHERE room_id = ? AND pdu IS NULL LIMIT ?');
    this.#keepPdu = db.prepareWrite('UPDATE outgoing_pdus SET pdu = ? WHERE seq = ?');
    this.#listAudiences = db.prepareRead('SELECT DISTINCT audience_id FROM outgoing_pdus WHERE room_id = ?');
    this.#findOlder = db.prepareRead(
      'SELECT seq FROM outgoing_pdus WHERE room_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?',
    );
    this.#listBehind = db.prepareRead(`
      SELECT server, seq FROM outgoing_audience_servers JOIN outgoing_cursors USING (server) WHERE audience_id = ?`);
    this.#removePdu = db.prepareWrite('DELETE FROM outgoing_pdus WHERE seq = ?');
    this.#listUnused = db.prepareRead(`
      SELECT audience_id FROM outgoing_audiences AS a
      WHERE NOT EXISTS (SELECT 1 FROM outgoing_pdus AS p WHERE p.audience_id = a.audience_id) LIMIT ?`);
    this.#removePdusBefore = db.prepareWrite('DELETE FROM outgoing_pdus WHERE queued_ts < ?');
    this.#removeAllEdus = db.prepareWrite('DELETE FROM outgoing_edus');
    this.#removeIdleCursors = db.prepareWrite(`
      DELETE FROM outgoing_cursors WHERE NOT EXISTS (
        SELECT 1 FROM outgoing_pdus AS p JOIN outgoing_audience_servers AS a USING (audience_id)
        WHERE a.server = outgoing_cursors.server AND p.seq > outgoing_cursors.seq)`);
    this.#removeMembers = db.prepareWrite('DELETE FROM outgoing_audience_servers WHERE audience_id = ?');
    this.#removeAudience = db.prepareWrite('DELETE FROM outgoing_audiences WHERE audience_id = ?');
    this.#countPdus = db.prepareRead(`
      SELECT c.server, count(*) AS count, min(p.queued_ts) AS oldest
      FROM (SELECT DISTINCT audience_id FROM outgoing_pdus) AS d CROSS JOIN outgoing_cursors AS c
        CROSS JOIN outgoing_audience_servers AS a CROSS JOIN outgoing_pdus AS p
      WHERE a.audience_id = d.audience_id AND a.server = c.server AND p.audience_id = a.audience_id AND p.seq > c.seq
      GROUP BY c.server`);
    this.#countEdus = db.prepareRead(
      'SELECT server, count(*) AS count, min(queued_ts) AS oldest FROM outgoing_edus GROUP BY server',
    );
  }

  /** The audience these servers make; `servers` must be without repeats. Quick for a list that was handed in before. */
  makeAudience(tx: WriteTx, servers: readonly ServerName[]): Audience {
    const known = this.#byList.get(servers);
    if (known !== undefined) return known;
    const audience = { id: this.#audienceId(tx, servers), servers };
    this.#byList.set(servers, audience);
    tx.onRollback(() => this.#forgetAudiences());
    return audience;
  }

  #audienceId(tx: WriteTx, servers: readonly ServerName[]): number {
    const digest = createHash('sha256')
      .update([...servers].sort().join(' '))
      .digest('base64');
    const kept = this.#audiences.get(digest) ?? this.#findAudience.find(digest)?.audience_id;
    const id = kept ?? this.#insertAudience.run(tx, digest).lastId;
    if (kept === undefined) for (const server of servers) this.#insertMember.run(tx, id, server);
    this.#audiences.set(digest, id);
    return id;
  }

  #forgetAudiences(): void {
    this.#audiences.clear();
    this.#byList = new WeakMap();
  }

  putPdu(tx: WriteTx, audience: Audience, { eventId, roomId }: OutgoingPdu): void {
    const seq = this.#insertPdu.run(tx, audience.id, roomId, eventId, this.#clock.now()).lastId;
    if (this.#last?.tx === tx && this.#last.audienceId === audience.id) return;
    this.#startCursors.run(tx, seq - 1, audience.id);
    this.#last = { tx, audienceId: audience.id };
    const forget = (): void => {
      this.#last = undefined;
    };
    tx.onCommit(forget);
    tx.onRollback(forget);
  }

  /** `content` undefined: made when it is sent, which only one with a key can be. */
  putEdu(
    tx: WriteTx,
    server: ServerName,
    { type, key, content }: { type: string; key: string | undefined; content: string | undefined },
  ): void {
    // At the end, with a number of its own: the older one may be on its way at this moment.
    if (key !== undefined) this.#removeSameEdu.run(tx, server, type, key);
    this.#insertEdu.run(tx, server, type, key ?? null, content ?? null, this.#clock.now());
  }

  /** Whether the server was last seen to lack events. */
  isBehind(server: ServerName): boolean {
    return this.#findCursor.find(server) !== undefined;
  }

  /** The next events for a server, oldest first. */
  listPdus(server: ServerName, limit: number): WaitingPdu[] {
    const cursor = this.#findCursor.find(server)?.seq;
    return cursor === undefined ? [] : this.#listPdusAfter(server, cursor, limit);
  }

  /** The next durable EDUs for a server, oldest first. */
  listEdus(server: ServerName, limit: number): WaitingEdu[] {
    return this.#listEdus.list(server, limit).map(({ seq, type, key, content }) => ({
      seq,
      type,
      key: key ?? undefined,
      content: content ?? undefined,
    }));
  }

  /** A server has all events up to `pduSeq` (undefined: none came along), and these EDUs. */
  settle(tx: WriteTx, server: ServerName, pduSeq: number | undefined, edus: readonly number[]): void {
    for (const seq of edus) this.#removeEdu.run(tx, seq);
    const cursor = pduSeq ?? this.#findCursor.find(server)?.seq;
    if (cursor === undefined) return;
    if (this.#listPdusAfter(server, cursor, 1).length === 0) this.#removeCursor.run(tx, server);
    else if (pduSeq !== undefined) this.#moveCursor.run(tx, pduSeq, server);
  }

  /** Gives up all that waits for a server. */
  abandon(tx: WriteTx, server: ServerName): void {
    this.#removeCursor.run(tx, server);
    this.#removeEdus.run(tx, server);
  }

  /** Gives up all EDUs, and the events queued before `time` (ms). */
  forgetBefore(tx: WriteTx, time: number): void {
    this.#removeAllEdus.run(tx);
    this.#removePdusBefore.run(tx, time);
    this.#removeIdleCursors.run(tx);
  }

  /** Servers that something waits for. */
  listServers(): ServerName[] {
    return this.#listServers
      .list()
      .map((row) => row.server)
      .filter(isServerName);
  }

  listQueues(): QueueStatus[] {
    const queues = new Map<ServerName, { pdus: number; edus: number; oldestTs: number }>();
    const add = (kind: 'pdus' | 'edus', rows: readonly { server: string; count: number; oldest: number }[]): void => {
      for (const { server, count, oldest } of rows) {
        if (!isServerName(server)) continue;
        const queue = queues.get(server) ?? { pdus: 0, edus: 0, oldestTs: oldest };
        queue[kind] = count;
        queue.oldestTs = Math.min(queue.oldestTs, oldest);
        queues.set(server, queue);
      }
    };
    add('pdus', this.#countPdus.list());
    add('edus', this.#countEdus.list());
    return [...queues].map(([server, queue]) => ({ server, ...queue }));
  }

  /** Rooms with events on their way. */
  listRooms(): RoomId[] {
    return this.#listRooms
      .list()
      .map((row) => row.room_id)
      .filter(isRoomId);
  }

  /** Servers that events of a room are for, and that do not have all that was queued before the newest of them. */
  listLacking(roomId: RoomId): ServerName[] {
    const newest = this.#findOlder.find(roomId, 0)?.seq ?? 0;
    const lacking = this.#listAudiences
      .list(roomId)
      .flatMap(({ audience_id: id }) => this.#listBehind.list(id).filter(({ seq: cursor }) => cursor < newest));
    return [...new Set(lacking.map(({ server }) => server))].filter(isServerName);
  }

  /** The newest events of a room, which are about to be gone, are kept here until those who lack them have them. */
  keepApart(tx: WriteTx, roomId: RoomId, limit: number, find: (eventId: EventId) => string | undefined): void {
    for (const { seq, event_id: eventId } of this.#listNewest.list(roomId, limit)) {
      const pdu = isEventId(eventId) ? find(eventId) : undefined;
      if (pdu !== undefined) this.#keepPdu.run(tx, pdu, seq);
    }
  }

  /** Gives up at most `limit` events of a room that are not kept apart; says how many. */
  abandonRoom(tx: WriteTx, roomId: RoomId, limit: number): number {
    const rows = this.#listGone.list(roomId, limit);
    for (const { seq } of rows) this.#removePdu.run(tx, seq);
    return rows.length;
  }

  /** Finds out which events of a room are still needed; `sweep` then removes the others. */
  planSweep(roomId: RoomId, limits: SweepLimits): Sweep {
    const audiences = new Map(
      this.#listAudiences.list(roomId).map(({ audience_id: id }) => [id, this.#listBehindOf(id, limits)] as const),
    );
    // What live servers lack is not even looked at, unless there is too much of it.
    const live = [...audiences.values()].flat().filter(({ keep }) => keep >= limits.live);
    const lacked = Math.min(...live.map(({ cursor }) => cursor));
    const beyond = this.#findOlder.find(roomId, limits.live)?.seq ?? 0;
    const kept = new Map(live.map(({ server }) => [server, Number.POSITIVE_INFINITY]));
    const sweep: Sweep = { roomId, audiences, kept, below: Math.max(lacked, beyond) + 1, lost: 0 };
    // The newest are, and those who lag have had these of their share.
    for (const row of this.#listOfRoom.list(roomId, Number.MAX_SAFE_INTEGER, limits.failing)) {
      if (row.seq >= sweep.below) this.#isNeeded(sweep, row);
    }
    return sweep;
  }

  /** Looks at the next `limit` events of a sweep, newest first. Returns whether there are more. */
  sweep(tx: WriteTx, sweep: Sweep, limit: number): boolean {
    const below = Math.min(sweep.below, Number.MAX_SAFE_INTEGER);
    const rows = this.#listOfRoom.list(sweep.roomId, below, limit);
    for (const row of rows) {
      sweep.below = row.seq;
      if (!this.#isNeeded(sweep, row)) this.#removePdu.run(tx, row.seq);
    }
    return rows.length === limit;
  }

  /** Whether a server that lacks the event is to get it; it then has had one of its share. */
  #isNeeded(sweep: Sweep, { seq, audience_id: audienceId, is_apart: isApart }: OfRoom): boolean {
    const lacking = (sweep.audiences.get(audienceId) ?? []).filter(({ cursor }) => cursor < seq);
    // They are few, and whoever lacks one cannot ask for it: nobody here knows the room any more.
    if (isApart === 1) return lacking.length > 0;
    const entitled = lacking.filter(({ server, keep }) => (sweep.kept.get(server) ?? 0) < keep);
    for (const { server } of entitled) sweep.kept.set(server, (sweep.kept.get(server) ?? 0) + 1);
    if (entitled.length === 0 && lacking.length > 0) sweep.lost += 1;
    return entitled.length > 0;
  }

  #listBehindOf(audienceId: number, { keepFor }: SweepLimits): Behind[] {
    return this.#listBehind.list(audienceId).flatMap(({ server, seq: cursor }) => {
      return isServerName(server) ? [{ server, cursor, keep: keepFor(server) }] : [];
    });
  }

  /** Keeps the newest `limit` EDUs of a server. Returns how many are gone. */
  trimEdus(tx: WriteTx, server: ServerName, limit: number): number {
    return this.#trimEdus.run(tx, server, server, limit).changes;
  }

  /** Removes at most `limit` audiences that no event has any more. Returns whether there may be others. */
  removeUnusedAudiences(tx: WriteTx, limit: number): boolean {
    const unused = this.#listUnused.list(limit);
    if (unused.length === 0) return false;
    for (const { audience_id: id } of unused) {
      this.#removeMembers.run(tx, id);
      this.#removeAudience.run(tx, id);
    }
    this.#forgetAudiences();
    return unused.length === limit;
  }

  #listPdusAfter(server: ServerName, cursor: number, limit: number): WaitingPdu[] {
    return this.#listPdus.list(cursor, server, limit).map(({ seq, room_id: roomId, event_id: eventId, pdu }) => {
      if (!isRoomId(roomId) || !isEventId(eventId)) throw new Error('an event in the outbox is damaged');
      return { seq, roomId, eventId, pdu: pdu ?? undefined };
    });
  }
}

import { MatrixError, notFound } from '../../matrix/errors.ts';
import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { StreamPosition, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { Backoff } from '../../util/backoff.ts';
import { SerialQueue } from '../../util/serial-queue.ts';
import type { RoomHead } from '../extremities.ts';
import type { RoomSizes } from '../sizes.ts';
import { CommitPace } from './commit-pace.ts';
import { Erasure, type ErasureParts } from './erasure.ts';
import type { PurgedRoom, RoomPurge } from './hook.ts';
import { type Purge, PurgeStore } from './purge-store.ts';

/** What the rooms need of others to remove one. */
export interface PurgeNeeds {
  /** Lets a user of this server leave, reject an invite or take back a knock. */
  readonly leave: (userId: UserId, roomId: RoomId) => Promise<void>;
  /** Whether events of the room are on their way to other servers. */
  readonly isSending: (roomId: RoomId) => boolean;
  /** Everybody who keeps rows about rooms. Asked when the first room goes. */
  readonly hooks: () => readonly RoomPurge[];
}

export interface PurgerParts extends ErasureParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sizes: Pick<RoomSizes, 'find' | 'refresh' | 'remove'>;
  readonly needs: PurgeNeeds;
  /** Resolves when all events up to a position were handed to the outbox, or after so many ms. */
  readonly handedOver: (position: StreamPosition, longestMs: number) => Promise<void>;
}

/** Is told how far a purge has come; `isHeldUp`: a step did not work, and is tried again after a while. */
export type OnProgress = (purge: Purge, isHeldUp: boolean) => void;

/** Rooms that are removed from this server for good, and rooms that nobody of it may enter. */
export interface RoomPurges {
  /**
   * Everybody of this server leaves, then all that is stored of the room goes, in small pieces beside everything else; what
   * is free in the database then goes back to the file system. Begun once, it goes on after a restart. Asked for again
   * meanwhile, it is the same purge.
   * @throws MatrixError M_NOT_FOUND for a room nothing is stored of; M_UNKNOWN (503) when the server stops before its end
   */
  purge(roomId: RoomId, onProgress?: OnProgress): Promise<Purge>;
  find(roomId: RoomId): Purge | undefined;
  /** Those of the last week; the one that was begun first comes first. */
  list(): readonly Purge[];
  /** Whether nobody may enter: because somebody said so, or as long as the room is being removed. */
  isClosed(roomId: RoomId): boolean;
  /** Rooms that were gone for a user in (since, now], who was in them or invited. */
  listRemovedFor(userId: UserId, since: StreamPosition, now: StreamPosition): readonly RoomId[];
  isBlocked(roomId: RoomId): boolean;
  listBlocked(): readonly RoomId[];
  setBlocked(roomId: RoomId, blocked: boolean): void;
}

/** Longest wait for other servers to hear that everybody has left, ms: those that can be reached do so at once. */
const TELLING_MS = 30_000;
/** How long events are counted before, ms: only to tell how far it has come. */
const COUNTING_MS = 1_000;
/** How long clients that are connected have to hear of it, ms; it reaches them at once. */
const LISTENING_MS = 500;
const ASK_EVERY_MS = 250;
/** Rows that one owner removes in one step. */
const ROWS_AT_ONCE = 200;
/** Times events are removed before it is looked for other rows again, and told how far it has come. */
const ROUNDS = 60;
/** How long is waited after a step that did not work. */
const RETRIED = { firstMs: 5_000, longestMs: 10 * 60_000 };
/** Bytes of the file that are given back in one step. */
const GIVEN_BACK_AT_ONCE = 128 * 1024;

/** Removes rooms, one at a time. Each step can be done again: after a crash, a purge goes on with the step it was at. */
export class Purger implements RoomPurges {
  readonly #parts: PurgerParts;
  readonly #store: PurgeStore;
  readonly #erasure: Erasure;
  readonly #line = new SerialQueue();
  readonly #stopping = new AbortController();
  readonly #running = new Map<RoomId, { readonly over: Promise<Purge>; readonly listeners: Set<OnProgress> }>();
  /** Of `purges`, those that are under way: asked about with every join. */
  readonly #closed: Set<RoomId>;

  constructor(parts: PurgerParts) {
    this.#parts = parts;
    this.#store = new PurgeStore(parts.db);
    this.#erasure = new Erasure(parts);
    this.#closed = new Set(this.#unfinished());
  }

  /** Goes on with what was not finished. Whoever starts it stops it. */
  start(): void {
    for (const roomId of this.#unfinished()) {
      this.#begin(roomId).over.catch((error: unknown) => {
        if (!this.#stopping.signal.aborted) this.#parts.log.error({ roomId, error }, 'a room could not be removed');
      });
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled([...this.#running.values()].map(({ over }) => over));
  }

  async purge(roomId: RoomId, onProgress?: OnProgress): Promise<Purge> {
    const { db, clock, heads, sizes } = this.#parts;
    if (this.#stopping.signal.aborted) throw interrupted();
    if (!this.#running.has(roomId)) {
      const head = heads.find(roomId);
      if (head === undefined) throw notFound('This room is not known here');
      await sizes.refresh(COUNTING_MS);
      db.write((tx) => {
        const present = this.#listPresent(roomId);
        const order = { roomId, startedTs: clock.now(), present, events: sizes.find(head.nid).events };
        this.#store.start(tx, { ...order, bytesBefore: db.space().bytes });
        this.#closed.add(roomId);
        tx.onRollback(() => this.#closed.delete(roomId));
      });
      await db.committed();
    }
    const { over, listeners } = this.#running.get(roomId) ?? this.#begin(roomId);
    if (onProgress === undefined) return over;
    listeners.add(onProgress);
    return over.finally(() => listeners.delete(onProgress));
  }

  find(roomId: RoomId): Purge | undefined {
    return this.#store.find(roomId);
  }

  list(): readonly Purge[] {
    return this.#store.list();
  }

  isClosed(roomId: RoomId): boolean {
    return this.#closed.has(roomId) || this.#store.isBlocked(roomId);
  }

  listRemovedFor(userId: UserId, since: StreamPosition, now: StreamPosition): readonly RoomId[] {
    return this.#store.listFor(userId, since, now);
  }

  isBlocked(roomId: RoomId): boolean {
    return this.#store.isBlocked(roomId);
  }

  listBlocked(): readonly RoomId[] {
    return this.#store.listBlocked();
  }

  setBlocked(roomId: RoomId, blocked: boolean): void {
    const { db, clock } = this.#parts;
    db.write((tx) => this.#store.setBlocked(tx, roomId, blocked, clock.now()));
  }

  #unfinished(): RoomId[] {
    return this.#store
      .list()
      .filter(({ endedTs }) => endedTs === undefined)
      .map(({ roomId }) => roomId);
  }

  #begin(roomId: RoomId): { readonly over: Promise<Purge>; readonly listeners: Set<OnProgress> } {
    const listeners = new Set<OnProgress>();
    const over = this.#line
      .run('purge', () => this.#run(roomId, listeners))
      .finally(() => this.#running.delete(roomId));
    const running = { over, listeners };
    this.#running.set(roomId, running);
    return running;
  }

  async #run(roomId: RoomId, listeners: ReadonlySet<OnProgress>): Promise<Purge> {
    const { db, heads, log } = this.#parts;
    let purge = this.#store.find(roomId);
    const head = heads.find(roomId);
    if (purge === undefined || head === undefined) throw new Error(`the purge of ${roomId} has no record`);
    const pace = new CommitPace(db, this.#parts.clock);
    const backoff = new Backoff(RETRIED);
    while (purge.endedTs === undefined) {
      let isHeldUp = false;
      try {
        purge = await this.#step(purge, head, pace);
        backoff.reset();
      } catch (error) {
        // Nobody could ask for it again: the room is out of sight, and closed. A disk does not stay full for ever.
        log.error({ roomId, error, step: purge.step }, 'the removal of a room is held up, and tried again');
        isHeldUp = true;
        purge = this.#store.find(roomId) ?? purge;
      }
      for (const listener of listeners) listener(purge, isHeldUp);
      if (isHeldUp) await this.#wait(backoff.next());
      if (this.#stopping.signal.aborted && purge.endedTs === undefined) throw interrupted();
    }
    await db.committed();
    const { removed, freedBytes } = purge;
    log.info({ roomId, events: removed, freedBytes }, 'a room was removed from this server');
    return purge;
  }

  /** Does the next piece of work; gives the purge as it is then. */
  async #step(purge: Purge, head: RoomHead, pace: CommitPace): Promise<Purge> {
    switch (purge.step) {
      case 'leaving':
        return this.#leave(purge, pace);
      case 'telling':
        return this.#tell(purge, head);
      case 'removing':
        return this.#remove(purge, head, pace);
      case 'tidying':
        return this.#tidy(purge, pace);
      case 'shrinking':
        return this.#shrink(purge, pace);
      case 'done':
        return this.#put({ ...purge, endedTs: this.#parts.clock.now() });
    }
  }

  async #leave(purge: Purge, pace: CommitPace): Promise<Purge> {
    const { db, members, needs, log } = this.#parts;
    const { roomId } = purge;
    const present = this.#listPresent(roomId);
    for (const hook of needs.hooks()) {
      let isLeft = hook.beforeLeaving !== undefined;
      while (isLeft) {
        await pace.step();
        if (this.#stopping.signal.aborted) return purge;
        const room: PurgedRoom = { roomId, users: present };
        isLeft = db.write((tx) => (hook.beforeLeaving?.(tx, room, ROWS_AT_ONCE) ?? 0) >= ROWS_AT_ONCE);
      }
    }
    for (const userId of present) {
      if (this.#stopping.signal.aborted) return purge;
      try {
        await this.#unlessStopped(needs.leave(userId, roomId));
      } catch (error) {
        if (this.#stopping.signal.aborted) return purge;
        // With the room goes the membership all the same; other servers do not hear of it then.
        log.warn({ userId, roomId, error }, 'a user could not leave a room that is to be removed');
      }
    }
    if (this.#stopping.signal.aborted) return purge;
    await db.committed();
    return this.#put({ ...purge, step: 'telling', users: members.listLocal(roomId) });
  }

  /** Users of this server who are in the room, invited, or knocking. */
  #listPresent(roomId: RoomId): UserId[] {
    const { members } = this.#parts;
    return members.listLocal(roomId).filter((userId) => {
      const membership = members.findMember(roomId, userId)?.membership;
      return membership === 'join' || membership === 'invite' || membership === 'knock';
    });
  }

  async #tell(purge: Purge, head: RoomHead): Promise<Purge> {
    const { db, clock, needs, handedOver } = this.#parts;
    const deadline = clock.monotonic() + TELLING_MS;
    // Whoever is waiting for news here as well.
    await this.#wait(LISTENING_MS);
    await this.#unlessStopped(handedOver(db.position(), TELLING_MS));
    if (this.#stopping.signal.aborted) return purge;
    while (needs.isSending(purge.roomId) && clock.monotonic() < deadline) {
      await this.#wait(ASK_EVERY_MS);
      if (this.#stopping.signal.aborted) return purge;
    }
    return db.write((tx) => {
      this.#erasure.hide(tx, head);
      const room: PurgedRoom = { roomId: purge.roomId, users: purge.users ?? [] };
      for (const hook of needs.hooks()) hook.hide?.(tx, room);
      return this.#put({ ...purge, step: 'removing', position: tx.nextPosition() }, tx);
    });
  }

  /** Others first: what they know of a room may hang on its events. */
  async #remove(purge: Purge, { nid }: RoomHead, pace: CommitPace): Promise<Purge> {
    const { db, members, heads, sizes, needs } = this.#parts;
    const { roomId } = purge;
    const room: PurgedRoom = { roomId, users: purge.users ?? [] };
    const hooks = needs.hooks();
    const own: RoomPurge = { room: (tx, _room, limit) => this.#erasure.removeRows(tx, { nid, roomId }, limit) };
    for (const hook of [...hooks, own]) {
      let isLeft = hook.room !== undefined;
      while (isLeft) {
        await pace.step();
        if (this.#stopping.signal.aborted) return purge;
        isLeft = db.write((tx) => (hook.room?.(tx, room, ROWS_AT_ONCE) ?? 0) >= ROWS_AT_ONCE);
      }
    }
    let known = purge;
    for (let round = 0; round < ROUNDS && known.step === 'removing'; round++) {
      await pace.step();
      if (this.#stopping.signal.aborted) return known;
      const before = known;
      known = db.write((tx) => {
        const events = this.#erasure.listEvents({ nid });
        if (events.length === 0) {
          for (const hook of hooks) hook.end?.(tx, room);
          sizes.remove(tx, nid);
          members.forgetRoom({ nid, roomId });
          heads.forgetStates(nid);
          return this.#put({ ...before, step: 'tidying' }, tx);
        }
        const eventIds = events.map(({ eventId }) => eventId);
        for (const hook of hooks) hook.events?.(tx, eventIds);
        this.#erasure.removeEvents(tx, events);
        return this.#put({ ...before, removed: before.removed + events.length }, tx);
      });
    }
    return known;
  }

  /** States that hung on the events. None of another room is among them: a state names its own room's events. */
  async #tidy(purge: Purge, pace: CommitPace): Promise<Purge> {
    const { db } = this.#parts;
    for (let last: number | undefined = 0; last !== undefined; ) {
      await pace.step();
      if (this.#stopping.signal.aborted) return purge;
      const from: number = last;
      last = db.write((tx) => this.#erasure.removeNodes(tx, from));
    }
    return this.#put({ ...purge, step: 'shrinking' });
  }

  async #shrink(purge: Purge, pace: CommitPace): Promise<Purge> {
    const { db } = this.#parts;
    do {
      await pace.step();
      if (this.#stopping.signal.aborted) return purge;
    } while (db.giveBack(GIVEN_BACK_AT_ONCE));
    await db.committed();
    db.checkpoint();
    return this.#put({ ...purge, step: 'done', freedBytes: Math.max(0, purge.bytesBefore - db.space().bytes) });
  }

  #put(purge: Purge, tx?: WriteTx): Purge {
    const put = (write: WriteTx): void => {
      this.#store.update(write, purge);
      if (purge.endedTs === undefined) return;
      write.onCommit(() => this.#closed.delete(purge.roomId));
    };
    if (tx === undefined) this.#parts.db.write(put);
    else put(tx);
    return purge;
  }

  #wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#parts.clock.after(ms, resolve);
    return this.#unlessStopped(promise).finally(() => timer.cancel());
  }

  /** Resolves as `work` does, or when the server stops: other servers may take their time. */
  async #unlessStopped(work: Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted) return;
    const stopped = Promise.withResolvers<void>();
    const stop = (): void => stopped.resolve();
    signal.addEventListener('abort', stop);
    try {
      await Promise.race([work, stopped.promise]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
}

function interrupted(): MatrixError {
  return new MatrixError('M_UNKNOWN', 'The server was stopped; it goes on with this when it runs again', {
    status: 503,
  });
}

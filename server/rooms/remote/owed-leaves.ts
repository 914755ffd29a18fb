import { FederationError } from '../../federation/errors.ts';
import type { Destinations } from '../../federation/types.ts';
import { MatrixError } from '../../matrix/errors.ts';
import type { RoomId, ServerName, UserId } from '../../matrix/identifiers.ts';
import { StorageError } from '../../storage/storage-error.ts';
import type { WriteTx } from '../../storage/types.ts';
import type { Timer } from '../../util/clock.ts';
import { isSettled, leaveThrough } from './leave-handshake.ts';
import { type OwedLeave, OwedLeaveStore } from './owed-leave-store.ts';
import type { RemoteParts } from './parts.ts';

type Needs = Pick<
  RemoteParts,
  'db' | 'clock' | 'random' | 'log' | 'serverName' | 'signingKey' | 'members' | 'client'
> & {
  readonly destinations?: (Pick<Destinations, 'readyAt'> & Partial<Pick<Destinations, 'onRecovered'>>) | undefined;
};

/** Whom a leave is about, and where. */
type Whose = Pick<OwedLeave, 'roomId' | 'userId'>;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** How long is waited after the first try, and at most, ms; twice as long after each. Heard of again, a server is tried at once. */
const FIRST_WAIT_MS = MINUTE;
const LONGEST_WAIT_MS = 6 * HOUR;
/** A room whose servers were away for so long (ms) is given up. */
const KEPT_MS = 30 * 24 * HOUR;
/** Anybody can send invites; what is owed because of them is bounded. */
const KEPT = { ofUser: 100, all: 2_000 };
const AT_ONCE = 4;
/** The clock of the wall is looked at this often, ms: it may be set, or the machine may sleep. */
const LOOK_MS = HOUR;

/**
 * Invites declined and knocks taken back while no server of the room could be told. They are over here; the servers of the
 * room are told when they are back, unless the user was invited again, knocks, or joins meanwhile. That the room was
 * removed from this server, or the account closed, does not change what its servers ought to hear.
 */
export class OwedLeaves {
  readonly #needs: Needs;
  readonly #store: OwedLeaveStore;
  /** Users on their way into rooms, with how many requests. */
  readonly #held = new Map<string, number>();
  readonly #trying = new Map<string, { readonly over: Promise<void>; readonly abort: AbortController }>();
  readonly #back = new Set<ServerName>();
  #subscription: { unsubscribe(): void } | undefined;
  #timer: Timer | undefined;
  #working: Promise<void> | undefined;
  #isRunning = false;

  constructor(needs: Needs) {
    this.#needs = needs;
    this.#store = new OwedLeaveStore(needs.db);
  }

  /** Goes on with what was owed before. Whoever starts it stops it. */
  start(): void {
    this.#isRunning = true;
    this.#subscription = this.#needs.destinations?.onRecovered?.((server) => {
      this.#back.add(server);
      this.#work();
    });
    this.#work();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#subscription?.unsubscribe();
    this.#timer?.cancel();
    for (const { abort } of this.#trying.values()) abort.abort();
    await this.#working;
  }

  /** In the write that puts an end to the invite or knock here. */
  put(tx: WriteTx, owed: Omit<OwedLeave, 'sinceTs' | 'tries' | 'retryAt'>): void {
    const now = this.#needs.clock.now();
    this.#store.put(tx, { ...owed, sinceTs: now, tries: 0, retryAt: now + this.#waitAfter(0) }, KEPT);
    tx.onCommit(() => this.#arm());
  }

  /** While a user tries to get into a room, nobody is told that they want nothing of it. */
  async hold(whose: Whose, enter: () => Promise<void>): Promise<void> {
    const key = keyOf(whose);
    this.#held.set(key, (this.#held.get(key) ?? 0) + 1);
    try {
      const trying = this.#trying.get(key);
      trying?.abort.abort();
      await trying?.over;
      await enter();
    } finally {
      const others = (this.#held.get(key) ?? 1) - 1;
      if (others > 0) this.#held.set(key, others);
      else this.#held.delete(key);
    }
  }

  /** What was done, or meant otherwise, since the copy was made is not known any more. */
  afterRestore(tx: WriteTx): void {
    this.#store.removeAll(tx);
  }

  #work(): void {
    if (!this.#isRunning || this.#working !== undefined) return;
    this.#working = this.#workOff()
      .catch((error: unknown) => {
        this.#needs.log.error({ error }, 'other servers could not be told of invites that were declined');
        // A disk does not stay full for ever.
        return error instanceof StorageError;
      })
      .then((isToWait) => {
        this.#working = undefined;
        this.#arm(isToWait === true ? MINUTE : 0);
      });
  }

  async #workOff(): Promise<void> {
    const { db, clock } = this.#needs;
    while (this.#isRunning) {
      if (this.#back.size > 0) {
        const back = [...this.#back];
        this.#back.clear();
        if (this.#store.findNext() !== undefined) db.write((tx) => this.#store.hasten(tx, back, clock.now()));
      }
      const due = this.#store.listDue(clock.now(), AT_ONCE);
      if (due.length === 0) return;
      await Promise.all(due.map((owed) => this.#try(owed)));
    }
  }

  #arm(leastMs = 0): void {
    if (!this.#isRunning || this.#working !== undefined) return;
    this.#timer?.cancel();
    const { clock } = this.#needs;
    const next = this.#store.findNext();
    if (next === undefined && this.#back.size === 0) return;
    const wait = this.#back.size > 0 ? 0 : Math.min(LOOK_MS, Math.max(0, (next ?? 0) - clock.now()));
    this.#timer = clock.after(Math.max(leastMs, wait), () => this.#work());
  }

  async #try(owed: OwedLeave): Promise<void> {
    const abort = new AbortController();
    const key = keyOf(owed);
    const over = this.#tryOnce(owed, abort.signal);
    this.#trying.set(key, { over: over.catch(() => undefined), abort });
    try {
      await over;
    } finally {
      this.#trying.delete(key);
    }
  }

  /** Takes the leave off the list, or puts it to a later time. */
  async #tryOnce(owed: OwedLeave, signal: AbortSignal): Promise<void> {
    const { db, clock, log, destinations } = this.#needs;
    const { roomId, userId, sinceTs, tries } = owed;
    const now = clock.now();
    const end = (why: string): void => {
      log.info({ roomId, userId, tries, why }, 'a declined invite, or a knock taken back, is off the list');
      db.write((tx) => this.#store.remove(tx, owed));
    };
    if (!this.#stands(owed)) return end('the user has another membership');
    if (now - sinceTs > KEPT_MS) return end('no server of the room answered for too long');
    const left = this.#held.has(keyOf(owed)) ? undefined : await this.#tell(owed, signal);
    if (left === 'told') return end('told');
    if (left?.length === 0) return end('the servers of the room want no such leave');
    // Stopped, it is as if it had not been tried.
    if (!this.#isRunning) return;
    const servers = left ?? owed.servers;
    const ready = Math.min(...servers.map((server) => destinations?.readyAt(server) ?? 0));
    const retryAt = Math.max(clock.now() + this.#waitAfter(tries), ready);
    db.write((tx) => this.#store.delay(tx, { ...owed, servers, tries: tries + 1, retryAt }));
  }

  /** Gives the servers that may still take it, if none did. */
  async #tell(owed: OwedLeave, signal: AbortSignal): Promise<'told' | readonly ServerName[]> {
    const { log } = this.#needs;
    const { roomId, userId } = owed;
    const left: ServerName[] = [];
    for (const server of owed.servers) {
      try {
        signal.throwIfAborted();
        const isStillMeant = (): boolean => !signal.aborted && this.#stands(owed);
        const event = await leaveThrough(this.#needs, server, owed, { ignoreBackoff: false, signal, isStillMeant });
        if (event !== undefined) return 'told';
        left.push(server);
      } catch (error) {
        if (isSettled(error)) continue;
        // What cannot be said at all, nobody will ever take.
        if (error instanceof MatrixError) return [];
        left.push(server);
        if (error instanceof FederationError || signal.aborted) continue;
        log.error({ roomId, userId, server, error }, 'a leave could not be made');
      }
    }
    return left;
  }

  /** Whether nothing came after the leave. Of a room that was removed, nothing is known. */
  #stands(owed: OwedLeave): boolean {
    const member = this.#needs.members.findMember(owed.roomId, owed.userId);
    return (member === undefined || member.eventId === owed.eventId) && this.#store.has(owed);
  }

  #waitAfter(tries: number): number {
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(tries, 20));
    // Those who were away together should not be asked about all rooms in one moment.
    return Math.round(wait * (0.75 + this.#needs.random.bytes(1).readUInt8() / 1024));
  }
}

function keyOf({ roomId, userId }: { readonly roomId: RoomId; readonly userId: UserId }): string {
  return `${roomId} ${userId}`;
}

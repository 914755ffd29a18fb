import { LRUCache } from 'lru-cache';
import { forbidden } from '../../matrix/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { Database, StreamPosition } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';

/** How long somebody may be typing without saying so again, in ms. */
const LONGEST_TIMEOUT_MS = 120_000;
/** What counts if the client names no timeout. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** How long a user of another server is believed to be typing, ms: their server says so again, or says that they stopped. */
const REMOTE_TIMEOUT_MS = 60_000;
/** Rooms remembered after everybody has stopped, so that each client hears of it once. */
const REMEMBERED_ROOMS = 2_000;

/** Is told what local users do, for other servers among others. */
export interface TypingSender {
  send(roomId: RoomId, userId: UserId, typing: boolean): void;
}

interface TypingRoom {
  /** When the list last changed. */
  readonly position: StreamPosition;
  readonly users: ReadonlySet<UserId>;
}

export interface TypingNeeds {
  readonly db: Pick<Database, 'advance'>;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly rooms: { isJoined(roomId: RoomId, userId: UserId): boolean };
  readonly sender?: TypingSender;
}

/** Who is typing where. Lives in memory only: after a restart nobody is. */
export class Typing {
  readonly #needs: TypingNeeds;
  /** Least recently changed first to go; a room in which somebody types is changed again before 2,000 others are. */
  readonly #rooms = new LRUCache<RoomId, TypingRoom>(atMost(REMEMBERED_ROOMS));
  readonly #timers = new Map<string, Timer>();

  constructor(needs: TypingNeeds) {
    this.#needs = needs;
  }

  /**
   * A local user starts (again), for `timeoutMs`, or stops typing.
   * @throws MatrixError M_FORBIDDEN if they are not in the room
   */
  set(roomId: RoomId, userId: UserId, typing: boolean, timeoutMs: number = DEFAULT_TIMEOUT_MS): void {
    if (!this.#needs.rooms.isJoined(roomId, userId)) throw forbidden('You are not in this room');
    if (!typing) {
      this.stop(roomId, userId);
      return;
    }
    this.#stopAfter(Math.min(Math.max(timeoutMs, 0), LONGEST_TIMEOUT_MS), roomId, userId);
    this.#change(roomId, userId, true);
    this.#needs.sender?.send(roomId, userId, true);
  }

  /** A user of another server starts (again) or stops, as that server says. Nothing comes of it if they are not in the room. */
  setRemote(roomId: RoomId, userId: UserId, typing: boolean): void {
    if (!typing) this.stop(roomId, userId);
    else if (this.#needs.rooms.isJoined(roomId, userId)) {
      this.#stopAfter(REMOTE_TIMEOUT_MS, roomId, userId);
      this.#change(roomId, userId, true);
    }
  }

  /** They stopped, went silent for too long, or left the room. */
  stop(roomId: RoomId, userId: UserId): void {
    const key = `${roomId} ${userId}`;
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
    const isLocal = serverNameOf(userId) === this.#needs.serverName;
    if (this.#change(roomId, userId, false) && isLocal) this.#needs.sender?.send(roomId, userId, false);
  }

  /** Rooms whose list changed in (since, now], as far as that is remembered, with the list as it is; it may be empty. */
  *listSince(since: StreamPosition, now: StreamPosition): IterableIterator<readonly [RoomId, ReadonlySet<UserId>]> {
    // Least recently changed last, so the first room that is too old ends the walk.
    for (const [roomId, room] of this.#rooms.entries()) {
      if (room.position <= since) return;
      if (room.position <= now) yield [roomId, room.users];
    }
  }

  listIn(roomId: RoomId): ReadonlySet<UserId> {
    return this.#rooms.peek(roomId)?.users ?? new Set();
  }

  cancelTimers(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #stopAfter(waitMs: number, roomId: RoomId, userId: UserId): void {
    const key = `${roomId} ${userId}`;
    this.#timers.get(key)?.cancel();
    this.#timers.set(
      key,
      this.#needs.clock.after(waitMs, () => this.stop(roomId, userId)),
    );
  }

  #change(roomId: RoomId, userId: UserId, typing: boolean): boolean {
    const users = new Set(this.listIn(roomId));
    if (users.has(userId) === typing) return false;
    if (typing) users.add(userId);
    else users.delete(userId);
    this.#rooms.set(roomId, { position: this.#needs.db.advance([`room:${roomId}`]), users });
    return true;
  }
}

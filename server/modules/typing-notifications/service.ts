import { LRUCache } from 'lru-cache';
import { forbidden } from '../../matrix/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { MembershipReader } from '../../rooms/types.ts';
import type { Database, StreamPosition } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';

/** How long somebody may be typing without saying so again, in ms. */
const LONGEST_TIMEOUT_MS = 120_000;
/** What counts if the client names no timeout. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** How long a user of another server is believed to be typing, ms: their server says so again, or says that they stopped. */
const REMOTE_TIMEOUT_MS = 60_000;
/** How often other servers hear again of somebody who goes on, ms: some of them believe it for half a minute only. */
const REPEAT_MS = 25_000;
/** Users of other servers who are shown to type in one room at the same time. */
const MAX_REMOTE_TYPISTS = 100;
/** Rooms remembered after everybody has stopped, so that each client hears of it once. */
const REMEMBERED_ROOMS = 2_000;

/** Is told what local users do. */
export interface TypingSender {
  send(roomId: RoomId, userId: UserId, typing: boolean): void;
}

/** Somebody who types. */
interface Typist {
  /** When they are taken to have stopped, by the clock that nobody sets, ms. */
  readonly end: number;
  /** When other servers were last told, by the same clock. */
  readonly toldAt: number;
  readonly timer: Timer;
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
  readonly rooms: Pick<MembershipReader, 'isJoined' | 'listLocalJoined'>;
  /** Hears each time that a client says it. */
  readonly sender?: TypingSender;
  /** Tells other servers: of changes, and from time to time of what goes on. */
  readonly servers?: TypingSender;
}

/** Who is typing where. Lives in memory only: after a restart nobody is. */
export class Typing {
  readonly #needs: TypingNeeds;
  /** Least recently changed first to go; a room in which somebody types is changed again before 2,000 others are. */
  readonly #rooms = new LRUCache<RoomId, TypingRoom>(atMost(REMEMBERED_ROOMS));
  readonly #typists = new Map<string, Typist>();

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
    this.#sustain(Math.min(Math.max(timeoutMs, 0), LONGEST_TIMEOUT_MS), roomId, userId);
    this.#needs.sender?.send(roomId, userId, true);
    if (this.#change(roomId, userId, true)) this.#needs.servers?.send(roomId, userId, true);
  }

  /** A user of another server starts (again) or stops, as that server says. Nothing comes of it if they are not in the room. */
  setRemote(roomId: RoomId, userId: UserId, typing: boolean): void {
    if (!typing) {
      this.stop(roomId, userId);
      return;
    }
    const typists = this.listIn(roomId);
    if (!typists.has(userId) && typists.size >= MAX_REMOTE_TYPISTS) return;
    if (!this.#isInRoom(roomId, userId)) return;
    this.#sustain(REMOTE_TIMEOUT_MS, roomId, userId);
    this.#change(roomId, userId, true);
  }

  /** They stopped, went silent for too long, or left the room. */
  stop(roomId: RoomId, userId: UserId): void {
    const key = keyOf(roomId, userId);
    this.#typists.get(key)?.timer.cancel();
    this.#typists.delete(key);
    if (!this.#change(roomId, userId, false) || !this.#isLocal(userId)) return;
    this.#needs.sender?.send(roomId, userId, false);
    this.#needs.servers?.send(roomId, userId, false);
  }

  /** Members of a room changed: whoever is not in it any more has stopped typing. */
  review(roomId: RoomId): void {
    for (const userId of this.listIn(roomId)) if (!this.#isInRoom(roomId, userId)) this.stop(roomId, userId);
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
    for (const { timer } of this.#typists.values()) timer.cancel();
    this.#typists.clear();
  }

  /** They type for so long from now on, unless they say so again. */
  #sustain(durationMs: number, roomId: RoomId, userId: UserId): void {
    const now = this.#needs.clock.monotonic();
    const { toldAt = now } = this.#typists.get(keyOf(roomId, userId)) ?? {};
    this.#wait(roomId, userId, { end: now + durationMs, toldAt });
  }

  #wait(roomId: RoomId, userId: UserId, { end, toldAt }: Omit<Typist, 'timer'>): void {
    const { clock, servers } = this.#needs;
    const key = keyOf(roomId, userId);
    this.#typists.get(key)?.timer.cancel();
    const next = this.#isLocal(userId) ? Math.min(end, toldAt + REPEAT_MS) : end;
    const timer = clock.after(next - clock.monotonic(), () => {
      const now = clock.monotonic();
      if (now >= end) {
        this.stop(roomId, userId);
        return;
      }
      if (now >= next) servers?.send(roomId, userId, true);
      this.#wait(roomId, userId, { end, toldAt: now >= next ? now : toldAt });
    });
    this.#typists.set(key, { end, toldAt, timer });
  }

  /** A room that nobody here is in any more says nothing of who is in it. */
  #isInRoom(roomId: RoomId, userId: UserId): boolean {
    const { rooms } = this.#needs;
    return rooms.isJoined(roomId, userId) && rooms.listLocalJoined(roomId).length > 0;
  }

  #isLocal(userId: UserId): boolean {
    return serverNameOf(userId) === this.#needs.serverName;
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

function keyOf(roomId: RoomId, userId: UserId): string {
  return `${roomId} ${userId}`;
}

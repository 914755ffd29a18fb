import type { EduSender } from '../../../federation/types.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { MembershipReader } from '../../../rooms/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import { type SaidPresence, toPresenceEdu } from '../edus.ts';
import type { Presence } from './presence.ts';

/** How long somebody is believed to be there of whom their server says no more, ms. */
const SILENCE_MS = 30 * 60_000;
/** How often other servers are told again of those who are there, ms: before they stop believing it. */
const REPEAT_MS = 25 * 60_000;
/** How often those who have gone silent are looked for, ms. */
const SWEEP_MS = 60_000;
/** Users of other servers of whom it is remembered when they were heard of. */
const MAX_REMEMBERED = 20_000;

export interface RemotePresenceNeeds {
  readonly serverName: ServerName;
  readonly presence: Presence;
  readonly clock: Clock;
  readonly rooms: Pick<MembershipReader, 'listRoomsOf' | 'listServers' | 'listLocalJoined'>;
  /** Absent on a server that does not federate. */
  readonly edus?: Pick<EduSender, 'send'> | undefined;
}

/** Presence between servers: what others say of their users, and what they are told of ours. */
export class RemotePresence {
  readonly #needs: RemotePresenceNeeds;
  /** Users of other servers who are there, and when that was last said; the longest silent first. */
  readonly #heardOf = new Map<UserId, number>();
  /** Local users who are there, and when other servers were last told. */
  readonly #told = new Map<UserId, number>();
  #timer: Timer | undefined;

  constructor(needs: RemotePresenceNeeds) {
    this.#needs = needs;
  }

  start(): void {
    const { presence, clock, edus } = this.#needs;
    if (presence.settings.mode !== 'on' || edus === undefined) return;
    // Who was there before a restart is given the whole time to be heard of again.
    for (const userId of presence.listRemotePresent()) this.#heardOf.set(userId, clock.now());
    this.#schedule();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Their server says how a user is. Of users nobody here shares a room with, nothing is kept. */
  accept({ userId, lastActiveAgo, ...said }: SaidPresence): void {
    const { presence, clock } = this.#needs;
    if (presence.settings.mode !== 'on' || !this.#isSeenHere(userId)) return;
    this.#heardOf.delete(userId);
    if (said.state !== 'offline') {
      this.#heardOf.set(userId, clock.now());
      if (this.#heardOf.size > MAX_REMEMBERED) this.#forgetLongestSilent();
    }
    const lastActiveTs = lastActiveAgo === undefined ? undefined : Math.max(0, Math.round(clock.now() - lastActiveAgo));
    presence.putRemote(userId, { ...said, lastActiveTs });
  }

  /** Tells the servers of everybody who sees a local user. */
  tell(userId: UserId): void {
    const { presence, clock, rooms, edus } = this.#needs;
    if (edus === undefined || presence.settings.mode !== 'on') return;
    const servers = new Set<ServerName>();
    for (const { roomId } of rooms.listRoomsOf(userId, ['join'])) {
      if (presence.settings.excludedRooms.has(roomId)) continue;
      for (const server of rooms.listServers(roomId)) servers.add(server);
    }
    if (presence.find(userId)?.state === 'offline') this.#told.delete(userId);
    else this.#told.set(userId, clock.now());
    this.#send(servers, userId);
  }

  /** Somebody joined: those who are new to one another are told who is there (spec: "Presence", server behaviour). */
  joined(roomId: RoomId, userId: UserId): void {
    const { presence, serverName, rooms } = this.#needs;
    if (presence.settings.mode !== 'on' || presence.settings.excludedRooms.has(roomId)) return;
    const server = serverNameOf(userId);
    if (server === serverName) {
      if (this.#isThere(userId)) this.#send(rooms.listServers(roomId), userId);
      return;
    }
    for (const local of rooms.listLocalJoined(roomId)) if (this.#isThere(local)) this.#send([server], local);
  }

  #isThere(userId: UserId): boolean {
    const state = this.#needs.presence.find(userId)?.state;
    return state !== undefined && state !== 'offline';
  }

  #send(servers: Iterable<ServerName>, userId: UserId): void {
    const { presence, edus } = this.#needs;
    edus?.send(servers, toPresenceEdu(userId, presence.describe(userId)), userId);
  }

  #isSeenHere(userId: UserId): boolean {
    const { presence, rooms } = this.#needs;
    return rooms
      .listRoomsOf(userId, ['join'])
      .some(({ roomId }) => !presence.settings.excludedRooms.has(roomId) && rooms.listLocalJoined(roomId).length > 0);
  }

  #schedule(): void {
    this.#timer = this.#needs.clock.after(SWEEP_MS, () => {
      this.#sweep();
      this.#schedule();
    });
  }

  #sweep(): void {
    const { clock } = this.#needs;
    const now = clock.now();
    for (const [userId, ts] of this.#heardOf) {
      // The longest silent come first.
      if (now - ts < SILENCE_MS) break;
      this.#gone(userId);
    }
    for (const [userId, ts] of this.#told) if (now - ts >= REPEAT_MS) this.tell(userId);
  }

  #forgetLongestSilent(): void {
    const [userId] = this.#heardOf.keys();
    if (userId !== undefined) this.#gone(userId);
  }

  #gone(userId: UserId): void {
    const { presence } = this.#needs;
    this.#heardOf.delete(userId);
    const known = presence.find(userId);
    if (known === undefined) return;
    const { statusMsg, lastActiveTs } = known;
    presence.putRemote(userId, { state: 'offline', statusMsg, lastActiveTs, currentlyActive: false });
  }
}

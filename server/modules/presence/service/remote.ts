import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { EduSender } from '../../../federation/types.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { MembershipReader } from '../../../rooms/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import { atMost } from '../../../util/lru.ts';
import { type SaidPresence, toPresenceEdu } from '../edus.ts';
import type { PresenceStore } from '../store.ts';
import type { Presence } from './presence.ts';

/** How long somebody is believed to be there of whom their server says no more, ms. */
const SILENCE_MS = 30 * 60_000;
/** How often other servers are told again of those who are there, ms: before they stop believing it. */
const REPEAT_MS = 25 * 60_000;
/** How often those who have gone silent are looked for, ms. */
const SWEEP_MS = 60_000;
/** Users of other servers of whom it is remembered when they were heard of. */
const MAX_REMEMBERED = 20_000;
/** What is said of somebody before they, or whoever sees them here, is known to have joined: how much is kept. */
const MAX_EARLY = 1_000;
/** How long, ms; a join of a large room takes its time. */
const EARLY_MS = 5 * 60_000;
/** Servers gathered, or users looked at, before others have their turn. */
const SERVERS_AT_ONCE = 2_000;
const USERS_AT_ONCE = 50;

export interface RemotePresenceNeeds {
  readonly serverName: ServerName;
  readonly presence: Presence;
  readonly store: Pick<PresenceStore, 'listUsers'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly rooms: Pick<MembershipReader, 'listRoomsOf' | 'listServers' | 'listLocalJoined' | 'isJoined'>;
  /** Absent on a server that does not federate. */
  readonly edus?: Pick<EduSender, 'send'> | undefined;
}

type RemoteState = Parameters<Presence['putRemote']>[1];

/** Presence between servers: what others say of their users, and what they are told of ours. */
export class RemotePresence {
  readonly #needs: RemotePresenceNeeds;
  /** Users of other servers who are there, and when that was last said; the longest silent first. */
  readonly #heardOf = new Map<UserId, number>();
  /** Local users who are there, and when other servers were last told. */
  readonly #told = new Map<UserId, number>();
  /** What was said of users whom nobody here was seen to share a room with, and when. */
  readonly #early = new LRUCache<UserId, { readonly state: RemoteState; readonly at: number }>(atMost(MAX_EARLY));
  /** Local users of whom servers are being told; those to tell of once more after that. */
  readonly #telling = new Map<UserId, 'once' | 'again'>();
  /** A room was left by all of ours: some users may be none of our business any more. */
  #hasStrangers = false;
  #timer: Timer | undefined;
  #isStopped = false;

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
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /**
   * Their server says how a user is. Of users nobody here shares a room with, it is kept for some minutes in case that
   * their join, or that of one of ours, is still on its way.
   */
  accept({ userId, lastActiveAgo, ...said }: SaidPresence): void {
    const { presence, clock } = this.#needs;
    if (presence.settings.mode !== 'on') return;
    const lastActiveTs = lastActiveAgo === undefined ? undefined : Math.max(0, Math.round(clock.now() - lastActiveAgo));
    const state = { ...said, lastActiveTs };
    if (this.#isSeenHere(userId)) this.#put(userId, state);
    else this.#early.set(userId, { state, at: clock.monotonic() });
  }

  /** Tells the servers of everybody who sees a local user. */
  tell(userId: UserId): void {
    const { presence, clock, edus } = this.#needs;
    if (edus === undefined || presence.settings.mode !== 'on') return;
    if (this.#isThere(userId)) this.#told.set(userId, clock.now());
    else this.#told.delete(userId);
    if (this.#telling.has(userId)) this.#telling.set(userId, 'again');
    else void this.#tellAll(userId);
  }

  /** Somebody joined: those who are new to one another are told who is there (spec: "Presence", server behaviour). */
  joined(roomId: RoomId, userId: UserId): void {
    const { presence, rooms } = this.#needs;
    if (presence.settings.mode !== 'on' || presence.settings.excludedRooms.has(roomId)) return;
    if (this.#isLocal(userId)) {
      if (this.#isThere(userId)) this.#send(rooms.listServers(roomId), userId);
      for (const early of this.#early.keys()) if (rooms.isJoined(roomId, early)) this.#takeEarly(early);
      return;
    }
    const server = serverNameOf(userId);
    for (const local of rooms.listLocalJoined(roomId)) if (this.#isThere(local)) this.#send([server], local);
    this.#takeEarly(userId);
  }

  /** Somebody is not in a room any more. */
  left(roomId: RoomId, userId: UserId): void {
    const { presence, rooms } = this.#needs;
    if (this.#isLocal(userId)) {
      if (rooms.listLocalJoined(roomId).length === 0) this.#hasStrangers = true;
    } else if (!this.#isSeenHere(userId)) {
      this.#heardOf.delete(userId);
      this.#early.delete(userId);
      if (presence.find(userId) !== undefined) presence.forget([userId]);
    }
  }

  #takeEarly(userId: UserId): void {
    const early = this.#early.peek(userId);
    if (early === undefined || !this.#isSeenHere(userId)) return;
    this.#early.delete(userId);
    if (this.#needs.clock.monotonic() - early.at < EARLY_MS) this.#put(userId, early.state);
  }

  #put(userId: UserId, state: RemoteState): void {
    const { presence, clock } = this.#needs;
    this.#early.delete(userId);
    this.#heardOf.delete(userId);
    if (state.state !== 'offline') {
      this.#heardOf.set(userId, clock.now());
      if (this.#heardOf.size > MAX_REMEMBERED) this.#forgetLongestSilent();
    }
    presence.putRemote(userId, state);
  }

  async #tellAll(userId: UserId): Promise<void> {
    try {
      do {
        this.#telling.set(userId, 'once');
        const servers = await this.#gatherServers(userId);
        if (!this.#isStopped) this.#send(servers, userId);
      } while (this.#telling.get(userId) === 'again');
    } catch (error) {
      // The next change, or the repetition, tries again.
      this.#needs.log.error({ error }, 'other servers could not be told who is there');
    } finally {
      this.#telling.delete(userId);
    }
  }

  /** The servers in all rooms of somebody; in large rooms there are thousands. */
  async #gatherServers(userId: UserId): Promise<ReadonlySet<ServerName>> {
    const { presence, rooms } = this.#needs;
    const servers = new Set<ServerName>();
    let looked = 0;
    for (const { roomId } of rooms.listRoomsOf(userId, ['join'])) {
      if (looked > SERVERS_AT_ONCE) {
        await nextTurn();
        looked = 0;
      }
      // They may have left meanwhile, or the server's last user may.
      if (presence.settings.excludedRooms.has(roomId) || !rooms.isJoined(roomId, userId)) continue;
      for (const server of rooms.listServers(roomId)) {
        servers.add(server);
        looked += 1;
      }
    }
    return servers;
  }

  #isThere(userId: UserId): boolean {
    const state = this.#needs.presence.find(userId)?.state;
    return state !== undefined && state !== 'offline';
  }

  #isLocal(userId: UserId): boolean {
    return serverNameOf(userId) === this.#needs.serverName;
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
      if (this.#hasStrangers) void this.#forgetStrangers();
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

  /** Users of other servers whom nobody here shares a room with any more are nobody's business. */
  async #forgetStrangers(): Promise<void> {
    const { presence, store, log } = this.#needs;
    this.#hasStrangers = false;
    try {
      let after = '';
      for (;;) {
        const users = store.listUsers(after, USERS_AT_ONCE);
        const last = users.at(-1);
        if (last === undefined) return;
        const strangers = users.filter((userId) => !this.#isLocal(userId) && !this.#isSeenHere(userId));
        for (const userId of strangers) this.#heardOf.delete(userId);
        presence.forget(strangers);
        after = last;
        await nextTurn();
        if (this.#isStopped) return;
      }
    } catch (error) {
      this.#hasStrangers = true;
      log.warn({ error }, 'the presence of users who are not seen any more could not be forgotten');
    }
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

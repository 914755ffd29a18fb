import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import { forbidden } from '../../../matrix/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { MembershipReader } from '../../../rooms/types.ts';
import { type Database, STREAM_START, type StreamPosition, type WriteTx } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { PresenceState, PresenceStore } from '../store.ts';
import { MAX_SHOWN, PresenceBoard, type ShownPresence } from './board.ts';
import { type PresenceTimes, UserDevices } from './devices.ts';

/** Everybody in all the user's rooms is sent it, so it cannot be a novel. Bytes; the spec leaves it to servers. */
export const MAX_STATUS_BYTES = 4096;
/** How long changes wait to be written down together, ms. */
const WRITE_DELAY_MS = 5_000;

export interface PresenceSettings extends PresenceTimes {
  /** `untracked`: what clients do and say changes nothing. `off`: besides, nobody is shown to be there. */
  readonly mode: 'on' | 'off' | 'untracked';
  /** A first sync names those who are away, too. */
  readonly offlineUsersOnSync: boolean;
  /** Being in these together does not show people each other's presence. */
  readonly excludedRooms: ReadonlySet<RoomId>;
}

/** Is told what others are shown of local users. */
export interface PresenceSender {
  send(userId: UserId, presence: ShownPresence): void;
}

export interface PresenceNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly settings: PresenceSettings;
  readonly rooms: Pick<MembershipReader, 'shareRoom' | 'listMutualRooms' | 'listRoomsOf' | 'isJoined' | 'listMembers'>;
  readonly profiles: {
    find(userId: UserId): { readonly displayName?: string; readonly avatarUrl?: string } | undefined;
  };
  /** How often a user may become something else. */
  readonly limit: RateLimit;
  readonly sender?: PresenceSender | undefined;
}

interface Present {
  readonly devices: UserDevices;
  timer: Timer | undefined;
  /** When the timer fires, ms since the epoch. */
  timerTs: number;
}

const NEVER_SEEN: ShownPresence = {
  state: 'offline',
  statusMsg: undefined,
  lastActiveTs: undefined,
  currentlyActive: false,
  position: STREAM_START,
};

type Who = Pick<Requester, 'userId' | 'deviceId' | 'rateLimited'>;

/** Who is there (spec: "Presence"). Devices live in memory; what others were told is written down now and then. */
export class Presence {
  readonly #needs: PresenceNeeds & { readonly store: PresenceStore };
  readonly #board = new PresenceBoard();
  /** Users with devices that are there, or only just went. */
  readonly #present = new Map<UserId, Present>();
  readonly #unwritten = new Set<UserId>();
  #writeTimer: Timer | undefined;

  constructor(needs: PresenceNeeds & { readonly store: PresenceStore }) {
    this.#needs = needs;
  }

  get settings(): PresenceSettings {
    return this.#needs.settings;
  }

  /** Takes up what others were told before a restart. Who was there then has the usual time to show up again. */
  start(): void {
    const { store, clock, settings } = this.#needs;
    if (settings.mode === 'off') return;
    for (const { userId, presence } of store.listLatest(MAX_SHOWN).toReversed()) {
      const isLocal = this.#isLocal(userId);
      // Where other servers are not listened to, they would never be heard to say that somebody has gone.
      const state = isLocal || settings.mode === 'on' ? presence.state : 'offline';
      this.#board.show(userId, { ...presence, state, currentlyActive: false });
      if (!isLocal || state === 'offline' || settings.mode !== 'on') continue;
      const present = this.#enter(userId, presence.lastActiveTs);
      present.devices.declare('', state, clock.now(), { isActivity: false });
      present.devices.lastActiveTs = presence.lastActiveTs;
      this.#schedule(userId, present, clock.now() + settings.syncOnlineTimeoutMs);
    }
  }

  stop(): void {
    for (const { timer } of this.#present.values()) timer?.cancel();
    this.#writeTimer?.cancel();
    this.#tryWriteDown();
  }

  /** Users of other servers who were shown to be there. */
  listRemotePresent(): UserId[] {
    const present: UserId[] = [];
    for (const [userId, { state }] of this.#board.listSince(STREAM_START, this.#needs.db.position())) {
      if (state !== 'offline' && !this.#isLocal(userId)) present.push(userId);
    }
    return present;
  }

  /** What another server says of one of its users. */
  putRemote(userId: UserId, said: Omit<ShownPresence, 'position'>): void {
    const known = this.#board.find(userId);
    const shown = known ?? this.find(userId) ?? NEVER_SEEN;
    const lastActiveTs = said.lastActiveTs ?? shown.lastActiveTs;
    const isSame =
      said.state === shown.state &&
      said.statusMsg === shown.statusMsg &&
      said.currentlyActive === shown.currentlyActive;
    const isAsActive =
      said.currentlyActive ||
      Math.abs((lastActiveTs ?? 0) - (shown.lastActiveTs ?? 0)) < this.#needs.settings.lastActiveGranularityMs;
    // That they did something is news only while nobody thinks that they are at it, and hardly so if it was just before.
    if (known === undefined || !isSame || !isAsActive) this.#tell(userId, { ...shown, ...said, lastActiveTs });
    else if (lastActiveTs !== undefined) this.#board.amend(userId, lastActiveTs);
  }

  /** Nobody here may know any more how these users of other servers are. */
  forget(userIds: readonly UserId[]): void {
    if (userIds.length === 0) return;
    const { db, store } = this.#needs;
    for (const userId of userIds) {
      this.#board.forget(userId);
      this.#unwritten.delete(userId);
    }
    db.write((tx) => {
      for (const userId of userIds) store.remove(tx, userId);
    });
  }

  /** What others are told of a user. */
  describe(userId: UserId): JsonObject {
    return this.#describe(this.find(userId) ?? NEVER_SEEN);
  }

  /** Whether the viewer may see somebody's presence. */
  sees(viewer: UserId, userId: UserId): boolean {
    const { rooms, settings } = this.#needs;
    if (viewer === userId) return true;
    if (settings.excludedRooms.size === 0) return rooms.shareRoom(viewer, userId);
    return rooms.listMutualRooms(viewer, userId).some((roomId) => !settings.excludedRooms.has(roomId));
  }

  /** Whether a user is seen by whoever looks into a room. */
  isSeenIn(roomId: RoomId, userId: UserId): boolean {
    return !this.#needs.settings.excludedRooms.has(roomId) && this.#needs.rooms.isJoined(roomId, userId);
  }

  /** The users who are seen by whoever looks into a room. */
  listSeenIn(roomId: RoomId): UserId[] {
    if (this.#needs.settings.excludedRooms.has(roomId)) return [];
    return this.#needs.rooms.listMembers(roomId, 'join').map(({ userId }) => userId);
  }

  /** What is known of a user: undefined for somebody nobody was told of. */
  find(userId: UserId): ShownPresence | undefined {
    if (this.#needs.settings.mode === 'off') return undefined;
    const shown = this.#board.find(userId);
    if (shown === undefined) {
      const stored = this.#needs.store.find(userId);
      return stored === undefined ? undefined : { ...stored, currentlyActive: false };
    }
    // What they did since others were told does not change what these think, but is known.
    const lastActiveTs = this.#present.get(userId)?.devices.lastActiveTs ?? shown.lastActiveTs;
    return lastActiveTs === shown.lastActiveTs ? shown : { ...shown, lastActiveTs };
  }

  /** Whose presence changed in (since, now], and to what; the latest first. */
  listSince(since: StreamPosition, now: StreamPosition): Iterable<readonly [UserId, ShownPresence]> {
    return this.#board.listSince(since, now);
  }

  /** @throws MatrixError M_FORBIDDEN if the viewer may not see it */
  read(viewer: UserId, userId: UserId): JsonObject {
    if (!this.sees(viewer, userId)) throw forbidden('You are not allowed to see their presence');
    return this.#describe(this.find(userId) ?? NEVER_SEEN);
  }

  /** As an event for /sync. */
  toEvent(userId: UserId, presence: ShownPresence = NEVER_SEEN): JsonObject {
    const { displayName, avatarUrl } = this.#needs.profiles.find(userId) ?? {};
    return {
      type: 'm.presence',
      sender: userId,
      content: {
        ...this.#describe(presence),
        ...(displayName === undefined ? {} : { displayname: displayName }),
        ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
      },
    };
  }

  /**
   * A device says how its user is; without a message, they have none. Survives a crash once it is acknowledged.
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  set(who: Who, state: PresenceState, statusMsg: string | undefined): void {
    const { settings, limit, clock } = this.#needs;
    if (settings.mode !== 'on') return;
    limit.checkFor(who, who.userId);
    const present = this.#enter(who.userId);
    present.devices.declare(who.deviceId ?? '', state, clock.now(), { isActivity: true });
    this.#review(who.userId, present, { statusMsg: statusMsg === '' ? undefined : statusMsg });
    this.#writeDown();
  }

  /**
   * A device asks for news. `asked` is what it wants to count as (undefined: online, without anybody having done
   * something). Returns what to call when the request is over. Never refuses: a change that comes too soon is left out.
   */
  beginSync(who: Who, asked: PresenceState | undefined): () => void {
    const { settings, clock } = this.#needs;
    // Spec: GET /sync, set_presence: with "offline" the request has no effect on presence.
    if (settings.mode !== 'on' || asked === 'offline') return () => {};
    const { userId } = who;
    const deviceId = who.deviceId ?? '';
    const present = this.#enter(userId);
    const { devices } = present;
    const declared = this.#mayBecome(who, devices.declaredBy(deviceId), asked ?? 'online');
    devices.declare(deviceId, declared, clock.now(), { isActivity: asked === 'online' });
    devices.beginWaiting(deviceId, clock.now());
    this.#review(userId, present);
    return () => {
      devices.endWaiting(deviceId, clock.now());
      this.#review(userId, present);
    };
  }

  /** A local user did something others notice. Of one who is not seen to be there, nothing is said. */
  active(userId: UserId): void {
    const present = this.#present.get(userId);
    if (present === undefined || present.devices.review(this.#needs.clock.now()).state === 'offline') return;
    present.devices.act(this.#needs.clock.now());
    this.#review(userId, present);
  }

  /** Their name or picture is another: spec, "Events on Change of Profile Information". */
  faceChanged(userId: UserId): void {
    const shown = this.find(userId);
    if (shown !== undefined) this.#tell(userId, shown);
  }

  /** The account is new: making it was the first thing its user did. */
  registered(tx: WriteTx, userId: UserId): void {
    const { store, clock } = this.#needs;
    if (store.find(userId) !== undefined) return;
    store.put(tx, userId, { ...NEVER_SEEN, lastActiveTs: clock.now(), position: tx.nextPosition() });
  }

  /** The account is closed. */
  remove(tx: WriteTx, userId: UserId): void {
    const shown = this.#board.find(userId);
    this.#present.get(userId)?.timer?.cancel();
    this.#present.delete(userId);
    if (shown !== undefined) this.#tell(userId, { ...NEVER_SEEN, lastActiveTs: shown.lastActiveTs });
    this.#unwritten.delete(userId);
    this.#needs.store.remove(tx, userId);
  }

  /** A limit must not end a request for news, so a change beyond it waits for the next one. */
  #mayBecome(who: Who, was: PresenceState, asked: PresenceState): PresenceState {
    if (was === asked || !who.rateLimited) return asked;
    // Another device that is as present already makes no difference to anybody.
    if (this.#board.find(who.userId)?.state === asked) return asked;
    return this.#needs.limit.tryTake(who.userId) ? asked : was;
  }

  #enter(userId: UserId, lastActiveTs = this.find(userId)?.lastActiveTs): Present {
    const known = this.#present.get(userId);
    if (known !== undefined) return known;
    const present: Present = {
      devices: new UserDevices(this.#needs.settings, lastActiveTs),
      timer: undefined,
      timerTs: Number.POSITIVE_INFINITY,
    };
    this.#present.set(userId, present);
    return present;
  }

  /** Works out what the user's devices come to, and tells others if they would notice. */
  #review(userId: UserId, present: Present, said: { readonly statusMsg?: string | undefined } = {}): void {
    // A request may end after its user's account was closed.
    if (this.#present.get(userId) !== present) return;
    const { devices } = present;
    const { state, currentlyActive, reviewTs } = devices.review(this.#needs.clock.now());
    const shown = this.#board.find(userId) ?? this.find(userId) ?? NEVER_SEEN;
    const statusMsg = 'statusMsg' in said ? said.statusMsg : shown.statusMsg;
    const changed = state !== shown.state || currentlyActive !== shown.currentlyActive || statusMsg !== shown.statusMsg;
    if (changed)
      this.#tell(userId, { ...shown, state, currentlyActive, statusMsg, lastActiveTs: devices.lastActiveTs });
    if (devices.isEmpty) {
      present.timer?.cancel();
      this.#present.delete(userId);
    } else if (reviewTs !== undefined) {
      this.#schedule(userId, present, reviewTs);
    }
  }

  #schedule(userId: UserId, present: Present, atTs: number): void {
    // A timer that comes too early does no harm: it looks, and sets the next one.
    if (present.timer !== undefined && present.timerTs <= atTs) return;
    present.timer?.cancel();
    present.timerTs = atTs;
    present.timer = this.#needs.clock.after(Math.max(1, atTs - this.#needs.clock.now()), () => {
      present.timer = undefined;
      this.#review(userId, present);
    });
  }

  #tell(userId: UserId, presence: ShownPresence): void {
    const { db, rooms, settings, sender } = this.#needs;
    const before = this.#board.find(userId)?.state ?? 'offline';
    const keys = [`user:${userId}`];
    for (const { roomId } of rooms.listRoomsOf(userId, ['join'])) {
      if (!settings.excludedRooms.has(roomId)) keys.push(`room:${roomId}`);
    }
    const told = { ...presence, position: db.advance(keys) };
    this.#board.show(userId, told);
    if (this.#isLocal(userId)) sender?.send(userId, told);
    this.#unwritten.add(userId);
    // Whoever came must be known to have been there, or after a crash nobody would be told that they went.
    if (before === 'offline' && presence.state !== 'offline') this.#tryWriteDown();
    else this.#writeTimer ??= this.#needs.clock.after(WRITE_DELAY_MS, () => this.#tryWriteDown());
  }

  #isLocal(userId: UserId): boolean {
    return serverNameOf(userId) === this.#needs.serverName;
  }

  #tryWriteDown(): void {
    try {
      this.#writeDown();
    } catch (error) {
      // Nothing that was acknowledged is lost; the next change tries again.
      this.#needs.log.warn({ error }, 'presence could not be stored');
    }
  }

  #writeDown(): void {
    this.#writeTimer?.cancel();
    this.#writeTimer = undefined;
    if (this.#unwritten.size === 0) return;
    const { db, store } = this.#needs;
    const users = [...this.#unwritten];
    db.write((tx) => {
      for (const userId of users) {
        const presence = this.find(userId);
        if (presence !== undefined) store.put(tx, userId, presence);
      }
      tx.onRollback(() => users.forEach((userId) => this.#unwritten.add(userId)));
    });
    this.#unwritten.clear();
  }

  #describe({ state, statusMsg, lastActiveTs, currentlyActive }: ShownPresence): JsonObject {
    return {
      presence: state,
      ...(lastActiveTs === undefined ? {} : { last_active_ago: Math.max(0, this.#needs.clock.now() - lastActiveTs) }),
      ...(statusMsg === undefined ? {} : { status_msg: statusMsg }),
      ...(state === 'online' ? { currently_active: currentlyActive } : {}),
    };
  }
}

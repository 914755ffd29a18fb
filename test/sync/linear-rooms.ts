import { type StateKey, stateKeyOf } from '../../server/matrix/events/event.ts';
import type { DeviceId, EventId, RoomId, ServerName, UserId } from '../../server/matrix/identifiers.ts';
import { localpartOf, serverNameOf } from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../server/matrix/json.ts';
import { DEFAULT_ROOM_VERSION, roomVersions, type RoomVersion } from '../../server/matrix/room-versions.ts';
import type {
  EventReader,
  Membership,
  MembershipReader,
  PersistedEvent,
  RoomMember,
  RoomState,
  StateReader,
  Timeline,
  TimelinePage,
  TimelineToken,
  Visibility,
} from '../../server/rooms/types.ts';
import type { Database, StreamPosition } from '../../server/storage/types.ts';
import type { Clock } from '../../server/util/clock.ts';

type Keys = ReadonlyMap<StateKey, EventId>;

interface Kept {
  event: PersistedEvent;
  readonly before: Keys;
  readonly after: Keys;
}

interface Room {
  readonly version: RoomVersion;
  readonly kept: Kept[];
  state: Keys;
  readonly members: Map<UserId, RoomMember>;
  readonly invites: Map<UserId, JsonObject[]>;
}

interface Change {
  readonly roomId: RoomId;
  readonly before: Membership | undefined;
  readonly after: RoomMember;
}

export interface Sent {
  readonly roomId: RoomId;
  readonly type: string;
  readonly sender: UserId;
  readonly content: JsonObject;
  readonly stateKey?: string;
  readonly redacts?: EventId;
  readonly transaction?: { readonly deviceId: DeviceId; readonly transactionId: string };
}

/**
 * Rooms whose graph is a straight line, all in memory, by the letter of the interfaces: no rule judges what is sent, so a
 * test can make any history it likes. Positions and wake-ups come from the real database.
 */
export class LinearRooms implements EventReader, StateReader, MembershipReader, Timeline, Visibility {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #rooms = new Map<RoomId, Room>();
  readonly #byId = new Map<EventId, Kept>();
  readonly #changes = new Map<UserId, Change[]>();
  readonly #transactions = new Map<string, string>();
  #count = 0;

  constructor(needs: { db: Database; clock: Clock }) {
    this.#db = needs.db;
    this.#clock = needs.clock;
  }

  // What tests do

  /** A room with its create event, its creator and what is given of further state. */
  create(creator: UserId, options: { name?: string; version?: string; historyVisibility?: string } = {}): RoomId {
    this.#count += 1;
    const roomId = `!room${this.#count}:${serverNameOf(creator)}` as RoomId;
    const version = roomVersions.get(options.version ?? DEFAULT_ROOM_VERSION);
    if (version === undefined) throw new Error('no such room version');
    this.#rooms.set(roomId, { version, kept: [], state: new Map(), members: new Map(), invites: new Map() });
    const state = (type: string, content: JsonObject): unknown => this.state(roomId, creator, type, content);
    state('m.room.create', { room_version: version.id });
    this.member(roomId, creator, 'join');
    state('m.room.join_rules', { join_rule: 'public' });
    if (options.historyVisibility !== undefined) {
      state('m.room.history_visibility', { history_visibility: options.historyVisibility });
    }
    if (options.name !== undefined) state('m.room.name', { name: options.name });
    return roomId;
  }

  say(roomId: RoomId, sender: UserId, body: string): PersistedEvent {
    return this.send({ roomId, sender, type: 'm.room.message', content: { msgtype: 'm.text', body } });
  }

  state(roomId: RoomId, sender: UserId, type: string, content: JsonObject, stateKey = ''): PersistedEvent {
    return this.send({ roomId, sender, type, content, stateKey });
  }

  /** Gives a user a membership; `by` is they themselves unless told. */
  member(
    roomId: RoomId,
    userId: UserId,
    membership: Membership,
    options: { by?: UserId; displayname?: string } = {},
  ): PersistedEvent {
    const displayname = options.displayname ?? localpartOf(userId);
    const content = { membership, displayname };
    return this.send({ roomId, sender: options.by ?? userId, type: 'm.room.member', content, stateKey: userId });
  }

  forget(roomId: RoomId, userId: UserId): void {
    const room = this.#room(roomId);
    const member = room.members.get(userId);
    if (member !== undefined) room.members.set(userId, { ...member, forgotten: true });
  }

  send(sent: Sent): PersistedEvent {
    return this.#db.write((tx) => {
      const { roomId, type, sender, content, stateKey } = sent;
      const room = this.#room(roomId);
      const position = tx.nextPosition();
      const eventId = `$event${position}` as EventId;
      const before = room.state;
      const key = stateKey === undefined ? undefined : stateKeyOf(type, stateKey);
      const after = key === undefined ? before : new Map([...before, [key, eventId]]);
      const last = room.kept.at(-1)?.event.eventId;
      const pduContent =
        sent.redacts !== undefined && room.version.redactsIn === 'content'
          ? { ...content, redacts: sent.redacts }
          : content;
      const event: PersistedEvent = {
        eventId,
        roomId,
        type,
        sender,
        stateKey,
        content: pduContent,
        originServerTs: this.#clock.now(),
        depth: room.kept.length + 1,
        prevEvents: last === undefined ? [] : [last],
        authEvents: [],
        redacts: sent.redacts,
        pdu: {
          type,
          sender,
          content: pduContent,
          room_id: roomId,
          depth: room.kept.length + 1,
          prev_events: last === undefined ? [] : [last],
          auth_events: [],
          hashes: { sha256: 'x' },
          signatures: {},
          origin_server_ts: this.#clock.now(),
          ...(stateKey === undefined ? {} : { state_key: stateKey }),
        },
        version: room.version,
        position,
        receivedTs: this.#clock.now(),
        verdict: 'accepted',
        outlier: false,
        redactedBy: undefined,
        replacesState: key === undefined ? undefined : before.get(key),
      };
      const kept = { event, before, after };
      room.kept.push(kept);
      room.state = after;
      this.#byId.set(eventId, kept);
      if (sent.transaction !== undefined) {
        this.#transactions.set(`${eventId} ${sent.transaction.deviceId}`, sent.transaction.transactionId);
      }
      if (type === 'm.room.member' && stateKey !== undefined) this.#applyMember(room, event, stateKey as UserId);
      const target = sent.redacts === undefined ? undefined : this.#byId.get(sent.redacts);
      if (target !== undefined) {
        const pruned = { ...target.event.pdu, content: {} };
        target.event = { ...target.event, content: {}, pdu: pruned, redactedBy: eventId };
      }
      tx.touch(`room:${roomId}`);
      if (type === 'm.room.member') tx.touch(`user:${stateKey}`);
      return event;
    });
  }

  #applyMember(room: Room, event: PersistedEvent, userId: UserId): void {
    const { roomId, eventId, sender, position, content } = event;
    const earlier = room.members.get(userId);
    const membership = content['membership'] as Membership;
    const displayName = typeof content['displayname'] === 'string' ? content['displayname'] : undefined;
    const member: RoomMember = {
      roomId,
      userId,
      membership,
      eventId,
      sender,
      position,
      displayName,
      avatarUrl: undefined,
      forgotten: false,
    };
    room.members.set(userId, member);
    if (membership === 'invite' || membership === 'knock') {
      const create = room.kept[0]?.event;
      room.invites.set(userId, create === undefined ? [] : [{ ...create.pdu, content: create.content, state_key: '' }]);
    }
    const changes = this.#changes.get(userId) ?? [];
    changes.push({ roomId, before: earlier?.membership, after: member });
    this.#changes.set(userId, changes);
  }

  // EventReader

  findRoom(roomId: RoomId): { roomId: RoomId; version: RoomVersion } | undefined {
    const room = this.#rooms.get(roomId);
    return room === undefined ? undefined : { roomId, version: room.version };
  }
  findEvent(eventId: EventId): PersistedEvent | undefined {
    return this.#byId.get(eventId)?.event;
  }
  listEvents(eventIds: readonly EventId[]): PersistedEvent[] {
    return eventIds.map((eventId) => this.findEvent(eventId)).filter((event) => event !== undefined);
  }
  findUnredacted(): undefined {
    return undefined;
  }
  findTransactionId(event: PersistedEvent, deviceId: DeviceId): string | undefined {
    return this.#transactions.get(`${event.eventId} ${deviceId}`);
  }

  // StateReader

  currentState(roomId: RoomId): RoomState {
    return new MapState(this.#rooms.get(roomId)?.state ?? new Map());
  }
  findCurrent(roomId: RoomId, type: string, stateKey: string): PersistedEvent | undefined {
    const eventId = this.currentState(roomId).find(type, stateKey);
    return eventId === undefined ? undefined : this.findEvent(eventId);
  }
  stateBefore(eventId: EventId): RoomState | undefined {
    const kept = this.#byId.get(eventId);
    return kept === undefined ? undefined : new MapState(kept.before);
  }
  stateAfter(eventId: EventId): RoomState | undefined {
    const kept = this.#byId.get(eventId);
    return kept === undefined ? undefined : new MapState(kept.after);
  }
  stateAt(roomId: RoomId, position: StreamPosition): RoomState {
    const last = this.#rooms.get(roomId)?.kept.findLast(({ event }) => event.position <= position);
    return new MapState(last?.after ?? new Map());
  }
  difference(from: RoomState, to: RoomState): [StateKey, EventId | undefined, EventId | undefined][] {
    const left = new Map(from.entries());
    const right = new Map(to.entries());
    const keys = new Set([...left.keys(), ...right.keys()]);
    return [...keys]
      .filter((key) => left.get(key) !== right.get(key))
      .map((key) => [key, left.get(key), right.get(key)]);
  }

  // MembershipReader

  findMember(roomId: RoomId, userId: UserId): RoomMember | undefined {
    return this.#rooms.get(roomId)?.members.get(userId);
  }
  listMembers(roomId: RoomId, membership?: Membership): RoomMember[] {
    const all = [...(this.#rooms.get(roomId)?.members.values() ?? [])];
    return membership === undefined ? all : all.filter((member) => member.membership === membership);
  }
  listRoomsOf(userId: UserId, memberships: readonly Membership[]): RoomMember[] {
    return [...this.#rooms.values()]
      .map((room) => room.members.get(userId))
      .filter((member) => member !== undefined)
      .filter((member) => memberships.includes(member.membership) && !member.forgotten);
  }
  isJoined(roomId: RoomId, userId: UserId): boolean {
    return this.findMember(roomId, userId)?.membership === 'join';
  }
  countMembers(roomId: RoomId, membership: Membership): number {
    return this.listMembers(roomId, membership).length;
  }
  shareRoom(a: UserId, b: UserId): boolean {
    return this.listMutualRooms(a, b).length > 0;
  }
  listMutualRooms(a: UserId, b: UserId): RoomId[] {
    return [...this.#rooms.keys()].filter((roomId) => this.isJoined(roomId, a) && this.isJoined(roomId, b));
  }
  listSharingUsers(userId: UserId): UserId[] {
    const rooms = this.listRoomsOf(userId, ['join']);
    return [...new Set(rooms.flatMap(({ roomId }) => this.listMembers(roomId, 'join').map((member) => member.userId)))];
  }
  listLocalJoined(roomId: RoomId): UserId[] {
    return this.listMembers(roomId, 'join').map((member) => member.userId);
  }
  listServers(roomId: RoomId): ServerName[] {
    return [...new Set(this.listLocalJoined(roomId).map(serverNameOf))];
  }
  listMembershipChanges(userId: UserId, since: StreamPosition, now: StreamPosition): Change[] {
    const changes = this.#changes.get(userId) ?? [];
    return changes
      .filter(({ after }) => after.position > since && after.position <= now)
      .map((change) => ({
        ...change,
        after: { ...change.after, forgotten: this.findMember(change.roomId, userId)?.forgotten ?? false },
      }));
  }
  membershipAt(
    roomId: RoomId,
    userId: UserId,
    position: StreamPosition,
  ): { membership: Membership; eventId: EventId } | undefined {
    return this.#changes
      .get(userId)
      ?.findLast((change) => change.roomId === roomId && change.after.position <= position)?.after;
  }
  listStrippedState(roomId: RoomId, userId: UserId): JsonObject[] {
    return this.#rooms.get(roomId)?.invites.get(userId) ?? [];
  }

  // Timeline

  page(options: Parameters<Timeline['page']>[0]): TimelinePage {
    const { roomId, from, to, direction, limit, accept } = options;
    const start = from?.position ?? (direction === 'f' ? 0 : Number.MAX_SAFE_INTEGER);
    const forward = (this.#rooms.get(roomId)?.kept ?? []).map(({ event }) => event);
    const found =
      direction === 'f'
        ? forward.filter(({ position }) => position > start && position <= (to?.position ?? Number.MAX_SAFE_INTEGER))
        : forward.toReversed().filter(({ position }) => position <= start && position > (to?.position ?? 0));
    const accepted = found.filter((event) => accept?.(event) !== false);
    const events = accepted.slice(0, limit);
    const last = events.at(-1);
    const more = last !== undefined && events.length < accepted.length;
    return { events, end: more ? this.tokenAt(last, direction === 'f' ? 'after' : 'before') : undefined };
  }
  since(options: Parameters<Timeline['since']>[0]): {
    events: PersistedEvent[];
    limited: boolean;
    prevBatch: TimelineToken;
  } {
    const { roomId, since, now, limit, accept } = options;
    const accepted = (this.#rooms.get(roomId)?.kept ?? [])
      .map(({ event }) => event)
      .filter(({ position }) => position > since && position <= now)
      .filter((event) => accept?.(event) !== false);
    const events = accepted.slice(-limit);
    const first = events[0];
    const prevBatch =
      first === undefined ? ({ order: 'stream', position: since } as const) : this.tokenAt(first, 'before');
    return { events, limited: events.length < accepted.length, prevBatch };
  }
  listActiveRooms(since: StreamPosition, now: StreamPosition): RoomId[] {
    return [...this.#rooms]
      .filter(([, room]) => room.kept.some(({ event }) => event.position > since && event.position <= now))
      .map(([roomId]) => roomId);
  }
  tokenAt(event: PersistedEvent, side: 'before' | 'after'): TimelineToken {
    return { order: 'stream', position: (side === 'before' ? event.position - 1 : event.position) as StreamPosition };
  }
  findNearest(): undefined {
    return undefined;
  }
  findLatest(roomId: RoomId): PersistedEvent | undefined {
    return this.#rooms.get(roomId)?.kept.at(-1)?.event;
  }

  // Visibility (spec: "Room History Visibility", "Server behaviour")

  canSee(userId: UserId, event: PersistedEvent): boolean {
    const kept = this.#byId.get(event.eventId);
    if (kept === undefined) return false;
    const joinedLater = (this.#changes.get(userId) ?? []).some(
      ({ roomId, after }) => roomId === event.roomId && after.membership === 'join' && after.position >= event.position,
    );
    const allowed = (visibilityState: Keys, memberState: Keys): boolean => {
      const membership = this.#contentOf(memberState, 'm.room.member', userId)['membership'];
      const visibility = this.#contentOf(visibilityState, 'm.room.history_visibility', '')['history_visibility'];
      if (visibility === 'world_readable' || membership === 'join') return true;
      if (visibility === 'joined') return false;
      if (visibility === 'invited') return membership === 'invite';
      return joinedLater;
    };
    const { before, after } = kept;
    if (event.type === 'm.room.history_visibility') return allowed(before, before) || allowed(after, before);
    if (event.type === 'm.room.member' && event.stateKey === userId) {
      return allowed(before, before) || allowed(before, after);
    }
    return allowed(before, before);
  }
  filterVisible(userId: UserId, events: readonly PersistedEvent[]): PersistedEvent[] {
    return events.filter((event) => this.canSee(userId, event));
  }
  accessOf(userId: UserId, roomId: RoomId): ReturnType<Visibility['accessOf']> {
    const room = this.#rooms.get(roomId);
    const member = room?.members.get(userId);
    if (room === undefined) return undefined;
    if (member?.membership === 'join') return { kind: 'joined' };
    const stayed = this.#changes.get(userId)?.some(({ before, roomId: id }) => id === roomId && before === 'join');
    if (member !== undefined && stayed === true && !member.forgotten) return { kind: 'left', member };
    const visibility = this.#contentOf(room.state, 'm.room.history_visibility', '')['history_visibility'];
    return visibility === 'world_readable' ? { kind: 'peek' } : undefined;
  }

  #contentOf(state: Keys, type: string, stateKey: string): JsonObject {
    const eventId = state.get(stateKeyOf(type, stateKey));
    const content = eventId === undefined ? undefined : this.#byId.get(eventId)?.event.content;
    return isJsonObject(content) ? content : {};
  }

  #room(roomId: RoomId): Room {
    const room = this.#rooms.get(roomId);
    if (room === undefined) throw new Error(`there is no room ${roomId}`);
    return room;
  }
}

class MapState implements RoomState {
  readonly #keys: Keys;
  constructor(keys: Keys) {
    this.#keys = keys;
  }
  find(type: string, stateKey: string): EventId | undefined {
    return this.#keys.get(stateKeyOf(type, stateKey));
  }
  listType(type: string): [string, EventId][] {
    return [...this.#keys]
      .filter(([key]) => key.startsWith(`${type}\0`))
      .map(([key, eventId]) => [key.slice(type.length + 1), eventId]);
  }
  entries(): IterableIterator<readonly [StateKey, EventId]> {
    return this.#keys.entries();
  }
  *entriesWithout(type: string): IterableIterator<readonly [StateKey, EventId]> {
    for (const [key, eventId] of this.#keys) if (!key.startsWith(`${type}\0`)) yield [key, eventId];
  }
  get size(): number {
    return this.#keys.size;
  }
}

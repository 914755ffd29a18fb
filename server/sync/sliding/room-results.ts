import { splitStateKey, type StateKey, stateKeyOf } from '../../matrix/events/event.ts';
import { stripStateEvent } from '../../matrix/events/strip.ts';
import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../matrix/json.ts';
import { formatTimelineToken } from '../../rooms/timeline-token.ts';
import type { EventReader, MembershipReader, PersistedEvent, RoomState, StateReader } from '../../rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../../storage/types.ts';
import type { ClientEventFormatter } from '../client-event.ts';
import type { LazyMembers } from '../lazy-members.ts';
import type { DepartedRoom } from '../own-changes.ts';
import type { LoadedTimeline, TimelineNeeds } from '../room-timeline.ts';
import { loadTimeline } from '../room-timeline.ts';
import type { RoomSummaries } from '../summary.ts';
import type { ComputedWindow } from '../window.ts';
import type { BumpStamps } from './bump-stamps.ts';
import type { Sent } from './connection-store.ts';
import type { WantedRoom } from './lists.ts';
import type { RoomConfig } from './request.ts';
import type { ListedRoom } from './room-index.ts';

export interface RoomResultNeeds extends TimelineNeeds {
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly state: Pick<StateReader, 'stateAt' | 'difference'>;
  readonly members: Pick<MembershipReader, 'countMembers' | 'findMember'>;
  readonly formatter: ClientEventFormatter;
  readonly summaries: Pick<RoomSummaries, 'heroes'>;
  readonly lazyMembers: LazyMembers;
  readonly bumps: BumpStamps;
}

/** What all rooms of one answer have in common. */
export interface AnswerContext {
  readonly window: ComputedWindow;
  readonly connection: number;
  /** Nothing was told on the connection before. */
  readonly initial: boolean;
  readonly directRooms: ReadonlySet<RoomId>;
  readonly wantsStubs: boolean;
  /** Rooms in which a count changed in the window. */
  readonly recounted: ReadonlySet<RoomId>;
  readonly countsOf: (roomId: RoomId) => JsonObject;
  /** The stripped state of a room the viewer is invited to or has knocked on. */
  readonly strippedOf: (room: ListedRoom) => readonly JsonObject[];
}

/** What is told of a room, and what the client holds of it then. */
export interface RoomResult {
  /** Undefined if there is nothing to tell. */
  readonly json: JsonObject | undefined;
  readonly sent: Sent;
  /** The room is told from scratch. */
  readonly initial: boolean;
  readonly events: readonly EventId[];
}

const MEMBER = 'm.room.member';

interface Range {
  readonly since: StreamPosition;
  readonly until: StreamPosition;
  readonly end: RoomState;
}

interface StateChange {
  readonly initial: boolean;
  readonly differences: readonly (readonly [StateKey, EventId | undefined, EventId | undefined])[];
}

/** Makes the results of single rooms (MSC4186, "Room results"). */
export class RoomResults {
  readonly #needs: RoomResultNeeds;
  readonly #context: AnswerContext;

  constructor(needs: RoomResultNeeds, context: AnswerContext) {
    this.#needs = needs;
    this.#context = context;
  }

  /** Whether something may be there to tell; asked of each room, so it must cost next to nothing. */
  mayTell({ room, config }: WantedRoom, sent: Sent | undefined): boolean {
    const { window, recounted, directRooms } = this.#context;
    const { roomId, member } = room;
    if (sent === undefined || sent.upTo !== undefined) return true;
    if (member.membership !== 'join') return sent.place !== member.position;
    if (sent.place !== undefined || window.active.has(roomId) || recounted.has(roomId)) return true;
    if (window.newlyJoined.has(roomId) || window.rejoined.has(roomId)) return true;
    if (directRooms.has(roomId) !== (sent.direct ?? false)) return true;
    return expands(config, sent);
  }

  tell(wanted: WantedRoom, sent: Sent | undefined): RoomResult {
    const { room } = wanted;
    if (room.departed !== undefined) return this.#departed(wanted, room.departed, sent);
    return room.member.membership === 'join' ? this.#joined(wanted, sent) : this.#invited(wanted, sent);
  }

  #joined({ room, config, lists }: WantedRoom, earlier: Sent | undefined): RoomResult {
    const { window, directRooms, recounted, countsOf } = this.#context;
    const { roomId, member } = room;
    // Whoever was out for a while has to be told everything again: they may have missed some of it.
    const wasOut = earlier?.place !== undefined || window.newlyJoined.has(roomId) || window.rejoined.has(roomId);
    const sent = wasOut ? undefined : earlier;
    const initial = sent === undefined;
    const bound = initial ? STREAM_START : (sent.upTo ?? window.since);
    const expanded = !initial && config.timelineLimit > (sent.limit ?? 0);
    const end = this.#needs.state.stateAt(roomId, window.now);
    const range = { since: bound, until: window.now, end };
    const change = this.#changeOf(roomId, initial, range);
    const loaded = this.#timeline(roomId, { ...range, since: expanded ? STREAM_START : bound }, config, false);
    const state = this.#state(roomId, config, sent, change, loaded, range);
    const stamp = this.#needs.bumps.of(roomId, window.now) ?? member.position;
    const face = this.#face(roomId, change, end);
    const isDirect = directRooms.has(roomId);
    const news =
      initial ||
      loaded.events.length > 0 ||
      state.length > 0 ||
      Object.keys(face).length > 0 ||
      recounted.has(roomId) ||
      sent.upTo !== undefined ||
      isDirect !== (sent.direct ?? false);
    const next: Sent = {
      upTo: undefined,
      limit: nextLimit(config, sent, loaded.limited || expanded),
      required: nextRequired(config, sent, change),
      direct: isDirect,
    };
    const events = loaded.events.map(({ eventId }) => eventId);
    if (!news) return { json: undefined, sent: next, initial, events };
    const json: JsonObject = {
      ...(initial ? { initial: true } : {}),
      membership: 'join',
      ...(lists.length > 0 ? { lists } : {}),
      ...face,
      ...(isDirect ? { is_dm: true } : sent?.direct === true ? { is_dm: false } : {}),
      ...(initial || stamp > bound ? { bump_stamp: stamp } : {}),
      ...(expanded ? { unstable_expanded_timeline: true, expanded_timeline: true } : {}),
      ...(state.length > 0 ? { required_state: state } : {}),
      ...this.#showTimeline(loaded, initial),
      ...countsOf(roomId),
    };
    return { json, sent: next, initial, events };
  }

  #invited({ room, lists }: WantedRoom, earlier: Sent | undefined): RoomResult {
    const { directRooms, strippedOf } = this.#context;
    const { roomId, member } = room;
    const isDirect = directRooms.has(roomId);
    const sent: Sent = { upTo: undefined, place: member.position, direct: isDirect };
    if (earlier?.place === member.position) return { json: undefined, sent, initial: false, events: [] };
    const stripped = strippedOf(room);
    const json: JsonObject = {
      initial: true,
      membership: member.membership,
      ...(lists.length > 0 ? { lists } : {}),
      bump_stamp: member.position,
      ...(isDirect ? { is_dm: true } : {}),
      // By the name clients read today, and by the proposal's.
      invite_state: stripped,
      stripped_state: stripped,
    };
    return { json, sent, initial: true, events: [] };
  }

  /** A room the viewer is out of: what happened up to then, and that they are. */
  #departed({ room, config, lists }: WantedRoom, departed: DepartedRoom, earlier: Sent | undefined): RoomResult {
    const { window, directRooms } = this.#context;
    const { roomId, member } = room;
    const sent: Sent = { upTo: undefined, place: member.position };
    if (earlier?.place === member.position) return { json: undefined, sent, initial: false, events: [] };
    const own = this.#needs.events.findEvent(member.eventId);
    const common = {
      membership: member.membership,
      ...(lists.length > 0 ? { lists } : {}),
      bump_stamp: member.position,
      ...(directRooms.has(roomId) ? { is_dm: true } : {}),
    };
    const { leftAt } = departed;
    if (leftAt === undefined || member.forgotten) {
      const shown = own === undefined ? [] : this.#show([own]);
      const stripped = own === undefined ? [] : [stripStateEvent(own)];
      const json = { ...common, stripped_state: stripped, required_state: shown, timeline: shown, limited: false };
      return { json, sent, initial: false, events: [] };
    }
    const known = earlier?.place === undefined ? earlier : undefined;
    const initial = known === undefined;
    const end = this.#needs.state.stateAt(roomId, leftAt);
    const since = initial ? STREAM_START : Math.min(known.upTo ?? window.since, leftAt);
    const range = { since: since as StreamPosition, until: leftAt, end };
    const change = this.#changeOf(roomId, initial, range);
    const visible = this.#timeline(roomId, range, config, true);
    // A ban after a kick, say. Nothing else of what came after is theirs to see.
    const later = own !== undefined && own.position > leftAt ? [own] : [];
    const loaded = { ...visible, events: [...visible.events, ...later] };
    const state = this.#state(roomId, config, known, change, loaded, range);
    const ownKnown = state.some(({ type, state_key: key }) => type === MEMBER && key === member.userId);
    const json: JsonObject = {
      ...(initial ? { initial: true } : {}),
      ...common,
      ...this.#nameAndAvatar(change, end),
      // However little state the client asked for, that it is out of the room it must be able to tell.
      required_state: own === undefined || ownKnown ? state : [...state, ...this.#show([own])],
      ...this.#showTimeline(loaded, true),
    };
    return { json, sent, initial, events: loaded.events.map(({ eventId }) => eventId) };
  }

  #changeOf(roomId: RoomId, initial: boolean, { since, end }: Range): StateChange {
    if (initial) return { initial, differences: [] };
    const before = this.#needs.state.stateAt(roomId, since);
    return { initial, differences: this.#needs.state.difference(before, end) };
  }

  #timeline(roomId: RoomId, range: Range, { timelineLimit }: RoomConfig, ownMemberships: boolean): LoadedTimeline {
    const { userId, ignoredUsers, filter } = this.#context.window;
    return loadTimeline(this.#needs, {
      roomId,
      since: range.since,
      until: range.until,
      viewer: userId,
      ignoredUsers,
      filter: filter.room.timeline,
      limit: timelineLimit,
      state: range.end,
      stateIsVisible: true,
      ownMemberships,
    });
  }

  /** The required state: all of it, or what changed and what is newly asked for; and members for the timeline. */
  #state(
    roomId: RoomId,
    { required }: RoomConfig,
    sent: Sent | undefined,
    change: StateChange,
    loaded: LoadedTimeline,
    { end }: Range,
  ): JsonObject[] {
    const { window, connection, wantsStubs } = this.#context;
    const chosen = new Map<StateKey, EventId>();
    const gone: JsonObject[] = [];
    if (change.initial) for (const [key, eventId] of required.select(end)) chosen.set(key, eventId);
    // Where nothing is missing, clients may keep the list of members they have.
    const allMembers = required.lazyMembers && !change.initial && !loaded.limited;
    for (const [key, , after] of change.differences) {
      const { type, stateKey } = splitStateKey(key);
      if (!required.matches(type, stateKey) && !(allMembers && type === MEMBER)) continue;
      if (after !== undefined) chosen.set(key, after);
      else if (wantsStubs) gone.push({ type, state_key: stateKey });
    }
    const earlier = sent?.required;
    if (!change.initial && earlier?.covers(required) !== true) {
      for (const [key, eventId] of required.select(end)) {
        const { type, stateKey } = splitStateKey(key);
        if (earlier?.matches(type, stateKey) !== true) chosen.set(key, eventId);
      }
    }
    const holder = { userId: window.userId, deviceId: window.requester.deviceId, connection };
    if (required.lazyMembers) {
      for (const user of membersNeededBy(loaded.events)) {
        const eventId = end.find(MEMBER, user);
        if (eventId === undefined || required.matches(MEMBER, user)) continue;
        if (!change.initial && this.#needs.lazyMembers.isKnown(holder, roomId, user, eventId, window.since)) continue;
        chosen.set(stateKeyOf(MEMBER, user), eventId);
      }
    }
    const events = this.#needs.events.listEvents([...chosen.values()]);
    if (required.lazyMembers) {
      this.#needs.lazyMembers.remember(holder, roomId, membersAmong(events), window.now);
    }
    return [...this.#show(events), ...gone];
  }

  /** How the room is shown in a list: what of it changed. */
  #face(roomId: RoomId, change: StateChange, end: RoomState): JsonObject {
    const membersMoved = change.initial || change.differences.some(([key]) => key.startsWith(`${MEMBER}\0`));
    const face: Record<string, JsonValue> = this.#nameAndAvatar(change, end);
    const { members, summaries } = this.#needs;
    if (membersMoved) {
      face['joined_count'] = members.countMembers(roomId, 'join');
      face['invited_count'] = members.countMembers(roomId, 'invite');
    }
    if ((membersMoved || face['name'] === null) && this.#textOf(end, 'm.room.name', 'name') === undefined) {
      face['heroes'] = summaries.heroes(roomId, this.#context.window.userId).map((user): JsonObject => {
        const member = members.findMember(roomId, user);
        return {
          user_id: user,
          ...(member?.displayName === undefined ? {} : { displayname: member.displayName }),
          ...(member?.avatarUrl === undefined ? {} : { avatar_url: member.avatarUrl }),
        };
      });
    }
    return face;
  }

  /** Null for what is gone. */
  #nameAndAvatar({ initial, differences }: StateChange, end: RoomState): Record<string, JsonValue> {
    const face: Record<string, JsonValue> = {};
    const add = (key: string, type: string, value: () => string | undefined): void => {
      if (!initial && !differences.some(([changed]) => changed === stateKeyOf(type, ''))) return;
      const now = value();
      if (now !== undefined || !initial) face[key] = now ?? null;
    };
    add('name', 'm.room.name', () => this.#textOf(end, 'm.room.name', 'name'));
    add('avatar', 'm.room.avatar', () => this.#textOf(end, 'm.room.avatar', 'url'));
    return face;
  }

  #textOf(state: RoomState, type: string, key: string): string | undefined {
    const eventId = state.find(type, '');
    const value = eventId === undefined ? undefined : this.#needs.events.findEvent(eventId)?.content[key];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  #showTimeline({ events, limited, prevBatch }: LoadedTimeline, complete: boolean): JsonObject {
    const { since } = this.#context.window;
    if (events.length === 0 && !limited && !complete) return {};
    const live = this.#context.initial ? 0 : events.filter(({ position }) => position > since).length;
    return {
      ...(events.length > 0 ? { timeline: this.#show(events, true) } : {}),
      limited,
      num_live: live,
      prev_batch: formatTimelineToken(prevBatch),
    };
  }

  #show(events: readonly PersistedEvent[], bundle = false): JsonObject[] {
    const { userId, requester, ignoredUsers } = this.#context.window;
    const viewer = { userId, deviceId: requester.deviceId, ignoredUsers };
    return this.#needs.formatter.format(events, viewer, { format: 'sync', bundle });
  }
}

/** Whether more is asked for than was sent. */
function expands({ timelineLimit, required }: RoomConfig, sent: Sent): boolean {
  return timelineLimit > (sent.limit ?? 0) || sent.required?.covers(required) !== true;
}

/** How many of the newest events the client holds without a gap between them, as far as that was ever asked for. */
function nextLimit({ timelineLimit }: RoomConfig, sent: Sent | undefined, cut: boolean): number {
  return cut || sent?.limit === undefined ? timelineLimit : Math.max(sent.limit, timelineLimit);
}

/** The state the client holds and that is up to date: all it was ever sent, unless a change of that was left out now. */
function nextRequired(
  { required }: RoomConfig,
  sent: Sent | undefined,
  { differences }: StateChange,
): Sent['required'] {
  const earlier = sent?.required;
  if (earlier === undefined) return required;
  const missed = differences.some(([key]) => {
    const { type, stateKey } = splitStateKey(key);
    return earlier.matches(type, stateKey) && !required.matches(type, stateKey);
  });
  if (missed) return required;
  return earlier.covers(required) ? earlier : earlier.union(required);
}

/** Whom a client has to know to show these events: who sent them, and whose membership they are about. */
function membersNeededBy(events: readonly PersistedEvent[]): ReadonlySet<UserId> {
  const users = new Set<UserId>();
  for (const { sender, type, stateKey } of events) {
    users.add(sender);
    if (type === MEMBER && stateKey !== undefined) users.add(stateKey as UserId);
  }
  return users;
}

function membersAmong(events: readonly PersistedEvent[]): ReadonlyMap<UserId, EventId> {
  const members = new Map<UserId, EventId>();
  for (const { type, stateKey, eventId } of events) {
    if (type === MEMBER && stateKey !== undefined) members.set(stateKey as UserId, eventId);
  }
  return members;
}

import Type from 'typebox';
import type { Requester, Route } from '../http/route.ts';
import { route } from '../http/route.ts';
import { eventId, roomId } from '../http/schemas.ts';
import { forbidden, MatrixError, notFound } from '../matrix/errors.ts';
import type { RoomId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import { formatTimelineToken } from '../rooms/timeline-token.ts';
import type {
  EventReader,
  MembershipReader,
  PersistedEvent,
  RoomState,
  StateReader,
  Visibility,
} from '../rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { ClientEventFormatter } from './client-event.ts';
import { emptyFilter, type SyncFilter } from './filter.ts';
import { Deadline, type Notifier } from './notifier.ts';
import { findDeparture, positionBefore } from './own-changes.ts';
import { collectParts, type Parts } from './parts.ts';
import { loadTimeline, type TimelineNeeds } from './room-timeline.ts';
import { waitKeys } from './routes.ts';
import type { SyncTokens } from './token.ts';
import type { JoinedRoom, SyncContribution } from './types.ts';
import { computeWindow, type ComputedWindow, type WindowNeeds } from './window.ts';

/** Says which rooms the public directory lists. */
export interface PublishedRooms {
  isPublished(roomId: RoomId): boolean;
}

export interface OldSyncNeeds {
  readonly clock: Clock;
  readonly windows: WindowNeeds;
  readonly timelines: TimelineNeeds;
  readonly events: EventReader;
  readonly state: StateReader;
  readonly members: MembershipReader;
  readonly visibility: Visibility;
  readonly formatter: ClientEventFormatter;
  readonly contributions: () => readonly SyncContribution[];
  readonly tokens: SyncTokens;
  readonly notifier: Notifier;
  readonly published: PublishedRooms | undefined;
  /** The most events of a room in one answer; undefined for no limit. */
  readonly timelineLimit: number | undefined;
}

const DEFAULT_LIMIT = 10;
/** Events of one answer of /events, unless asked for fewer. */
const MOST_STREAM_EVENTS = 100;
const DEFAULT_TIMEOUT_MS = 30_000;

const limit = Type.Optional(Type.Integer({ minimum: 0 }));

/**
 * The deprecated operations that came before /sync (spec: old_sync, peeking_events, room_initial_sync), made of the same
 * windows and contributions.
 */
export function oldSyncRoutes(needs: OldSyncNeeds): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/initialSync',
      auth: 'user',
      query: Type.Object({ limit, archived: Type.Optional(Type.Boolean()) }),
      handle: ({ requester, query }) => initialSync(needs, requester, cap(needs, query.limit), query.archived ?? false),
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/initialSync',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId }),
      query: Type.Object({ limit }),
      handle: ({ requester, params, query }) =>
        roomInitialSync(needs, requester, params.roomId, cap(needs, query.limit)),
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/events',
      auth: 'user',
      guests: true,
      query: Type.Object({
        from: Type.Optional(Type.String()),
        timeout: Type.Optional(Type.Integer({ minimum: 0 })),
        room_id: Type.Optional(roomId),
        limit: Type.Optional(Type.Integer({ minimum: 1 })),
      }),
      handle: ({ requester, query, signal }) => {
        if (requester.isGuest && query.room_id === undefined) {
          throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests have to name a room', { status: 403 });
        }
        if (query.room_id !== undefined) checkReadable(needs, requester, query.room_id);
        const from = query.from === undefined ? undefined : needs.tokens.parse(query.from, 'from');
        const deadline = new Deadline(needs.clock, query.timeout ?? DEFAULT_TIMEOUT_MS);
        const most = Math.min(query.limit ?? MOST_STREAM_EVENTS, MOST_STREAM_EVENTS);
        return eventStream(needs, { requester, from, roomId: query.room_id, limit: most }, deadline, signal);
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/events/:eventId',
      auth: 'user',
      params: Type.Object({ eventId }),
      handle: ({ requester, params }) => {
        const event = needs.events.findEvent(params.eventId);
        const readable =
          event !== undefined &&
          event.verdict === 'accepted' &&
          !event.outlier &&
          needs.visibility.canSee(requester.userId, event);
        if (!readable) throw notFound('There is no such event that you may read');
        return needs.formatter.formatOne(event, requester, { bundle: true });
      },
    }),
  ];
}

function cap({ timelineLimit }: OldSyncNeeds, asked: number | undefined): number {
  return Math.min(asked ?? DEFAULT_LIMIT, timelineLimit ?? Number.MAX_SAFE_INTEGER);
}

async function initialSync(
  needs: OldSyncNeeds,
  requester: Requester,
  most: number,
  archived: boolean,
): Promise<JsonObject> {
  const filter: SyncFilter = { ...emptyFilter, room: { ...emptyFilter.room, includeLeave: archived } };
  const window = computeWindow(needs.windows, { requester, since: STREAM_START, filter, fullState: false });
  const parts = await collectParts(needs.contributions(), window, () => undefined);
  const rooms: JsonObject[] = [];
  for (const roomId of window.joined.keys()) {
    rooms.push({
      ...roomHead(needs, roomId, 'join'),
      ...roomBody(needs, window, roomId, needs.state.stateAt(roomId, window.now), window.now, most),
      account_data: parts.rooms.get(roomId)?.accountData ?? [],
    });
  }
  for (const [roomId, member] of window.invites) {
    const event = needs.events.findEvent(member.eventId);
    rooms.push({
      ...roomHead(needs, roomId, 'invite'),
      inviter: member.sender,
      ...(event === undefined ? {} : { invite: needs.formatter.formatOne(event, requester, { format: 'legacy' }) }),
    });
  }
  for (const [roomId, { member, leftAt }] of window.departures) {
    const head = roomHead(needs, roomId, member.membership);
    if (leftAt === undefined) {
      rooms.push({ ...head, messages: { chunk: [], end: needs.tokens.format(member.position) }, state: [] });
    } else {
      const state = needs.state.stateAt(roomId, leftAt);
      rooms.push({ ...head, ...roomBody(needs, window, roomId, state, leftAt, most) });
    }
  }
  return {
    end: needs.tokens.format(window.now),
    rooms,
    presence: parts.presence.map(oldPresence),
    receipts: [...window.joined.keys()].flatMap((roomId) => receiptsOf(parts, roomId)),
    account_data: parts.accountData,
  };
}

async function roomInitialSync(
  needs: OldSyncNeeds,
  requester: Requester,
  room: RoomId,
  most: number,
): Promise<JsonObject> {
  const access = needs.visibility.accessOf(requester.userId, room);
  if (access === undefined) throw forbidden('You are not in the room, and were not before');
  const here = access.kind !== 'left';
  const window = roomWindow(needs, requester, STREAM_START, room, here);
  const parts = await collectParts(needs.contributions(), window, () => undefined);
  const leftAt = access.kind === 'left' ? findDeparture(needs, access.member).leftAt : undefined;
  const until = here ? window.now : (leftAt ?? STREAM_START);
  const membership = access.kind === 'left' ? access.member.membership : access.kind === 'joined' ? 'join' : undefined;
  return {
    ...roomHead(needs, room, membership),
    ...roomBody(needs, window, room, needs.state.stateAt(room, until), until, most),
    presence: here ? presenceIn(needs, room, parts).map(oldPresence) : [],
    receipts: here ? receiptsOf(parts, room) : [],
    account_data: parts.rooms.get(room)?.accountData ?? [],
  };
}

interface StreamRequest {
  readonly requester: Requester;
  readonly from: StreamPosition | undefined;
  readonly roomId: RoomId | undefined;
  readonly limit: number;
}

async function eventStream(
  needs: OldSyncNeeds,
  request: StreamRequest,
  deadline: Deadline,
  signal: AbortSignal,
): Promise<JsonObject> {
  const { requester, roomId: only } = request;
  const from = request.from ?? needs.windows.db.position();
  for (;;) {
    const window =
      only === undefined
        ? computeWindow(needs.windows, { requester, since: from, filter: emptyFilter, fullState: false })
        : roomWindow(needs, requester, from, only, true);
    const { chunk, until } = await streamChunk(needs, request, window);
    const answer = { start: needs.tokens.format(from), end: needs.tokens.format(until), chunk };
    if (chunk.length > 0 || deadline.remaining() === 0) return answer;
    const rooms = only === undefined ? window.allJoined : new Set([only]);
    const woken = await needs.notifier.wait({ keys: waitKeys(requester), rooms }, window.now, deadline, signal);
    if (woken !== 'changed') return answer;
    if (only !== undefined) checkReadable(needs, requester, only);
  }
}

/** What happened in the window, oldest first, and how far that goes: not to its end if there was too much. */
async function streamChunk(
  needs: OldSyncNeeds,
  { requester, roomId: only, limit: most }: StreamRequest,
  window: ComputedWindow,
): Promise<{ chunk: JsonObject[]; until: StreamPosition }> {
  let until = window.now;
  const events: PersistedEvent[] = [];
  const read = (roomId: RoomId, upTo: StreamPosition): void => {
    const oldest = loadOldest(needs, window, roomId, upTo, most);
    if (oldest.until < upTo) until = Math.min(until, oldest.until) as StreamPosition;
    events.push(...needs.visibility.filterVisible(requester.userId, oldest.events));
  };
  for (const roomId of only === undefined ? [...window.active, ...window.newlyJoined] : [only]) read(roomId, window.now);
  for (const [roomId, { member, leftAt, joinedAtSince }] of window.departures) {
    if (leftAt !== undefined && joinedAtSince && !member.forgotten) read(roomId, leftAt);
    const event = needs.events.findEvent(member.eventId);
    if (event !== undefined) events.push(event);
  }
  for (const member of window.invites.values()) {
    const event = needs.events.findEvent(member.eventId);
    if (event !== undefined) events.push(event);
  }
  const inOrder = [...new Map(events.map((event) => [event.eventId, event])).values()]
    .filter((event) => event.position <= until)
    .sort((a, b) => a.position - b.position);
  const shown = inOrder.slice(0, most);
  if (shown.length < inOrder.length) until = shown.at(-1)?.position ?? until;

  const parts = await collectParts(needs.contributions(), { ...window, now: until }, () => undefined);
  const presence = only === undefined ? parts.presence : presenceIn(needs, only, parts);
  const chunk = [
    ...needs.formatter.format(shown, requester, { format: 'legacy', bundle: true }),
    ...presence.map(oldPresence),
    ...(only === undefined ? parts.accountData : []),
  ];
  for (const [roomId, room] of parts.rooms) {
    if (!window.joined.has(roomId)) continue;
    for (const part of [...room.accountData, ...room.ephemeral]) chunk.push({ ...part, room_id: roomId });
  }
  return { chunk, until };
}

/** How far back the start of a window is looked for, pages of events. What lies before is left to /messages. */
const MOST_PAGES = 50;

/** The first events of a room in the window, in the order of the stream, and up to where they are complete. */
function loadOldest(
  { timelines }: OldSyncNeeds,
  { since, ignoredUsers }: ComputedWindow,
  roomId: RoomId,
  upTo: StreamPosition,
  most: number,
): { events: readonly PersistedEvent[]; until: StreamPosition } {
  const accept = (event: PersistedEvent): boolean => event.stateKey !== undefined || !ignoredUsers.has(event.sender);
  let until = upTo;
  for (let round = 1; ; round += 1) {
    const { events, limited } = timelines.timeline.since({ roomId, since, now: until, limit: most, accept });
    const first = events[0];
    if (!limited || first === undefined || round === MOST_PAGES) return { events, until };
    until = positionBefore(first.position);
  }
}

/** A window in which one room is all there is, whether the viewer is in it or only looks in. */
function roomWindow(
  needs: OldSyncNeeds,
  requester: Requester,
  since: StreamPosition,
  room: RoomId,
  here: boolean,
): ComputedWindow {
  const filter: SyncFilter = { ...emptyFilter, room: { ...emptyFilter.room, rooms: [room] } };
  const window = computeWindow(needs.windows, { requester, since, filter, fullState: false });
  const joined = new Map<RoomId, JoinedRoom>();
  if (here) joined.set(room, window.joined.get(room) ?? { newlyJoined: window.initial });
  return { ...window, joined, left: here ? window.left : new Set([room]) };
}

function checkReadable({ visibility }: OldSyncNeeds, { userId }: Requester, room: RoomId): void {
  const access = visibility.accessOf(userId, room);
  if (access === undefined || access.kind === 'left') throw forbidden('You are not in the room');
}

function roomHead(
  { published }: OldSyncNeeds,
  room: RoomId,
  membership: string | undefined,
): Record<string, JsonValue> {
  const head: Record<string, JsonValue> = { room_id: room };
  if (membership !== undefined) head['membership'] = membership;
  if (published !== undefined) head['visibility'] = published.isPublished(room) ? 'public' : 'private';
  return head;
}

/** The last messages of a room up to a position, and the state it had there. */
function roomBody(
  needs: OldSyncNeeds,
  window: ComputedWindow,
  room: RoomId,
  state: RoomState,
  until: StreamPosition,
  most: number,
): JsonObject {
  const viewer = window.requester;
  const loaded = loadTimeline(needs.timelines, {
    roomId: room,
    since: STREAM_START,
    until,
    viewer: viewer.userId,
    ignoredUsers: window.ignoredUsers,
    filter: emptyFilter.room.timeline,
    limit: most,
    state,
    // As in /messages, the state of today does not bring back what may not be read.
    stateIsVisible: false,
    ownMemberships: !window.joined.has(room),
  });
  const stateEvents = needs.events.listEvents([...state.entries()].map(([, id]) => id));
  return {
    messages: {
      chunk: needs.formatter.format(loaded.events, viewer, { format: 'legacy', bundle: true }),
      start: formatTimelineToken(loaded.prevBatch),
      end: needs.tokens.format(until),
    },
    state: needs.formatter.format(stateEvents, viewer, { format: 'legacy' }),
  };
}

function receiptsOf(parts: Parts, room: RoomId): JsonObject[] {
  const ephemeral = parts.rooms.get(room)?.ephemeral ?? [];
  return ephemeral.filter((event) => event['type'] === 'm.receipt').map((event) => ({ ...event, room_id: room }));
}

function presenceIn({ members }: OldSyncNeeds, room: RoomId, parts: Parts): JsonObject[] {
  if (parts.presence.length === 0) return [];
  const here = new Set<unknown>(members.listMembers(room, 'join').map(({ userId }) => userId));
  return parts.presence.filter((event) => here.has(event['sender']));
}

/** These operations have always named the user inside of the content too. */
function oldPresence(event: JsonObject): JsonObject {
  const { content, sender } = event;
  if (!isJsonObject(content) || sender === undefined) return event;
  return { ...event, content: { ...content, user_id: sender } };
}

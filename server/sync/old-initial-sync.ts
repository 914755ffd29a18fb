import type { Requester } from '../http/route.ts';
import { forbidden } from '../matrix/errors.ts';
import type { RoomId } from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import { formatTimelineToken } from '../rooms/timeline-token.ts';
import type { RoomState } from '../rooms/types.ts';
import { STREAM_START, type StreamPosition } from '../storage/types.ts';
import { emptyFilter, type SyncFilter } from './filter.ts';
import { type OldSyncNeeds, oldPresence, presenceIn, roomWindow } from './old-sync-parts.ts';
import { findDeparture } from './own-changes.ts';
import { collectParts, type Parts } from './parts.ts';
import { loadTimeline } from './room-timeline.ts';
import { computeWindow, type ComputedWindow } from './window.ts';

/** What `/initialSync` answers: every room with its state and its last `most` messages. */
export async function initialSync(
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
    // What the user keeps here, which push rules were not yet counted among.
    account_data: parts.accountData.filter(({ type }) => type !== 'm.push_rules'),
  };
}

/**
 * What `/rooms/{roomId}/initialSync` answers.
 * @throws MatrixError M_FORBIDDEN for whoever is not in the room, was not, and may not look into it
 */
export async function roomInitialSync(
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

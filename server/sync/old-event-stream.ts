import type { Requester } from '../http/route.ts';
import type { RoomId } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { PersistedEvent } from '../rooms/types.ts';
import type { StreamPosition } from '../storage/types.ts';
import { emptyFilter } from './filter.ts';
import type { Deadline } from './notifier.ts';
import { checkReadable, type OldSyncNeeds, oldPresence, presenceIn, roomWindow } from './old-sync-parts.ts';
import { positionBefore } from './own-changes.ts';
import { collectParts } from './parts.ts';
import { waitKeys } from './routes.ts';
import { computeWindow, type ComputedWindow } from './window.ts';

/** One request for events, of all rooms or of one that the requester may read. */
export interface StreamRequest {
  readonly requester: Requester;
  readonly from: StreamPosition | undefined;
  readonly roomId: RoomId | undefined;
  readonly limit: number;
}

/** What `/events` answers: what happened since `from` (since now, without one), as soon as something did. */
export async function eventStream(
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
  for (const roomId of only === undefined ? [...window.active, ...window.newlyJoined] : [only])
    read(roomId, window.now);
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

import type { Requester } from '../http/route.ts';
import { forbidden } from '../matrix/errors.ts';
import type { RoomId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../matrix/json.ts';
import type { EventReader, MembershipReader, StateReader, Visibility } from '../rooms/types.ts';
import type { StreamPosition } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { ClientEventFormatter } from './client-event.ts';
import { emptyFilter, type SyncFilter } from './filter.ts';
import type { Notifier } from './notifier.ts';
import type { Parts } from './parts.ts';
import type { TimelineNeeds } from './room-timeline.ts';
import type { SyncPresence } from './routes.ts';
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
  readonly presence: SyncPresence | undefined;
  /** The most events of a room in one answer; undefined for no limit. */
  readonly timelineLimit: number | undefined;
}

/** A window in which one room is all there is, whether the viewer is in it or only looks in. */
export function roomWindow(
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
  return { ...window, joined, left: here ? window.left : new Set([room]), ...(here ? { onlyRoom: room } : {}) };
}

/** Refuses whoever is neither in the room nor may look into it. @throws MatrixError M_FORBIDDEN */
export function checkReadable({ visibility }: OldSyncNeeds, { userId }: Requester, room: RoomId): void {
  const access = visibility.accessOf(userId, room);
  if (access === undefined || access.kind === 'left') throw forbidden('You are not in the room');
}

/** The presence of those in the room, of what modules gave. */
export function presenceIn({ members }: OldSyncNeeds, room: RoomId, parts: Parts): JsonObject[] {
  if (parts.presence.length === 0) return [];
  const here = new Set<unknown>(members.listMembers(room, 'join').map(({ userId }) => userId));
  return parts.presence.filter((event) => here.has(event['sender']));
}

/** These operations have always named the user inside of the content too. */
export function oldPresence(event: JsonObject): JsonObject {
  const { content, sender } = event;
  if (!isJsonObject(content) || sender === undefined) return event;
  return { ...event, content: { ...content, user_id: sender } };
}

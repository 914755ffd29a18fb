import type { KeyRing, PduTaker } from '../../federation/types.ts';
import { CanonicalJsonError } from '../../matrix/canonical-json.ts';
import type { RoomEvent } from '../../matrix/events/event.ts';
import { findEventId } from '../../matrix/events/event-id.ts';
import { parsePdu } from '../../matrix/events/parse.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
} from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import { findRoomVersion, type RoomVersion } from '../../matrix/room-versions.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { Pace } from '../../util/pace.ts';
import type { EventStore } from '../event-store.ts';
import type { RoomHeads } from '../extremities.ts';
import type { OutsideMembership, ServerAcls } from '../federation-types.ts';
import { withSoundContent } from '../inbox.ts';
import type { MembershipReader } from '../types.ts';
import type { RoomLines } from './lines.ts';
import type { Staging } from './staging.ts';

/** Events of one room that wait for their place. What comes on top is refused; later events will lead back to it. */
const MAX_STAGED = 10_000;
/** How long (ms) is worked on a transaction at a stretch: an event of full size takes a millisecond. */
const SLICE_MS = 5;
const OUTSIDE = 'this server is not in the room';

interface TakerParts {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly clock: Clock;
  readonly log: Logger;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly members: Pick<MembershipReader, 'listLocalJoined' | 'findMember'>;
  readonly acls: ServerAcls;
  readonly keyRing: Pick<KeyRing, 'checkEvents'>;
  readonly staging: Staging;
  readonly lines: Pick<RoomLines, 'kick'>;
  /** Memberships of rooms this server is not in. Without it, their events are all refused. */
  readonly outside?: OutsideMembership | undefined;
}

/** An event as far as it could be read, or why it is refused. */
type Reading = { readonly event: RoomEvent } | { readonly eventId: EventId | undefined; readonly error: string };

type Outcome = { readonly error?: string };

/** Takes the events of transactions: checks what can be checked alone, and stages what is good. */
export class TransactionTaker implements PduTaker {
  readonly #parts: TakerParts;

  constructor(parts: TakerParts) {
    this.#parts = parts;
  }

  async receive(origin: ServerName, pdus: readonly JsonValue[]): Promise<Record<string, Outcome>> {
    const outcomes = new Map<EventId, Outcome>();
    const unseen = new Map<EventId, RoomEvent>();
    const pace = new Pace(this.#parts.clock, SLICE_MS);
    for (const pdu of pdus) {
      await pace.step();
      const reading = this.#read(origin, pdu);
      if (!('event' in reading)) {
        const { eventId, error } = reading;
        this.#parts.log.info({ origin, eventId, reason: error }, 'a PDU was refused');
        if (eventId !== undefined && !unseen.has(eventId)) outcomes.set(eventId, { error });
        continue;
      }
      const { event } = reading;
      outcomes.set(event.eventId, {});
      // In room versions 1 and 2 others may go by the same ID: the first is the one.
      if (!unseen.has(event.eventId) && !this.#isHeld(event.eventId)) unseen.set(event.eventId, event);
    }
    const events = [...unseen.values()];
    const checks = events.length === 0 ? [] : await this.#parts.keyRing.checkEvents(events);
    const sound: RoomEvent[] = [];
    for (const [index, event] of events.entries()) {
      await pace.step();
      if (checks[index] === true) sound.push(withSoundContent(event));
      else outcomes.set(event.eventId, { error: 'a signature is missing or wrong' });
    }
    await this.#take(origin, sound, outcomes);
    return Object.fromEntries(outcomes);
  }

  async #take(origin: ServerName, events: readonly RoomEvent[], outcomes: Map<EventId, Outcome>): Promise<void> {
    if (events.length === 0) return;
    const { db, clock, staging, lines } = this.#parts;
    const counts = new Map<RoomId, number>();
    db.write((tx) => {
      for (const event of events) {
        const { roomId, eventId } = event;
        // Its last local user may have left while the signatures were checked.
        if (!this.#isInRoom(roomId)) {
          if (this.#endsStayOutside(event)) this.#parts.outside?.put(tx, event, {});
          else outcomes.set(eventId, { error: OUTSIDE });
          continue;
        }
        const staged = counts.get(roomId) ?? staging.count(roomId, MAX_STAGED);
        if (staged >= MAX_STAGED) outcomes.set(eventId, { error: 'too many events of this room wait already' });
        else staging.insert(tx, event, origin, clock.now());
        counts.set(roomId, staged + 1);
      }
    });
    await db.committed();
    for (const roomId of counts.keys()) lines.kick(roomId);
  }

  #read(origin: ServerName, pdu: JsonValue): Reading {
    const { heads, acls } = this.#parts;
    if (!isJsonObject(pdu)) return { eventId: undefined, error: 'the event is not an object' };
    const named = pdu['room_id'];
    const head = typeof named === 'string' && isRoomId(named) ? heads.find(named) : undefined;
    const version = head?.version ?? versionOfCreate(pdu);
    if (version === undefined) {
      const given = pdu['event_id'];
      const eventId = typeof given === 'string' && isEventId(given) ? given : undefined;
      return { eventId, error: 'the room is not known' };
    }
    const parsed = parsePdu(pdu, version);
    if (!parsed.ok) return { eventId: idOf(pdu, version), error: parsed.reason };
    const { event } = parsed;
    const { eventId, roomId } = event;
    if (heads.find(roomId) === undefined) return { eventId, error: 'the room is not known' };
    // Server ACLs: "applied to all PDUs on a per-PDU basis", by the server that sends them.
    if (!acls.isAllowed(origin, roomId)) return { eventId, error: 'the server is not allowed in this room' };
    if (!this.#isInRoom(roomId) && !this.#endsStayOutside(event)) {
      return { eventId, error: OUTSIDE };
    }
    return { event };
  }

  #isInRoom(roomId: RoomId): boolean {
    return this.#parts.members.listLocalJoined(roomId).length > 0;
  }

  /**
   * Whether an event of a room we are not in takes back an invite of a local user, or turns down their knock. It names
   * the event it ends among those it rests upon, which only servers in the room know.
   */
  #endsStayOutside(event: RoomEvent): boolean {
    const { type, stateKey, content, roomId, authEvents } = event;
    const { outside, serverName } = this.#parts;
    if (outside === undefined) return false;
    if (type !== 'm.room.member' || stateKey === undefined || !isUserId(stateKey)) return false;
    if (serverNameOf(stateKey) !== serverName) return false;
    if (content['membership'] !== 'leave' && content['membership'] !== 'ban') return false;
    const member = this.#parts.members.findMember(roomId, stateKey);
    if (member?.membership !== 'invite' && member?.membership !== 'knock') return false;
    return authEvents.includes(member.eventId);
  }

  /** Whether an event needs nothing any more to be ours. */
  #isHeld(eventId: EventId): boolean {
    const { events, staging } = this.#parts;
    return events.find(eventId)?.outlier === false || staging.has(eventId);
  }
}

/** From room version 12 on, a create event does not name its room. */
function versionOfCreate(pdu: JsonObject): RoomVersion | undefined {
  if (pdu['type'] !== 'm.room.create' || 'room_id' in pdu || !isJsonObject(pdu['content'])) return undefined;
  const id = pdu['content']['room_version'];
  return typeof id === 'string' ? findRoomVersion(id) : undefined;
}

/** The ID to answer by, even of what is no proper event. */
function idOf(pdu: JsonObject, version: RoomVersion): EventId | undefined {
  try {
    return findEventId(pdu, version);
  } catch (error) {
    if (error instanceof CanonicalJsonError) return undefined;
    throw error;
  }
}

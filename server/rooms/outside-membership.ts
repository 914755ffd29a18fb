import { buildEvent } from '../matrix/events/build.ts';
import type { RoomEvent } from '../matrix/events/event.ts';
import { referenceHashBase64 } from '../matrix/events/hash.ts';
import { isUserId, type RoomId, type ServerName, type UserId } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { SigningKey } from '../matrix/signing.ts';
import type { StreamPosition, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { type Random, randomString } from '../util/random.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHead, RoomHeads } from './extremities.ts';
import type { OutsideMembership } from './federation-types.ts';
import { type Members, membershipOf } from './membership.ts';
import { EMPTY_STATE } from './state-groups.ts';
import type { PersistedEvent, Projection } from './types.ts';

interface OutsideParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly members: Members;
  readonly projections: readonly Projection[];
}

const OPAQUE_ID_LENGTH = 18;

/** Whether nothing but events of a room's outside is stored: nobody of ours was ever in it. */
export function isRecordOnly(head: RoomHead): boolean {
  return head.current === EMPTY_STATE && head.extremities.length === 0;
}

/**
 * Removes what memberships are stored of a room nobody of ours was ever in, and the events that made them; its record gets
 * another version.
 */
export function startOver(
  tx: WriteTx,
  { heads, events, members }: Pick<OutsideParts, 'heads' | 'events' | 'members'>,
  head: RoomHead,
  version: RoomHead['version'],
): RoomHead {
  if (!isRecordOnly(head)) throw new TypeError('a room with a state cannot start over');
  for (const event of members.removeOfRoom(tx, head)) events.remove(tx, event);
  return heads.setVersion(tx, head, version);
}

/** Memberships of local users in rooms that nobody of this server is joined to. */
export class OutsideMemberships implements OutsideMembership {
  readonly #parts: OutsideParts;

  constructor(parts: OutsideParts) {
    this.#parts = parts;
  }

  /** See `OutsideMembership`. Undefined where the event does not count: late, or no step from where the user stands. */
  put(
    tx: WriteTx,
    event: RoomEvent,
    { strippedState }: { readonly strippedState?: readonly JsonObject[] },
  ): PersistedEvent | undefined {
    const { events, members } = this.#parts;
    const { roomId, stateKey: userId } = event;
    if (event.type !== 'm.room.member' || userId === undefined || !isUserId(userId) || !members.isLocal(userId)) {
      throw new TypeError('only memberships of local users are kept of rooms this server is not in');
    }
    if (members.listLocalJoined(roomId).length > 0) return undefined;
    if (!this.#isStep(event, userId)) return undefined;
    const head = this.#headFor(tx, event);
    if (head === undefined) return undefined;
    const known = events.find(event.eventId);
    if (known !== undefined && (!known.outlier || known.verdict === 'rejected')) return undefined;
    const stored = known ?? this.#insert(tx, head, event);
    // An event may have been stored before, as part of an auth chain: what it does to the user is news all the same.
    const position = known === undefined ? stored.position : tx.nextPosition();
    this.#apply(tx, head, position, stored, userId, strippedState);
    return stored;
  }

  withdraw(tx: WriteTx, roomId: RoomId, userId: UserId, content: JsonObject): PersistedEvent | undefined {
    const { clock, random, serverName, signingKey, heads, events, members } = this.#parts;
    const head = heads.find(roomId);
    const member = members.findMember(roomId, userId);
    if (head === undefined || (member?.membership !== 'invite' && member?.membership !== 'knock')) return undefined;
    if (members.listLocalJoined(roomId).length > 0) return undefined;
    const ended = events.find(member.eventId);
    if (ended === undefined) throw new Error('a membership without its event');
    const { version } = head;
    const reference =
      version.references === 'pairs'
        ? { eventId: ended.eventId, sha256: referenceHashBase64(ended.pdu, version) }
        : ended.eventId;
    const event = buildEvent({
      serverName,
      signingKey,
      version,
      roomId,
      type: 'm.room.member',
      sender: userId,
      stateKey: userId,
      content: { ...content, membership: 'leave' },
      originServerTs: clock.now(),
      depth: ended.depth + 1,
      prevEvents: [reference],
      authEvents: [reference],
      ...(version.eventIds === 'given' ? { eventIdLocalpart: randomString(random, OPAQUE_ID_LENGTH) } : {}),
    });
    const stored = this.#insert(tx, head, event);
    this.#apply(tx, head, stored.position, stored, userId, undefined);
    return stored;
  }

  /** Whether the event leads on from where the user stands. */
  #isStep(event: RoomEvent, userId: UserId): boolean {
    const { events, members, log } = this.#parts;
    const { roomId, eventId } = event;
    const member = members.findMember(roomId, userId);
    const to = membershipOf(event);
    // Only by the handshake is anybody joined.
    if (to === 'join') return false;
    const known = events.find(eventId);
    const isLate = known !== undefined && member !== undefined && member.position >= known.position;
    if (isLate) return false;
    if (to === 'invite' || to === 'knock') return true;
    // An end: of the invite or knock that it names, or the user's own.
    if (member?.membership !== 'invite' && member?.membership !== 'knock') return false;
    if (event.sender === userId || event.authEvents.includes(member.eventId)) return true;
    log.info({ eventId, roomId, userId }, 'the end of an invite or knock that is not the present one was passed over');
    return false;
  }

  /** The room's record, made if there is none. Undefined where the event says another room version than what is held. */
  #headFor(tx: WriteTx, { roomId, version }: RoomEvent): RoomHead | undefined {
    const { heads, members } = this.#parts;
    const head = heads.find(roomId);
    if (head === undefined) return heads.insert(tx, roomId, version);
    if (head.version === version) return head;
    // Whoever named the version first may have been wrong, but what users were told does not go away for it.
    const isPending = members
      .listLocal(roomId)
      .some((user) => ['invite', 'knock'].includes(members.findMember(roomId, user)?.membership ?? 'leave'));
    return isRecordOnly(head) && !isPending ? startOver(tx, this.#parts, head, version) : undefined;
  }

  #insert(tx: WriteTx, head: RoomHead, event: RoomEvent): StoredEvent {
    return this.#parts.events.insert(tx, head.nid, event, {
      position: tx.nextPosition(),
      receivedTs: this.#parts.clock.now(),
      verdict: 'accepted',
      outlier: true,
      timeline: 'none',
      stateBefore: undefined,
      stateAfter: undefined,
      replaces: undefined,
    });
  }

  #apply(
    tx: WriteTx,
    head: RoomHead,
    position: StreamPosition,
    event: StoredEvent,
    userId: UserId,
    strippedState: readonly JsonObject[] | undefined,
  ): void {
    const isShown = ['invite', 'knock'].includes(membershipOf(event));
    this.#parts.members.apply(tx, head, position, [
      { userId, event, isGone: false, strippedState: isShown ? (strippedState ?? []) : undefined },
    ]);
    for (const projection of this.#parts.projections) projection.projectOutside?.(tx, event, position);
  }
}

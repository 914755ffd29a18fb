import { canonicalJson, checkCanonical } from '../matrix/canonical-json.ts';
import { badJson, forbidden, notFound } from '../matrix/errors.ts';
import { buildEvent, type EventReference } from '../matrix/events/build.ts';
import type { RoomEvent } from '../matrix/events/event.ts';
import { referenceHashBase64 } from '../matrix/events/hash.ts';
import { type DeviceId, isRoomId, type RoomId, type ServerName, type UserId } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import { readPowerLevels } from '../matrix/power-levels.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import type { SigningKey } from '../matrix/signing.ts';
import type { Database, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { type Random, randomString } from '../util/random.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHead, RoomHeads } from './extremities.ts';
import type { Gatherer } from './gather.ts';
import { judge } from './judge.ts';
import type { Persister } from './persist.ts';
import type { SendTransactions } from './transactions.ts';
import type { EventDraft, EventSender, MembershipReader, PersistedEvent, SendOptions } from './types.ts';

/** The spec allows twenty; fewer keep events small, and what is left over comes with the next ones. */
const MAX_PREV_EVENTS_SENT = 10;
const OPAQUE_ID_LENGTH = 18;

interface SenderParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly gatherer: Gatherer;
  readonly members: Pick<MembershipReader, 'isJoined'>;
  readonly persister: Persister;
  readonly transactions: SendTransactions;
}

/**
 * Local events onto the road that every event takes. From the choice of its predecessors to the commit of its rows, an
 * event's way is one uninterrupted step, so that no two of a room can fork it.
 */
export class Sender implements EventSender {
  readonly #parts: SenderParts;

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  async send(draft: EventDraft, options: SendOptions = {}): Promise<PersistedEvent> {
    const { db, heads, transactions } = this.#parts;
    const { transaction, alongside, allowUnchanged = false } = options;
    if (transaction !== undefined) {
      const sent = this.#findSent(draft, transaction.deviceId, transaction.transactionId);
      if (sent !== undefined) return sent;
    }
    const head = heads.find(draft.roomId);
    if (head === undefined) throw notFound('Unknown room');
    if (!allowUnchanged) {
      const holder = this.#findSame(head, draft);
      if (holder !== undefined) return holder;
    }
    return db.write((tx): PersistedEvent => {
      const event = this.#send(tx, head, draft);
      if (transaction !== undefined) {
        const sender = { userId: draft.sender, deviceId: transaction.deviceId };
        transactions.insert(tx, sender, transaction.transactionId, event.nid);
      }
      alongside?.(tx, event);
      return event;
    });
  }

  sendWithin(tx: WriteTx, draft: EventDraft): PersistedEvent {
    const head = this.#parts.heads.find(draft.roomId);
    if (head === undefined) throw notFound('Unknown room');
    return this.#send(tx, head, draft);
  }

  async createRoom({
    version,
    creator,
    createContent,
    events: draftsOf,
    alongside,
  }: Parameters<EventSender['createRoom']>[0]): Promise<{ roomId: RoomId; events: readonly PersistedEvent[] }> {
    const { db, heads } = this.#parts;
    return db.write((tx): { roomId: RoomId; events: readonly PersistedEvent[] } => {
      const create = this.#buildCreate(tx, version, creator, createContent);
      const { roomId } = create;
      const events = [this.#accept(tx, heads.insert(tx, roomId, version), create)];
      for (const draft of draftsOf(roomId)) {
        const head = heads.find(roomId);
        if (head === undefined) throw new Error('a room vanished while it was made');
        events.push(this.#send(tx, head, { ...draft, roomId }));
      }
      alongside?.(tx, roomId);
      return { roomId, events };
    });
  }

  findTransactionId(event: PersistedEvent, deviceId: DeviceId): string | undefined {
    const { events, transactions } = this.#parts;
    const nid = events.findNid(event.eventId);
    return nid === undefined ? undefined : transactions.findTransactionId(nid, { userId: event.sender, deviceId });
  }

  /** The event that an earlier request with this transaction ID and the same path sent. */
  #findSent(draft: EventDraft, deviceId: DeviceId, transactionId: string): StoredEvent | undefined {
    const { events, transactions } = this.#parts;
    const target = targetOf(draft);
    for (const nid of transactions.list({ userId: draft.sender, deviceId }, transactionId)) {
      const event = events.getByNid(nid);
      const isSamePath =
        event.roomId === draft.roomId && event.type === draft.type && event.stateKey === draft.stateKey;
      // A redaction that was itself redacted has lost its target.
      if (isSamePath && (event.redactedBy !== undefined || event.redacts === target)) return event;
    }
    return undefined;
  }

  /** The event that already says in the current state what this draft would, by the same sender. */
  #findSame(head: RoomHead, draft: EventDraft): StoredEvent | undefined {
    if (draft.stateKey === undefined) return undefined;
    const { gatherer, members } = this.#parts;
    // Whoever is no longer there gets the judge's answer; but having left already is no reason to refuse leaving.
    if (draft.type !== 'm.room.member' && !members.isJoined(head.roomId, draft.sender)) return undefined;
    const holder = gatherer.findIn(head.current, draft.type, draft.stateKey);
    if (holder?.sender !== draft.sender) return undefined;
    // What has no canonical form is refused, with the reason, when the event is built.
    if (checkCanonical(draft.content, { strict: false }) !== undefined) return undefined;
    const write = (content: JsonObject): string => canonicalJson(content, { strict: false });
    return write(holder.content) === write(draft.content) ? holder : undefined;
  }

  #send(tx: WriteTx, head: RoomHead, draft: EventDraft): StoredEvent {
    const { serverName, signingKey, random, clock, events, gatherer } = this.#parts;
    const { version, extremities } = head;
    const newest = extremities.toSorted((a, b) => b.depth - a.depth || b.nid - a.nid).slice(0, MAX_PREV_EVENTS_SENT);
    const prevEvents = newest.map(({ nid }) => events.getByNid(nid));
    const stateBefore = gatherer.stateBefore(tx, head, prevEvents);
    const { type, sender, content, stateKey, redacts } = draft;
    const authEvents = gatherer.selectAuthEvents({ type, sender, content, stateKey, version }, stateBefore);
    const event = buildEvent({
      serverName,
      signingKey,
      version,
      roomId: head.roomId,
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { stateKey }),
      ...(redacts === undefined ? {} : { redacts }),
      originServerTs: draft.originServerTs ?? clock.now(),
      depth: Math.max(0, ...prevEvents.map(({ depth }) => depth)) + 1,
      prevEvents: prevEvents.map(referTo),
      authEvents: authEvents.map(referTo),
      ...(version.eventIds === 'given' ? { eventIdLocalpart: randomString(random, OPAQUE_ID_LENGTH) } : {}),
    });
    if (type === 'm.room.redaction') this.#checkRedaction(head, event);
    return this.#accept(tx, head, event);
  }

  /** The rest of the road, the same for all events. @throws MatrixError M_FORBIDDEN where the judge refuses. */
  #accept(tx: WriteTx, head: RoomHead, event: RoomEvent): StoredEvent {
    const { gatherer, persister } = this.#parts;
    const { authEvents, create, prevEvents } = gatherer.gather(event);
    const stateBefore = gatherer.stateBefore(tx, head, prevEvents);
    const judgement = judge({
      event,
      authEvents,
      create,
      isRejected: (id) => gatherer.isRejected(id),
      stateBefore: gatherer.authState(stateBefore),
      currentState: stateBefore === head.current ? undefined : gatherer.authState(head.current),
    });
    if (judgement.verdict !== 'accepted') throw forbidden(capitalised(judgement.reason));
    return persister.persist(tx, head, {
      event,
      verdict: judgement.verdict,
      stateBefore,
      prevEvents,
      missing: [],
      live: true,
      isNew: true,
    });
  }

  /**
   * The rules would let a redaction pass that then has no effect, and let users of one server redact each other's
   * events. A client is told instead (client-server API, PUT …/redact/…).
   */
  #checkRedaction(head: RoomHead, event: RoomEvent): void {
    const { events, gatherer } = this.#parts;
    if (event.redacts === undefined) throw badJson('A redaction needs the ID of the event to redact');
    const target = events.find(event.redacts);
    if (target === undefined || target.roomId !== head.roomId) throw notFound('There is no such event in the room');
    if (target.sender === event.sender) return;
    const levels = readPowerLevels(
      gatherer.findIn(head.current, 'm.room.create', ''),
      gatherer.findIn(head.current, 'm.room.power_levels', ''),
    );
    if (levels.powerLevelOf(event.sender) < levels.requiredFor('redact')) {
      throw forbidden('You do not have permission to redact events of others');
    }
  }

  #buildCreate(
    tx: WriteTx,
    version: RoomVersion,
    creator: UserId,
    createContent: Parameters<EventSender['createRoom']>[0]['createContent'],
  ): RoomEvent {
    const { serverName, signingKey, random, clock, heads } = this.#parts;
    const roomId = version.roomIdIsCreateHash ? undefined : this.#newRoomId();
    const content: JsonObject = {
      ...(typeof createContent === 'function' ? createContent(tx, roomId) : createContent),
      room_version: version.id,
      ...(version.creatorIsSender ? {} : { creator }),
    };
    // In room version 12 the same create event would be the same room: a later moment makes it another.
    for (let originServerTs = clock.now(); ; originServerTs++) {
      const event = buildEvent({
        serverName,
        signingKey,
        version,
        roomId,
        type: 'm.room.create',
        sender: creator,
        stateKey: '',
        content,
        originServerTs,
        depth: 1,
        prevEvents: [],
        authEvents: [],
        ...(version.eventIds === 'given' ? { eventIdLocalpart: randomString(random, OPAQUE_ID_LENGTH) } : {}),
      });
      if (heads.find(event.roomId) === undefined) return event;
    }
  }

  #newRoomId(): RoomId {
    const { random, serverName, heads } = this.#parts;
    for (;;) {
      const id = `!${randomString(random, OPAQUE_ID_LENGTH)}:${serverName}`;
      if (!isRoomId(id)) throw new TypeError('a new room ID was none');
      if (heads.find(id) === undefined) return id;
    }
  }
}

/** Room versions 1 and 2 want the hash of what is referred to as well. */
function referTo(event: StoredEvent): EventReference {
  const { eventId, version, pdu } = event;
  return version.references === 'pairs' ? { eventId, sha256: referenceHashBase64(pdu, version) } : eventId;
}

/** The event a draft redacts, wherever it says so. */
function targetOf({ redacts, content }: EventDraft): string | undefined {
  if (redacts !== undefined) return redacts;
  return typeof content['redacts'] === 'string' ? content['redacts'] : undefined;
}

function capitalised(reason: string): string {
  return reason.charAt(0).toUpperCase() + reason.slice(1);
}

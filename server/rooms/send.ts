import { canonicalJson, checkCanonical } from '../matrix/canonical-json.ts';
import { badJson, forbidden, notFound } from '../matrix/errors.ts';
import { buildEvent } from '../matrix/events/build.ts';
import type { RoomEvent } from '../matrix/events/event.ts';
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
import { listFollowed, placeInGraph } from './place.ts';
import type { PolicyCheck } from './policy-servers.ts';
import type { StateResolver } from './resolution.ts';
import { EMPTY_STATE, type StateGroupId } from './state-groups.ts';
import type { SendTransactions } from './transactions.ts';
import type { EventDraft, EventSender, MembershipReader, PersistedEvent, SendOptions } from './types.ts';

const OPAQUE_ID_LENGTH = 18;
/** How often is waited for a state to be resolved, since the room may move on meanwhile. */
const MAX_WAITS = 3;

interface SenderParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly gatherer: Gatherer;
  readonly resolver: StateResolver;
  readonly members: Pick<MembershipReader, 'isJoined'>;
  readonly persister: Persister;
  readonly transactions: SendTransactions;
  /** Whose recommendation events need in some rooms. */
  readonly policy?: PolicyCheck | undefined;
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
    const { db, heads, transactions, policy } = this.#parts;
    const { transaction, alongside, allowUnchanged = false } = options;
    if (transaction !== undefined) {
      const sent = this.#findSent(draft, transaction.deviceId, transaction.transactionId);
      if (sent !== undefined) return sent;
    }
    // Mostly nothing is to be waited for, and then nothing is.
    for (let waits = 0; waits < MAX_WAITS; waits += 1) {
      const preparation = this.#prepareStates(draft.roomId);
      if (preparation === undefined) break;
      await preparation;
      const sent = transaction && this.#findSent(draft, transaction.deviceId, transaction.transactionId);
      if (sent !== undefined) return sent;
    }
    const head = heads.find(draft.roomId);
    if (head === undefined) throw notFound('Unknown room');
    if (!allowUnchanged) {
      const holder = this.#findSame(head, draft);
      if (holder !== undefined) return holder;
    }
    // Only where a policy server has its say is anything waited for.
    const recommended =
      policy?.isEnabled(draft.roomId) === true ? await this.#recommend(this.prepare(draft)) : undefined;
    if (recommended !== undefined && transaction !== undefined) {
      const sent = this.#findSent(draft, transaction.deviceId, transaction.transactionId);
      if (sent !== undefined) return sent;
    }
    return db.write((tx): PersistedEvent => {
      const event = recommended === undefined ? this.#send(tx, head, draft) : this.#acceptPrepared(tx, recommended);
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

  /**
   * Makes an event that another server must agree to before it counts, at its place in the graph of now. Nothing is stored.
   * @throws MatrixError as `send` does
   */
  prepare(draft: EventDraft): RoomEvent {
    const { db, heads } = this.#parts;
    const head = heads.find(draft.roomId);
    if (head === undefined) throw notFound('Unknown room');
    return db.write((tx) => {
      const event = this.#build(tx, head, draft);
      this.#judge(tx, head, event);
      return event;
    });
  }

  /**
   * Stores an event that `prepare` made, with the signatures it got since. The room may have moved on meanwhile: then the
   * event has to be right by its state of now as well.
   * @throws MatrixError M_FORBIDDEN with the auth rule's reason
   */
  async sendPrepared(event: RoomEvent): Promise<PersistedEvent> {
    const { db, events } = this.#parts;
    const recommended = await this.#recommend(event);
    // The other server may have passed it on to us already.
    const known = events.find(event.eventId);
    if (known !== undefined && !known.outlier) return known;
    return db.write((tx): PersistedEvent => this.#acceptPrepared(tx, recommended));
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

  /**
   * Resolves the states of a room with more ends than an event can follow, of those that the next one will follow and then
   * of what is left. Undefined if that takes no time.
   */
  #prepareStates(roomId: RoomId): Promise<void> | undefined {
    const { heads, events, resolver } = this.#parts;
    const head = heads.find(roomId);
    if (head === undefined) return undefined;
    const followed = new Set(listFollowed(head));
    if (followed.size === head.extremities.length) return undefined;
    const { version, current: near } = head;
    const stateOf = ({ nid }: { nid: number }): StateGroupId => events.getByNid(nid).stateAfter ?? EMPTY_STATE;
    const states = [...followed].map(stateOf);
    if (!resolver.attempt(version, states, near)) return resolver.prepare(version, states, { near });
    const before = resolver.find(version, states);
    const after = head.extremities.filter((extremity) => !followed.has(extremity)).map(stateOf);
    if (before !== undefined) after.push(before);
    return resolver.attempt(version, after, near) ? undefined : resolver.prepare(version, after, { near });
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
    return this.#accept(tx, head, this.#build(tx, head, draft));
  }

  #build(tx: WriteTx, head: RoomHead, draft: EventDraft): RoomEvent {
    const { serverName, signingKey, random, clock, events, gatherer } = this.#parts;
    const { version } = head;
    const { type, sender, content, stateKey, redacts } = draft;
    const { prevEvents, authEvents, depth } = placeInGraph(tx, { events, gatherer }, head, draft);
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
      depth,
      prevEvents,
      authEvents,
      ...(version.eventIds === 'given' ? { eventIdLocalpart: randomString(random, OPAQUE_ID_LENGTH) } : {}),
    });
    if (type === 'm.room.redaction') this.#checkRedaction(head, event);
    return event;
  }

  /**
   * An event as the room's policy server recommends it, if there is one.
   * @throws MatrixError what the policy server says against it
   */
  async #recommend(event: RoomEvent): Promise<RoomEvent> {
    const { policy } = this.#parts;
    if (policy === undefined) return event;
    const recommendation = await policy.ask(event);
    if (!recommendation.isRecommended) throw recommendation.error;
    return recommendation.event;
  }

  /** Something was waited for since it was made. */
  #acceptPrepared(tx: WriteTx, event: RoomEvent): StoredEvent {
    const head = this.#parts.heads.find(event.roomId);
    if (head === undefined) throw notFound('Unknown room');
    return this.#accept(tx, head, event, { isNew: false });
  }

  /** The rest of the road, the same for all events. @throws MatrixError M_FORBIDDEN where the judge refuses. */
  #accept(tx: WriteTx, head: RoomHead, event: RoomEvent, { isNew } = { isNew: true }): StoredEvent {
    const { stateBefore, prevEvents } = this.#judge(tx, head, event);
    return this.#parts.persister.persist(tx, head, {
      event,
      verdict: 'accepted',
      stateBefore,
      prevEvents,
      missing: [],
      live: true,
      isNew,
    });
  }

  /** @throws MatrixError M_FORBIDDEN where the judge refuses. */
  #judge(
    tx: WriteTx,
    head: RoomHead,
    event: RoomEvent,
  ): { readonly stateBefore: StateGroupId; readonly prevEvents: readonly StoredEvent[] } {
    const { gatherer } = this.#parts;
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
    return { stateBefore, prevEvents };
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

/** The event a draft redacts, wherever it says so. */
function targetOf({ redacts, content }: EventDraft): string | undefined {
  if (redacts !== undefined) return redacts;
  return typeof content['redacts'] === 'string' ? content['redacts'] : undefined;
}

function capitalised(reason: string): string {
  return reason.charAt(0).toUpperCase() + reason.slice(1);
}

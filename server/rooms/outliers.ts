import type { KeyRing } from '../federation/types.ts';
import { createEventIdOf } from '../matrix/auth-rules/auth-state.ts';
import type { RoomEvent } from '../matrix/events/event.ts';
import { checkContentHash } from '../matrix/events/hash.ts';
import { parsePdu } from '../matrix/events/parse.ts';
import { redactEvent } from '../matrix/events/redact.ts';
import type { EventId, RoomId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../matrix/json.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import type { Database, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { Pace } from '../util/pace.ts';
import { type EventStore, readPdu, type StoredEvent } from './event-store.ts';
import type { RoomHead, RoomHeads } from './extremities.ts';
import type { OutlierStore } from './federation-types.ts';
import { judge } from './judge.ts';

interface OutlierParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly keyRing: Pick<KeyRing, 'checkEvents'>;
}

interface OutlierRoom {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
}

export interface OutlierOptions {
  readonly signal?: AbortSignal;
  /** Is told of every event of the room whose format is right, in the order they came, before it is checked further. */
  readonly onEvent?: (event: RoomEvent) => void;
}

export interface OutlierOutcome {
  readonly stored: ReadonlySet<EventId>;
  /** Those of them that break the rules. */
  readonly rejected: ReadonlySet<EventId>;
  /** At most a thousand of them, the first ones. */
  readonly dropped: readonly { readonly eventId: EventId | undefined; readonly reason: string }[];
}

/** How long is worked at a stretch, ms. */
const SLICE_MS = 8;
/** How many events have their signatures checked together, and how many are stored in one write: some 5 ms of work. */
const BATCH = 100;
const WRITTEN_AT_ONCE = 60;
/** The auth chains and states of the largest public rooms are below this. */
const MAX_EVENTS = 1_000_000;
/** Text of events that wait for what they rest upon, UTF-16 units. */
const MAX_WAITING = 128 * 1024 * 1024;
const MAX_DROPPED = 1_000;

/** More was handed in than anybody can mean well with. */
export class TooManyOutliersError extends Error {
  constructor() {
    super('more events than can be taken at once');
    this.name = 'TooManyOutliersError';
  }
}

/** Events that are kept to check others: auth chains, and the states of rooms as other servers tell them. */
export class Outliers implements OutlierStore {
  readonly #parts: OutlierParts;

  constructor(parts: OutlierParts) {
    this.#parts = parts;
  }

  /**
   * See `OutlierStore`. Of an event that is had already nothing changes, but that one which was stored before the events
   * it rests upon is judged anew.
   * @throws TooManyOutliersError; what `pdus` or the key ring throw; the signal's reason
   */
  async accept(
    room: OutlierRoom,
    pdus: Iterable<JsonValue> | AsyncIterable<JsonValue>,
    options: OutlierOptions = {},
  ): Promise<OutlierOutcome> {
    return new Intake(this.#parts, room, options).run(pdus);
  }
}

/** An event that rests on others which have not been stored yet. As text, which takes a fraction of the room. */
interface Waiting {
  /** Undefined for one that is stored and only to be judged anew. */
  readonly text: string | undefined;
  lacking: number;
}

/** One call of `accept`. */
class Intake {
  readonly #parts: OutlierParts;
  readonly #room: OutlierRoom;
  readonly #options: OutlierOptions;
  readonly #createId: EventId | undefined;
  readonly #pace: Pace;
  readonly #seen = new Set<EventId>();
  readonly #stored = new Set<EventId>();
  readonly #rejected = new Set<EventId>();
  readonly #dropped: { eventId: EventId | undefined; reason: string }[] = [];
  readonly #waiting = new Map<EventId, Waiting>();
  readonly #waitedFor = new Map<EventId, EventId[]>();
  #waitingUnits = 0;
  /** What can be stored now. */
  #ready: (RoomEvent | EventId)[] = [];
  #checking: { readonly batch: readonly RoomEvent[]; readonly results: Promise<boolean[]> } | undefined;

  constructor(parts: OutlierParts, room: OutlierRoom, options: OutlierOptions) {
    this.#parts = parts;
    this.#room = room;
    this.#options = options;
    this.#pace = new Pace(parts.clock, SLICE_MS);
    this.#createId = room.version.roomIdIsCreateHash ? createEventIdOf(room.roomId) : undefined;
  }

  async run(pdus: Iterable<JsonValue> | AsyncIterable<JsonValue>): Promise<OutlierOutcome> {
    let batch: RoomEvent[] = [];
    let count = 0;
    for await (const pdu of pdus) {
      this.#options.signal?.throwIfAborted();
      count += 1;
      if (count > MAX_EVENTS) throw new TooManyOutliersError();
      await this.#pace.step();
      const event = this.#read(pdu);
      if (event !== undefined) batch.push(event);
      // What is dropped or known has cost time as well.
      if (count % BATCH !== 0) continue;
      await this.#check(batch);
      batch = [];
    }
    await this.#check(batch);
    await this.#settle();
    for (const [eventId, { text }] of this.#waiting) {
      if (text !== undefined) this.#drop(eventId, 'what it rests upon is not there');
    }
    return { stored: this.#stored, rejected: this.#rejected, dropped: this.#dropped };
  }

  /** The event, if anything is to be done with it. */
  #read(pdu: JsonValue): RoomEvent | undefined {
    const { roomId, version } = this.#room;
    if (!isJsonObject(pdu)) return this.#drop(undefined, 'it is not an object');
    const parsed = parsePdu(pdu, version);
    if (!parsed.ok) return this.#drop(undefined, parsed.reason);
    const { event } = parsed;
    if (event.roomId !== roomId) return this.#drop(event.eventId, 'it is of another room');
    this.#options.onEvent?.(event);
    if (this.#seen.has(event.eventId)) return undefined;
    this.#seen.add(event.eventId);
    const known = this.#parts.events.find(event.eventId);
    if (known === undefined) return event;
    this.#stored.add(event.eventId);
    if (known.verdict === 'rejected') this.#rejected.add(event.eventId);
    if (known.outlier && !this.#parts.events.isLinked(known)) this.#offer(known, undefined);
    this.#release(event.eventId);
    return undefined;
  }

  /** Has a batch's signatures checked, and meanwhile takes in the one before it. */
  async #check(batch: readonly RoomEvent[]): Promise<void> {
    const results = batch.length === 0 ? Promise.resolve([]) : this.#parts.keyRing.checkEvents(batch);
    // Looked at in `settle`; should an error end this intake before, nobody needs to hear of a second one.
    results.catch(() => undefined);
    await this.#settle();
    this.#checking = { batch, results };
  }

  async #settle(): Promise<void> {
    const checking = this.#checking;
    this.#checking = undefined;
    if (checking !== undefined) {
      const results = await checking.results;
      for (const [index, event] of checking.batch.entries()) {
        await this.#pace.step();
        if (results[index] !== true) {
          this.#drop(event.eventId, 'a signature is missing or wrong');
          continue;
        }
        const sound = checkContentHash(event.pdu, event.version) ? event : redactEvent(event);
        this.#offer(sound, JSON.stringify(sound.pdu));
      }
    }
    await this.#write();
  }

  /** Stores it with the next write, or once all it rests upon is stored. */
  #offer(event: RoomEvent, text: string | undefined): void {
    const lacking = this.#restsOn(event).filter((id) => this.#parts.events.findNid(id) === undefined);
    if (lacking.length === 0) {
      this.#ready.push(text === undefined ? event.eventId : event);
      return;
    }
    this.#waitingUnits += text?.length ?? 0;
    if (this.#waitingUnits > MAX_WAITING) throw new TooManyOutliersError();
    this.#waiting.set(event.eventId, { text, lacking: lacking.length });
    for (const id of lacking) {
      const others = this.#waitedFor.get(id);
      if (others === undefined) this.#waitedFor.set(id, [event.eventId]);
      else others.push(event.eventId);
    }
  }

  #restsOn({ eventId, authEvents, type }: RoomEvent): EventId[] {
    const ids = new Set(authEvents);
    if (this.#createId !== undefined && type !== 'm.room.create') ids.add(this.#createId);
    // In versions 1 and 2 an event may name itself.
    return ids.has(eventId) ? [eventId, ...ids] : [...ids];
  }

  /** An event is stored: what waited only for it can follow. */
  #release(eventId: EventId): void {
    for (const id of this.#waitedFor.get(eventId) ?? []) {
      const waiting = this.#waiting.get(id);
      if (waiting === undefined) continue;
      waiting.lacking -= 1;
      if (waiting.lacking > 0) continue;
      this.#waiting.delete(id);
      this.#waitingUnits -= waiting.text?.length ?? 0;
      this.#ready.push(waiting.text === undefined ? id : readPdu(waiting.text, this.#room.version, id));
    }
    this.#waitedFor.delete(eventId);
  }

  async #write(): Promise<void> {
    const { db } = this.#parts;
    while (this.#ready.length > 0) {
      await this.#pace.step();
      this.#options.signal?.throwIfAborted();
      const slice = this.#ready.splice(0, WRITTEN_AT_ONCE);
      db.write((tx) => {
        const head = this.#head(tx);
        for (const item of slice) {
          if (typeof item === 'string') this.#judgeAnew(tx, head, item);
          else this.#store(tx, head, item);
        }
      });
      // What is written in one turn of the event loop shares one commit.
      if (!this.#pace.isOn || this.#ready.length === 0) await db.committed();
    }
  }

  #head(tx: WriteTx): RoomHead {
    const { heads } = this.#parts;
    const { roomId, version } = this.#room;
    const head = heads.find(roomId) ?? heads.insert(tx, roomId, version);
    if (head.version !== version) throw new TypeError('the room is known with another version');
    return head;
  }

  #store(tx: WriteTx, head: RoomHead, event: RoomEvent): void {
    const { events, clock } = this.#parts;
    if (events.findNid(event.eventId) === undefined) {
      const verdict = this.#judge(event);
      if (verdict === undefined) return;
      if (verdict === 'rejected') this.#rejected.add(event.eventId);
      events.insert(tx, head.nid, event, {
        position: tx.nextPosition(),
        receivedTs: clock.now(),
        verdict,
        outlier: true,
        timeline: 'none',
        stateBefore: undefined,
        stateAfter: undefined,
        replaces: undefined,
      });
    }
    this.#stored.add(event.eventId);
    this.#release(event.eventId);
  }

  /** For an outlier that was stored when what it rests upon was not there. */
  #judgeAnew(tx: WriteTx, head: RoomHead, eventId: EventId): void {
    const { events } = this.#parts;
    const known = events.find(eventId);
    if (known === undefined || !known.outlier || known.roomId !== head.roomId) return;
    events.linkAuthEvents(tx, known.nid, known);
    const verdict = this.#judge(known);
    if (verdict === undefined || verdict === known.verdict) return;
    if (verdict === 'rejected') this.#rejected.add(eventId);
    else this.#rejected.delete(eventId);
    events.replace(tx, known, { ...known, verdict, replaces: undefined });
  }

  #judge(event: RoomEvent): 'accepted' | 'rejected' | undefined {
    const { events, log } = this.#parts;
    const authEvents: StoredEvent[] = [];
    for (const id of event.authEvents) {
      const found = events.find(id);
      if (found === undefined) return this.#drop(event.eventId, 'what it rests upon is not there');
      if (found.roomId !== event.roomId) return this.#drop(event.eventId, 'it rests upon an event of another room');
      authEvents.push(found);
    }
    const judgement = judge({
      event,
      authEvents,
      create: this.#createId === undefined ? undefined : events.find(this.#createId),
      isRejected: (id) => events.find(id)?.verdict === 'rejected',
      stateBefore: undefined,
      currentState: undefined,
    });
    if (judgement.verdict === 'accepted') return 'accepted';
    const { eventId, roomId } = event;
    log.info({ eventId, roomId, reason: judgement.reason }, 'outlier rejected');
    return 'rejected';
  }

  #drop(eventId: EventId | undefined, reason: string): undefined {
    if (this.#dropped.length < MAX_DROPPED) this.#dropped.push({ eventId, reason });
    return undefined;
  }
}

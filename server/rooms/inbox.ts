import type { RoomEvent } from '../matrix/events/event.ts';
import { checkContentHash } from '../matrix/events/hash.ts';
import { parsePdu } from '../matrix/events/parse.ts';
import { redactEvent } from '../matrix/events/redact.ts';
import { isRoomId, type RoomId } from '../matrix/identifiers.ts';
import { isJsonObject } from '../matrix/json.ts';
import { SerialQueue } from '../util/serial-queue.ts';
import { type Acceptance, Admitter, type AdmitOptions, type AdmitterParts } from './inbox/admission.ts';

export type { Acceptance } from './inbox/admission.ts';

export interface AcceptOptions extends Omit<AdmitOptions, 'toldStates'> {
  /** The caller has checked all signatures that the event needs. */
  readonly verified?: true;
}

/** Whether an event bears all signatures it needs. May wait for the keys of other servers. */
export type CheckSignatures = (event: RoomEvent) => Promise<boolean> | boolean;

interface InboxParts extends AdmitterParts {
  readonly checkSignatures: CheckSignatures;
}

/** How often something is waited for, since what was waited for may not be what is asked for any more. */
const MAX_WAITS = 8;

/** Where events of other servers enter the road: one at a time for each room, in the order they came. */
export class Inbox {
  readonly #parts: InboxParts;
  readonly #admitter: Admitter;
  readonly #lines = new SerialQueue<RoomId>();

  constructor(parts: InboxParts) {
    this.#parts = parts;
    this.#admitter = new Admitter(parts);
  }

  /** The uninterrupted part of the road, for those who can wait for the rest themselves. */
  get admitter(): Admitter {
    return this.#admitter;
  }

  /** Checks performed on receipt of a PDU (server-server API), in their order, and the event's storage. */
  async accept(pdu: unknown, options: AcceptOptions = {}): Promise<Acceptance> {
    const read = this.#read(pdu, options);
    if (typeof read === 'string') return { kind: 'dropped', reason: read };
    return this.#lines.run(read.roomId, () => this.#accept(read, options));
  }

  /** The road of an event whose format, signatures and hash are right; waits for a policy server if there is one. */
  async admit(event: RoomEvent, options: AdmitOptions = {}): Promise<Acceptance> {
    const { policy, resolver } = this.#parts;
    for (let waits = 0; ; waits++) {
      const admission = this.#admitter.admit(event, options, { isFinal: waits === MAX_WAITS });
      if (admission.kind === 'ask') await policy?.ask(event);
      else if (admission.kind === 'prepare') await resolver.prepare(event.version, admission.states, admission);
      else return admission;
    }
  }

  /** 1: the format of the room's version. Or why it is dropped. */
  #read(pdu: unknown, { newRoom }: AcceptOptions): RoomEvent | string {
    const roomId = isJsonObject(pdu) ? pdu['room_id'] : undefined;
    const known = typeof roomId === 'string' && isRoomId(roomId) ? this.#parts.heads.find(roomId) : undefined;
    const version = known?.version ?? newRoom;
    if (version === undefined) return 'the room is not known';
    const parsed = parsePdu(pdu, version);
    return parsed.ok ? parsed.event : parsed.reason;
  }

  async #accept(read: RoomEvent, options: AcceptOptions): Promise<Acceptance> {
    const known = this.#admitter.findKnown(read.eventId, options);
    if (known !== undefined) return { kind: 'known', event: known };
    // 2
    if (options.verified !== true && !(await this.#parts.checkSignatures(read))) {
      return { kind: 'dropped', reason: 'a signature is missing or wrong' };
    }
    // 3
    return this.admit(withSoundContent(read), options);
  }
}

/** Check 3: an event whose content is not what was hashed counts in its redacted form. */
export function withSoundContent(event: RoomEvent): RoomEvent {
  return checkContentHash(event.pdu, event.version) ? event : redactEvent(event);
}

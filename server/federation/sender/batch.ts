import type { EventId, RoomId, ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../matrix/json.ts';
import type { Logger } from '../../util/log.ts';
import type { Edu } from '../types.ts';
import type { Outbox, WaitingEdu } from './outbox.ts';

/** Limits of a transaction (server-server API, "Transactions"). */
export const MAX_PDUS = 50;
export const MAX_EDUS = 100;
/** Bytes of JSON, roughly: many a reverse proxy refuses more than a mebibyte. */
const MAX_BYTES = 900_000;

/** Makes the EDUs of one type when their time has come; undefined: there is nothing to tell after all. */
export type EduBuilder = (destination: ServerName, key: string) => readonly Edu[] | undefined;

/** What was made for one row of the outbox and did not fit into a transaction. */
interface Remainder {
  readonly seq: number;
  readonly edus: readonly Edu[];
}

/** A server that is being sent to, or holds what is not kept on disk. */
export interface Destination {
  readonly server: ServerName;
  /** EDUs that are worthless when late, by type and key. */
  readonly fleeting: Map<string, Edu>;
  /** How many PDUs to send at once; fewer after a refusal, until it is found what is refused. */
  limit: number;
  remainder: Remainder | undefined;
}

/** One transaction, and what it settles once the other server has it. */
export interface Batch {
  readonly pdus: readonly JsonObject[];
  readonly edus: readonly JsonObject[];
  /** The last event in it or passed over. */
  readonly pduSeq: number | undefined;
  readonly eduSeqs: readonly number[];
  readonly fleeting: readonly (readonly [string, Edu])[];
  readonly remainder: Remainder | undefined;
  readonly rooms: ReadonlySet<RoomId>;
}

/** Puts transactions together out of what waits. */
export class Batcher {
  readonly #outbox: Outbox;
  readonly #log: Logger;
  readonly #findPdu: (eventId: EventId) => JsonObject | undefined;
  readonly #builders: ReadonlyMap<string, EduBuilder>;
  readonly #sizes = new WeakMap<JsonObject, number>();

  constructor(needs: {
    outbox: Outbox;
    log: Logger;
    findPdu: (eventId: EventId) => JsonObject | undefined;
    builders: ReadonlyMap<string, EduBuilder>;
  }) {
    this.#outbox = needs.outbox;
    this.#log = needs.log;
    this.#findPdu = needs.findPdu;
    this.#builders = needs.builders;
  }

  /** The next transaction for a server; undefined if nothing waits for it. */
  build(destination: Destination): Batch | undefined {
    const { limit } = destination;
    const space = { bytes: MAX_BYTES };
    const pdus = this.#takePdus(destination, space);
    // Where a single item is refused, it has to be alone to be found.
    const room = limit >= MAX_PDUS ? MAX_EDUS : limit === 1 && pdus.pdus.length > 0 ? 0 : limit;
    const edus = this.#takeEdus(destination, room, space);
    const isEmpty = pdus.pduSeq === undefined && edus.eduSeqs.length === 0 && edus.edus.length === 0;
    return isEmpty ? undefined : { ...pdus, ...edus };
  }

  #takePdus({ server, limit }: Destination, space: { bytes: number }): Pick<Batch, 'pdus' | 'pduSeq' | 'rooms'> {
    const pdus: JsonObject[] = [];
    const rooms = new Set<RoomId>();
    let pduSeq: number | undefined;
    for (const { seq, eventId, roomId, pdu: kept } of this.#outbox.listPdus(server, Math.min(limit, MAX_PDUS))) {
      // Looked up only now: if it was redacted meanwhile, it goes pruned. If it is gone, so is its turn.
      const pdu = kept === undefined ? this.#findPdu(eventId) : readPdu(kept);
      const bytes = pdu === undefined ? 0 : this.#sizeOf(pdu);
      if (pdus.length > 0 && bytes > space.bytes) break;
      space.bytes -= bytes;
      if (pdu !== undefined) pdus.push(pdu);
      rooms.add(roomId);
      pduSeq = seq;
    }
    return { pdus, pduSeq, rooms };
  }

  #takeEdus(
    destination: Destination,
    room: number,
    space: { bytes: number },
  ): Pick<Batch, 'edus' | 'eduSeqs' | 'fleeting' | 'remainder'> {
    const edus: JsonObject[] = [];
    const eduSeqs: number[] = [];
    const take = (edu: Edu): boolean => {
      const wire = { edu_type: edu.type, content: edu.content };
      const bytes = this.#sizeOf(edu.content);
      if (edus.length >= room || (edus.length > 0 && bytes > space.bytes)) return false;
      space.bytes -= bytes;
      edus.push(wire);
      return true;
    };
    for (const row of room === 0 ? [] : this.#outbox.listEdus(destination.server, room)) {
      const made = this.#make(destination, row);
      const taken = made.findIndex((edu) => !take(edu));
      if (taken >= 0) return { edus, eduSeqs, fleeting: [], remainder: { seq: row.seq, edus: made.slice(taken) } };
      eduSeqs.push(row.seq);
    }
    const fleeting: [string, Edu][] = [];
    for (const [key, edu] of destination.fleeting) {
      if (!take(edu)) break;
      fleeting.push([key, edu]);
    }
    return { edus, eduSeqs, fleeting, remainder: undefined };
  }

  #make({ server, remainder }: Destination, { seq, type, key, content }: WaitingEdu): readonly Edu[] {
    if (content !== undefined) {
      const parsed: unknown = JSON.parse(content);
      return isJsonObject(parsed) ? [{ type, content: parsed }] : [];
    }
    if (remainder?.seq === seq) return remainder.edus;
    const builder = this.#builders.get(type);
    if (builder === undefined || key === undefined) {
      this.#log.warn({ server, type }, 'nobody makes this type of message to servers any more');
      return [];
    }
    try {
      return builder(server, key) ?? [];
    } catch (error) {
      // It would fail again, and keep all that comes after it from being sent.
      this.#log.error({ server, type, error }, 'a message to a server could not be made');
      return [];
    }
  }

  /** Bytes of JSON; remembered, since the same event goes to many servers. */
  #sizeOf(json: JsonObject): number {
    let size = this.#sizes.get(json);
    if (size === undefined) {
      size = Buffer.byteLength(JSON.stringify(json));
      this.#sizes.set(json, size);
    }
    return size;
  }
}

function readPdu(text: string): JsonObject | undefined {
  const parsed: unknown = JSON.parse(text);
  return isJsonObject(parsed) ? parsed : undefined;
}

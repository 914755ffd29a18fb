import type { EventId, RoomId, UserId } from '../identifiers.ts';
import type { JsonObject } from '../json.ts';
import type { RoomVersion } from '../room-versions.ts';

/**
 * An event as servers exchange it: signed JSON, in the format of its room's version, with every key it came with
 * (keys we do not know are part of what was hashed). Parsed and checked by `parse.ts`; read through `RoomEvent`.
 */
export type Pdu = JsonObject;

/**
 * An event whose format was checked against its room's version: the fields rules need, read once, beside the PDU they
 * came from. Immutable. Its event ID is the one the room version gives it (computed from version 3 on).
 */
export interface RoomEvent {
  readonly eventId: EventId;
  /** In room version 12 the create event's own ID in disguise; its PDU has no `room_id`. */
  readonly roomId: RoomId;
  readonly type: string;
  readonly sender: UserId;
  /** Undefined for what is not a state event. */
  readonly stateKey: string | undefined;
  readonly content: JsonObject;
  readonly originServerTs: number;
  readonly depth: number;
  readonly prevEvents: readonly EventId[];
  /** As listed by the event; in room version 12 without the create event, which is implied. */
  readonly authEvents: readonly EventId[];
  /** For m.room.redaction: the event it redacts, from where the room version keeps it. */
  readonly redacts: EventId | undefined;
  /** The whole PDU, `signatures` and `hashes` included, without `unsigned`. */
  readonly pdu: Pdu;
  readonly version: RoomVersion;
}

/** Key of a state map: event type and state key. Types cannot hold NUL after parsing, so the joint is unambiguous. */
export type StateKey = string & { readonly __stateKey: unique symbol };

/** Joins an event type and a state key into the key of a state map. */
export function stateKeyOf(type: string, stateKey: string): StateKey {
  return `${type}\0${stateKey}` as StateKey;
}

/** Takes a state map's key apart again. */
export function splitStateKey(key: StateKey): { type: string; stateKey: string } {
  const joint = key.indexOf('\0');
  return { type: key.slice(0, joint), stateKey: key.slice(joint + 1) };
}

/** The state of a room at some point: which event holds each (type, state key). */
export type StateMap = ReadonlyMap<StateKey, EventId>;

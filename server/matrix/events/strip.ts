import type { UserId } from '../identifiers.ts';
import type { JsonObject } from '../json.ts';
import type { RoomEvent } from './event.ts';

/** A state event as shown to those who are not (yet) in the room (spec: client-server API, "Stripped state"). */
export type StrippedStateEvent = {
  readonly type: string;
  readonly state_key: string;
  readonly sender: UserId;
  readonly content: JsonObject;
};

/** The stripped form of a state event. Throws TypeError for an event that is none. */
export function stripStateEvent(event: RoomEvent): StrippedStateEvent {
  if (event.stateKey === undefined) throw new TypeError('only state events have a stripped form');
  return { type: event.type, state_key: event.stateKey, sender: event.sender, content: event.content };
}

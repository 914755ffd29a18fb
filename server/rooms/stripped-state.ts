import { stripStateEvent } from '../matrix/events/strip.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { StoredEvent } from './event-store.ts';

/** What a room shows of itself to those who might join (spec: client-server API, "Stripped state"). */
const SHOWN_TYPES: readonly string[] = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
];

/**
 * The stripped state that comes with an invite or knock: the room's face in the state the event led to, the member event
 * of whoever sent it, and the event itself last.
 */
export function strippedStateFor(
  member: StoredEvent,
  find: (type: string, stateKey: string) => StoredEvent | undefined,
): JsonObject[] {
  const events = SHOWN_TYPES.map((type) => find(type, ''));
  if (member.sender !== member.stateKey) events.push(find('m.room.member', member.sender));
  return [...events.filter((event) => event !== undefined), member].map(stripStateEvent);
}

import type { RoomEvent } from '../events/event.ts';
import { type EventId, serverNameOf } from '../identifiers.ts';
import type { PowerLevels } from '../power-levels.ts';
import { allowed, rejected, type Verdict } from './auth-state.ts';

function domainOf(eventId: EventId): string | undefined {
  const colon = eventId.indexOf(':');
  return colon === -1 ? undefined : eventId.slice(colon + 1);
}

/** Auth rule 11 of room versions 1 and 2, m.room.redaction. */
export function checkRedactionEvent(event: RoomEvent, levels: PowerLevels): Verdict {
  // 11.1
  if (levels.powerLevelOf(event.sender) >= levels.requiredFor('redact')) return allowed;
  // 11.2: event IDs of these versions name the server that made them.
  const own = domainOf(event.eventId);
  if (event.redacts !== undefined && own !== undefined && domainOf(event.redacts) === own) return allowed;
  // 11.3
  return rejected('the sender may not redact events of other servers');
}

/**
 * Whether an accepted redaction is to be applied to its target (room versions 3 on, "Handling redactions"). `levels` are
 * those at the redaction. In versions 1 and 2 the auth rules have decided already, so only the rooms are compared.
 */
export function checkRedaction(redaction: RoomEvent, target: RoomEvent, levels: PowerLevels): Verdict {
  if (redaction.redacts !== target.eventId) return rejected('the redaction names another event');
  if (redaction.roomId !== target.roomId) return rejected('the redacted event is in another room');
  if (redaction.version.redactionsInAuthRules) return allowed;
  // 1
  if (levels.powerLevelOf(redaction.sender) >= levels.requiredFor('redact')) return allowed;
  // 2
  if (serverNameOf(redaction.sender) === serverNameOf(target.sender)) return allowed;
  return rejected('the sender may not redact events of other servers');
}

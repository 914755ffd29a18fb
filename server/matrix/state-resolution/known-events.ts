import { createEventIdOf } from '../auth-rules/auth-state.ts';
import type { RoomEvent } from '../events/event.ts';
import type { EventId, RoomId } from '../identifiers.ts';
import { readPowerLevels } from '../power-levels.ts';
import type { EventSource } from './event-source.ts';

/** The events of one resolution, each asked for once. */
export class KnownEvents {
  readonly #source: EventSource;
  readonly #events = new Map<EventId, RoomEvent | undefined>();
  /** The create events that room IDs name: of one room in a resolution. */
  readonly #creates = new Map<RoomId, EventId | undefined>();

  constructor(source: EventSource) {
    this.#source = source;
  }

  find(id: EventId): RoomEvent | undefined {
    const known = this.#events.get(id);
    if (known !== undefined || this.#events.has(id)) return known;
    const event = this.#source.get(id);
    this.#events.set(id, event);
    return event;
  }

  /** The auth event of this kind that `event` cites, the implied create event included. */
  authEvent(event: RoomEvent, type: string, stateKey: string): RoomEvent | undefined {
    return this.#authEvent(event, type, stateKey, () => true);
  }

  /** The same, but a rejected event authorises nothing (definition of the iterative auth checks). */
  usableAuthEvent(event: RoomEvent, type: string, stateKey: string): RoomEvent | undefined {
    return this.#authEvent(event, type, stateKey, ({ eventId }) => !this.#source.isRejected(eventId));
  }

  /** The level of an event's sender by its own auth events, as the power ordering wants it. */
  senderPower(event: RoomEvent): number {
    const create = this.authEvent(event, 'm.room.create', '');
    const powerLevels = this.authEvent(event, 'm.room.power_levels', '');
    return readPowerLevels(create, powerLevels).powerLevelOf(event.sender);
  }

  #createOf(roomId: RoomId): EventId | undefined {
    if (!this.#creates.has(roomId)) this.#creates.set(roomId, createEventIdOf(roomId));
    return this.#creates.get(roomId);
  }

  #authEvent(
    event: RoomEvent,
    type: string,
    stateKey: string,
    isUsable: (authEvent: RoomEvent) => boolean,
  ): RoomEvent | undefined {
    const implied = event.version.roomIdIsCreateHash ? this.#createOf(event.roomId) : undefined;
    for (const id of implied === undefined ? event.authEvents : [...event.authEvents, implied]) {
      const authEvent = this.find(id);
      if (authEvent?.type === type && authEvent.stateKey === stateKey && isUsable(authEvent)) return authEvent;
    }
    return undefined;
  }
}

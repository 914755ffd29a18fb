import type { DeviceId, EventId, RoomId, UserId } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import type {
  EventReader,
  EventSender,
  MembershipReader,
  PersistedEvent,
  RoomMember,
  StateReader,
  Visibility,
} from '../rooms/types.ts';
import type { Clock } from '../util/clock.ts';
import { fieldTrimmer } from './filter-match.ts';
import { membershipOf } from './room-change.ts';
import type { EventDecoration } from './types.ts';

/** Who an event is shown to. A `Requester` is one. */
export interface EventViewer {
  readonly userId: UserId;
  readonly deviceId: DeviceId | undefined;
  /** Looked up where it is not given. */
  readonly ignoredUsers?: ReadonlySet<UserId>;
}

export interface FormatOptions {
  /**
   * `client`, the default: as the spec's ClientEvent. `sync`: the same without `room_id`. `federation`: the PDU, its ID
   * and `unsigned`. `legacy`: ClientEvent and the top-level keys that the first version of the API had besides.
   */
  readonly format?: 'client' | 'sync' | 'federation' | 'legacy';
  /** The `event_fields` of a filter. */
  readonly eventFields?: readonly string[] | undefined;
  /** Whether bundled aggregations and the like are added to `unsigned`. They are not unless this is said. */
  readonly bundle?: boolean;
}

/** Makes what a client is shown out of events. Whether it may see them has been decided before. */
export interface ClientEventFormatter {
  /** Many at once, in the same order: what has to be looked up is looked up together. Undefined: nobody in particular. */
  format(events: readonly PersistedEvent[], viewer: EventViewer | undefined, options?: FormatOptions): JsonObject[];
  formatOne(event: PersistedEvent, viewer: EventViewer | undefined, options?: FormatOptions): JsonObject;
}

export interface ClientEventNeeds {
  readonly clock: Pick<Clock, 'now'>;
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly state: Pick<StateReader, 'stateAfter'>;
  readonly members: Pick<MembershipReader, 'findMember'>;
  readonly visibility: Pick<Visibility, 'filterVisible'>;
  readonly sender: Pick<EventSender, 'findTransactionId'>;
  readonly decorations: () => readonly EventDecoration[];
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
}

/** Makes the formatter (spec: client-server API, "Room event format", and `unsigned` of its ClientEvent). */
export function clientEvents(needs: ClientEventNeeds): ClientEventFormatter {
  const format: ClientEventFormatter['format'] = (events, viewer, options = {}) => {
    if (events.length === 0) return [];
    const batch = new Batch(needs, events, viewer, options);
    const trim = options.eventFields === undefined ? undefined : fieldTrimmer(options.eventFields);
    return events.map((event) => {
      const shown = batch.show(event);
      return trim === undefined ? shown : trim(shown);
    });
  };
  const formatOne: ClientEventFormatter['formatOne'] = (event, viewer, options) => {
    const [shown] = format([event], viewer, options);
    if (shown === undefined) throw new Error('an event was lost while it was formatted');
    return shown;
  };
  return { format, formatOne };
}

/** One call of `format`: what its events need to have looked up. */
class Batch {
  readonly #needs: ClientEventNeeds;
  readonly #viewer: EventViewer | undefined;
  readonly #format: NonNullable<FormatOptions['format']>;
  readonly #now: number;
  /** Events that others refer to and the viewer may see: what they replaced, what redacted them. */
  readonly #visible: ReadonlyMap<EventId, PersistedEvent>;
  readonly #decorated: ReadonlyMap<EventId, JsonObject>;
  readonly #places = new Map<RoomId, RoomMember | undefined>();
  readonly #memberships = new Map<EventId, string | undefined>();

  constructor(
    needs: ClientEventNeeds,
    events: readonly PersistedEvent[],
    viewer: EventViewer | undefined,
    { format = 'client', bundle = false }: FormatOptions,
  ) {
    this.#needs = needs;
    this.#viewer = viewer;
    this.#format = format;
    this.#now = needs.clock.now();
    this.#visible = this.#loadReferences(events);
    this.#decorated = bundle && viewer !== undefined ? this.#decorate(events, viewer) : new Map();
  }

  show(event: PersistedEvent): JsonObject {
    return this.#show(event, true);
  }

  #show(event: PersistedEvent, withRedaction: boolean): JsonObject {
    const unsigned = this.#unsigned(event, withRedaction);
    if (this.#format === 'federation') {
      return { ...event.pdu, event_id: event.eventId, room_id: event.roomId, unsigned };
    }
    const shown: Record<string, JsonValue> = {
      type: event.type,
      sender: event.sender,
      content: event.content,
      event_id: event.eventId,
      origin_server_ts: event.originServerTs,
      unsigned,
    };
    if (event.stateKey !== undefined) shown['state_key'] = event.stateKey;
    if (this.#format !== 'sync') shown['room_id'] = event.roomId;
    if (event.type === 'm.room.redaction' && event.redacts !== undefined) {
      // Room version 11: old clients look at the top level, new ones in `content`, whatever the version.
      shown['redacts'] = event.redacts;
      shown['content'] = { ...event.content, redacts: event.redacts };
    }
    if (this.#format === 'legacy') addLegacyKeys(shown, event, unsigned);
    return shown;
  }

  #unsigned(event: PersistedEvent, withRedaction: boolean): JsonObject {
    const unsigned: Record<string, JsonValue> = { age: this.#now - event.originServerTs };
    const viewer = this.#viewer;
    if (viewer !== undefined) {
      const membership = this.#membershipAt(event, viewer.userId);
      if (membership !== undefined) unsigned['membership'] = membership;
      if (event.sender === viewer.userId && viewer.deviceId !== undefined) {
        const transaction = this.#needs.sender.findTransactionId(event, viewer.deviceId);
        if (transaction !== undefined) unsigned['transaction_id'] = transaction;
      }
    }
    if (event.stateKey !== undefined && event.replacesState !== undefined) {
      unsigned['replaces_state'] = event.replacesState;
      const replaced = this.#visible.get(event.replacesState);
      if (replaced !== undefined) {
        unsigned['prev_content'] = replaced.content;
        unsigned['prev_sender'] = replaced.sender;
      }
    }
    if (withRedaction && event.redactedBy !== undefined) {
      const redaction = this.#visible.get(event.redactedBy);
      // Redactions can be redacted, by each other even: one is enough.
      if (redaction !== undefined) unsigned['redacted_because'] = this.#show(redaction, false);
      // NOT-SPEC: other servers have long named it so, and there are those who look for it.
      unsigned['redacted_by'] = event.redactedBy;
    }
    const added = this.#decorated.get(event.eventId);
    return added === undefined ? unsigned : merge(unsigned, added);
  }

  #loadReferences(events: readonly PersistedEvent[]): ReadonlyMap<EventId, PersistedEvent> {
    const ids = new Set<EventId>();
    for (const { stateKey, replacesState, redactedBy } of events) {
      if (stateKey !== undefined && replacesState !== undefined) ids.add(replacesState);
      if (redactedBy !== undefined) ids.add(redactedBy);
    }
    if (ids.size === 0) return new Map();
    const loaded = this.#needs.events.listEvents([...ids]);
    const viewer = this.#viewer;
    const visible = viewer === undefined ? loaded : this.#needs.visibility.filterVisible(viewer.userId, loaded);
    return new Map(visible.map((event) => [event.eventId, event]));
  }

  #decorate(events: readonly PersistedEvent[], viewer: EventViewer): ReadonlyMap<EventId, JsonObject> {
    const decorated = new Map<EventId, JsonObject>();
    const decorations = this.#needs.decorations();
    if (decorations.length === 0) return decorated;
    const ignoredUsers = viewer.ignoredUsers ?? this.#needs.ignoredUsers(viewer.userId);
    // What is bundled has no bundle of its own.
    const show = (event: PersistedEvent): JsonObject =>
      new Batch(this.#needs, [event], viewer, { format: this.#format }).show(event);
    for (const decoration of decorations) {
      for (const [eventId, added] of decoration.decorate(events, { userId: viewer.userId, ignoredUsers }, show)) {
        const earlier = decorated.get(eventId);
        decorated.set(eventId, earlier === undefined ? added : merge(earlier, added));
      }
    }
    return decorated;
  }

  /** The viewer's membership after the event (spec: `unsigned.membership`). */
  #membershipAt(event: PersistedEvent, userId: UserId): string | undefined {
    if (event.type === 'm.room.member' && event.stateKey === userId) return membershipOf(event);
    if (event.outlier) return undefined;
    if (!this.#places.has(event.roomId)) {
      this.#places.set(event.roomId, this.#needs.members.findMember(event.roomId, userId));
    }
    const place = this.#places.get(event.roomId);
    if (place === undefined) return 'leave';
    // Most of what is shown came after the viewer's last change of membership, and needs no look at old state.
    if (event.position >= place.position) return place.membership;
    const state = this.#needs.state.stateAfter(event.eventId);
    if (state === undefined) return undefined;
    const memberEvent = state.find('m.room.member', userId);
    if (memberEvent === undefined) return 'leave';
    if (!this.#memberships.has(memberEvent)) {
      this.#memberships.set(memberEvent, membershipOf(this.#needs.events.findEvent(memberEvent)));
    }
    return this.#memberships.get(memberEvent);
  }
}

/** Both objects' keys; where both hold an object under one key (`m.relations`), its keys too. */
function merge(a: JsonObject, b: JsonObject): JsonObject {
  const merged: Record<string, JsonValue> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    const earlier = merged[key];
    merged[key] = isJsonObject(earlier) && isJsonObject(value) ? { ...earlier, ...value } : value;
  }
  return merged;
}

/** The deprecated operations keep the form that their clients were written for. */
function addLegacyKeys(shown: Record<string, JsonValue>, event: PersistedEvent, unsigned: JsonObject): void {
  shown['user_id'] = event.sender;
  for (const key of ['age', 'prev_content', 'replaces_state', 'redacted_because']) {
    const value = unsigned[key];
    if (value !== undefined) shown[key] = value;
  }
}

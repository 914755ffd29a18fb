import type { DeviceId, EventId, RoomId, UserId } from '../../../matrix/identifiers.ts';
import { isUserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { EventReader, MembershipReader, PersistedEvent } from '../../../rooms/types.ts';
import type { StreamPosition } from '../../../storage/types.ts';
import type { ClientEventFormatter } from '../../../sync/client-event.ts';
import type { AppserviceStore } from '../store.ts';
import type { Interest } from './interest.ts';
import type { ApplicationService } from './registry.ts';

/** Events, and messages to devices, in one transaction. */
const MAX_EVENTS = 100;
/** Bytes of events, as long as there are several: what listens on the other side often takes no more. */
const MAX_EVENT_BYTES = 4_000_000;
/** A room with more members than this is not looked through for whom a user of the service no longer meets. */
const MANY_MEMBERS = 1_000;

/** Whether somebody may know of a private receipt. */
export interface ShownReceipt {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly isPrivate: boolean;
}

/** What is told besides events. Each is asked for what changed in (since, now], and gives how it is now. */
export interface News {
  readonly typing: {
    listSince(since: StreamPosition, now: StreamPosition): Iterable<readonly [RoomId, ReadonlySet<UserId>]>;
  };
  /** The m.receipt events of rooms. */
  readonly receipts: (
    since: StreamPosition,
    now: StreamPosition,
    isShown: (receipt: ShownReceipt) => boolean,
  ) => ReadonlyMap<RoomId, readonly JsonObject[]>;
  /** Users with their m.presence events, which are made when they are wanted. */
  readonly presence: (
    since: StreamPosition,
    now: StreamPosition,
  ) => Iterable<{ readonly userId: UserId; readonly toEvent: () => JsonObject }>;
  /** Users whose devices or keys changed. */
  readonly deviceLists: (since: StreamPosition, now: StreamPosition) => readonly UserId[];
}

export interface DeviceFacts {
  list(userId: UserId): readonly { readonly deviceId: DeviceId }[];
  exists(userId: UserId, deviceId: DeviceId): boolean;
  countOneTimeKeys(userId: UserId, deviceId: DeviceId): Readonly<Record<string, number>>;
  listUnusedFallback(userId: UserId, deviceId: DeviceId): readonly string[];
}

/** A transaction as it is put together, and what it holds of what was waiting. */
export interface Draft {
  /** Undefined: there is nothing to tell. */
  readonly body: JsonObject | undefined;
  readonly eventsUpTo: StreamPosition | undefined;
  readonly messagesUpTo: StreamPosition | undefined;
  readonly newsUpTo: StreamPosition;
}

export interface DrafterNeeds {
  readonly position: () => StreamPosition;
  readonly store: AppserviceStore;
  readonly events: Pick<EventReader, 'listEvents'>;
  readonly members: Pick<MembershipReader, 'listMembers' | 'listStrippedState' | 'countMembers'>;
  readonly formatter: Pick<ClientEventFormatter, 'format'>;
  readonly interest: Interest;
  readonly news: News;
  readonly devices: DeviceFacts;
}

/** Puts transactions together out of what waits (spec: "Pushing events", "Pushing ephemeral data"). */
export class Drafter {
  readonly #needs: DrafterNeeds;

  constructor(needs: DrafterNeeds) {
    this.#needs = needs;
  }

  /** `moved`: devices of which it is to be said how many keys they have left. */
  draft(service: ApplicationService, since: StreamPosition, moved: readonly (readonly [UserId, DeviceId])[]): Draft {
    const { position, store, devices } = this.#needs;
    const { receivesEphemeral, receivesDeviceNews } = service.registration;
    const now = position();
    const queued = store.listEvents(service.id, MAX_EVENTS);
    const events = this.#loadEvents(queued.map(({ eventId }) => eventId));
    const { shown, taken } = this.#format(service, events);
    // One that was removed since has nothing to say; those behind the last that fits wait.
    const last =
      taken < events.length ? queued.find(({ eventId }) => eventId === events[taken - 1]?.eventId) : queued.at(-1);
    const held = receivesEphemeral ? store.listMessages(service.id, MAX_EVENTS) : [];
    const messages = held.filter(({ userId, deviceId }) => devices.exists(userId, deviceId));
    const ephemeral = receivesEphemeral ? this.#listEphemeral(service, since, now) : [];
    const recipients = messages.map(({ userId, deviceId }) => [userId, deviceId] as const);
    const deviceNews = receivesDeviceNews
      ? this.#describeDevices(service, { since, now, events: events.slice(0, taken), moved: [...moved, ...recipients] })
      : {};
    const isEmpty =
      shown.length === 0 && messages.length === 0 && ephemeral.length === 0 && Object.keys(deviceNews).length === 0;
    const toDevice = messages.map(({ userId, deviceId, sender, type, content }) => ({
      type,
      sender,
      content,
      to_user_id: userId,
      to_device_id: deviceId,
    }));
    return {
      body: isEmpty
        ? undefined
        : {
            events: shown,
            // The names from before they were in the spec are those that most application services look for.
            ...(ephemeral.length === 0 ? {} : { ephemeral, 'de.sorunome.msc2409.ephemeral': ephemeral }),
            ...(toDevice.length === 0 ? {} : { to_device: toDevice, 'de.sorunome.msc2409.to_device': toDevice }),
            ...deviceNews,
          },
      eventsUpTo: last?.position,
      messagesUpTo: held.at(-1)?.position,
      newsUpTo: now,
    };
  }

  #loadEvents(eventIds: readonly EventId[]): PersistedEvent[] {
    const seen = new Set<EventId>();
    // An invite from outside may wait twice, once for each time that it moved its user.
    return this.#needs.events.listEvents(eventIds.filter((id) => !seen.has(id) && seen.add(id)));
  }

  /** The events as clients see them, as many of the first as are not too large together. */
  #format(service: ApplicationService, events: readonly PersistedEvent[]): { shown: JsonObject[]; taken: number } {
    const { formatter, members } = this.#needs;
    const shown: JsonObject[] = [];
    let bytes = 0;
    for (const [index, formatted] of formatter.format(events, undefined).entries()) {
      const event = events[index];
      if (event === undefined) break;
      bytes += Buffer.byteLength(JSON.stringify(formatted));
      if (index > 0 && bytes > MAX_EVENT_BYTES) break;
      shown.push(withRoomState(formatted, event, service, members));
    }
    return { shown, taken: shown.length };
  }

  #listEphemeral(service: ApplicationService, since: StreamPosition, now: StreamPosition): JsonObject[] {
    const { interest, news } = this.#needs;
    const known = new Map<RoomId, boolean>();
    const concerns = (roomId: RoomId): boolean => {
      const is = known.get(roomId) ?? interest.concernsRoom(service, roomId);
      known.set(roomId, is);
      return is;
    };
    const ephemeral: JsonObject[] = [];
    for (const [roomId, users] of news.typing.listSince(since, now)) {
      if (concerns(roomId)) ephemeral.push({ type: 'm.typing', room_id: roomId, content: { user_ids: [...users] } });
    }
    const isShown = ({ roomId, userId, isPrivate }: ShownReceipt): boolean =>
      concerns(roomId) && (!isPrivate || service.covers(userId));
    for (const [roomId, events] of news.receipts(since, now, isShown)) {
      for (const event of events) ephemeral.push({ ...event, room_id: roomId });
    }
    for (const { userId, toEvent } of news.presence(since, now)) {
      if (interest.concernsUser(service, userId)) ephemeral.push(toEvent());
    }
    return ephemeral;
  }

  /** MSC3202: what the service has to know to encrypt for its users. */
  #describeDevices(
    service: ApplicationService,
    {
      since,
      now,
      events,
      moved,
    }: {
      readonly since: StreamPosition;
      readonly now: StreamPosition;
      readonly events: readonly PersistedEvent[];
      readonly moved: readonly (readonly [UserId, DeviceId])[];
    },
  ): JsonObject {
    const { interest, news } = this.#needs;
    const changed = new Set<UserId>();
    const left = new Set<UserId>();
    for (const userId of news.deviceLists(since, now)) {
      if (interest.concernsUser(service, userId)) changed.add(userId);
    }
    for (const event of events) this.#followMember(service, event, changed, left);
    for (const userId of left) if (interest.concernsUser(service, userId)) left.delete(userId);
    for (const userId of left) changed.delete(userId);
    return {
      ...(changed.size + left.size === 0
        ? {}
        : { 'org.matrix.msc3202.device_lists': { changed: [...changed], left: [...left] } }),
      ...this.#countKeys(service, moved, changed.size + left.size + events.length > 0),
    };
  }

  /** Who came into a room with the service's users, and who might have left the last one. */
  #followMember(
    service: ApplicationService,
    { type, stateKey, roomId, content }: PersistedEvent,
    changed: Set<UserId>,
    left: Set<UserId>,
  ): void {
    const { interest, members } = this.#needs;
    if (type !== 'm.room.member' || stateKey === undefined || !isUserId(stateKey)) return;
    const isJoin = content['membership'] === 'join';
    if (!service.covers(stateKey)) {
      if (!isJoin) left.add(stateKey);
      else if (interest.isPresent(service, roomId)) changed.add(stateKey);
      return;
    }
    if (isJoin) {
      for (const { userId } of members.listMembers(roomId, 'join')) changed.add(userId);
    } else if (!interest.isPresent(service, roomId) && members.countMembers(roomId, 'join') <= MANY_MEMBERS) {
      for (const { userId } of members.listMembers(roomId, 'join')) left.add(userId);
    }
  }

  #countKeys(
    service: ApplicationService,
    moved: readonly (readonly [UserId, DeviceId])[],
    isAnyNews: boolean,
  ): JsonObject {
    const { devices } = this.#needs;
    // Beside other news, the one user that every application service has is always told of: that costs next to nothing,
    // and makes up for what was not told before a crash.
    const own = moved.length > 0 || isAnyNews ? devices.list(service.senderUserId) : [];
    const all = [...moved, ...own.map(({ deviceId }) => [service.senderUserId, deviceId] as const)];
    const counts: Record<string, Record<string, JsonValue>> = {};
    const fallback: Record<string, Record<string, JsonValue>> = {};
    for (const [userId, deviceId] of all) {
      if (!devices.exists(userId, deviceId)) continue;
      (counts[userId] ??= {})[deviceId] = devices.countOneTimeKeys(userId, deviceId);
      (fallback[userId] ??= {})[deviceId] = devices.listUnusedFallback(userId, deviceId);
    }
    if (Object.keys(counts).length === 0) return {};
    return {
      'org.matrix.msc3202.device_one_time_keys_count': counts,
      // As a common server wrote it for some time.
      'org.matrix.msc3202.device_one_time_key_counts': counts,
      'org.matrix.msc3202.device_unused_fallback_key_types': fallback,
    };
  }
}

/** Those invited, and those who knock, are shown something of the room they cannot look into yet. */
function withRoomState(
  shown: JsonObject,
  { type, stateKey, roomId, content }: PersistedEvent,
  service: ApplicationService,
  members: Pick<MembershipReader, 'listStrippedState'>,
): JsonObject {
  if (type !== 'm.room.member' || stateKey === undefined || !isUserId(stateKey) || !service.covers(stateKey)) {
    return shown;
  }
  const { membership } = content;
  if (membership !== 'invite' && membership !== 'knock') return shown;
  const state = members.listStrippedState(roomId, stateKey);
  // They are in already, and see for themselves.
  if (state.length === 0) return shown;
  const unsigned = shown['unsigned'];
  return {
    ...shown,
    unsigned: { ...(isJsonObject(unsigned) ? unsigned : {}), [`${membership}_room_state`]: state },
  };
}

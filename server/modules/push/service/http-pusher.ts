import type { GuardedHttp } from '../../../federation/outbound/guarded-http.ts';
import { OutboundError } from '../../../federation/outbound/outbound-error.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { EventReader, PersistedEvent } from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Gate } from '../../../util/gate.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';
import type { OutboxEntry, OutboxStore } from '../store/outbox.ts';
import type { Pusher, PusherStore } from '../store/pushers.ts';
import type { CountUnread } from './badge.ts';
import type { PusherWork, StepOutcome } from './pusher-loop.ts';
import type { RoomNames } from './room-names.ts';

export interface HttpPusherNeeds {
  readonly db: Pick<Database, 'write' | 'committed'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly log: Logger;
  readonly store: PusherStore;
  readonly outbox: OutboxStore;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly http: Pick<GuardedHttp, 'post'>;
  /** Bounds how many requests one gateway gets at a time. */
  readonly gateOf: (origin: string) => Gate;
  readonly names: RoomNames;
  readonly countUnread: CountUnread;
  readonly settings: {
    /** Whether gateways are told what an event says. */
    readonly includeContent: boolean;
    /** The longest time (ms) a notification is held back, at random. */
    readonly jitterMs: number;
  };
}

/** How long a gateway may take for its answer, ms, and how long that may be, bytes. */
const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 65_536;
/** A notification that could not be delivered for so long is news no more, ms. */
const GIVE_UP_AFTER_MS = 24 * 3_600_000;
/** What came so long before one is given up goes with it: a gateway that is gone for good must not gather all there is, ms. */
const STALE_AFTER_MS = 3 * GIVE_UP_AFTER_MS;
const NO_BADGE = 'org.matrix.msc4076.disable_badge_count';

/** Tells a push gateway of one event after the other (spec: push gateway API). */
export class HttpPusher implements PusherWork {
  readonly #nid: number;
  readonly #needs: HttpPusherNeeds;
  /** When the entry that is held back is due, by its position. */
  #held: { readonly position: number; readonly dueMs: number } | undefined;
  #badgeMoved = false;

  constructor(nid: number, needs: HttpPusherNeeds) {
    this.#nid = nid;
    this.#needs = needs;
  }

  /** Less is unread than was, perhaps: an app may want to show a smaller number. */
  badgeMoved(): void {
    this.#badgeMoved = true;
  }

  async step(stopping: AbortSignal): Promise<StepOutcome> {
    const { store, outbox } = this.#needs;
    const pusher = store.get(this.#nid);
    if (pusher === undefined || !pusher.enabled || pusher.kind !== 'http') return 'idle';
    const [entry] = outbox.listUnread(pusher.userId, pusher.position, 1);
    if (entry === undefined) {
      this.#passOver(pusher, outbox.findLast(pusher.userId));
      return this.#badgeMoved ? this.#tellBadge(pusher, stopping) : 'idle';
    }
    return this.#tellEvent(pusher, entry, stopping);
  }

  async #tellEvent(pusher: Pusher, entry: OutboxEntry, stopping: AbortSignal): Promise<StepOutcome> {
    const { events, clock, countUnread } = this.#needs;
    const event = events.findEvent(entry.eventId);
    if (event === undefined || event.redactedBy !== undefined) {
      this.#passOver(pusher, entry.position);
      return 'more';
    }
    const waitMs = this.#dueMs(entry) - clock.now();
    if (waitMs > 0) return { waitMs };
    const badge = countUnread(pusher.userId);
    const notification = this.#describe(pusher, event, { tweaks: tweaksOf(entry.actions), badge });
    return this.#deliver(pusher, notification, { position: entry.position, badge }, stopping);
  }

  async #tellBadge(pusher: Pusher, stopping: AbortSignal): Promise<StepOutcome> {
    const badge = this.#needs.countUnread(pusher.userId);
    this.#badgeMoved = false;
    if (badge === pusher.badge || pusher.data[NO_BADGE] === true) return 'idle';
    const notification = { counts: { unread: badge }, devices: [describeDevice(pusher, undefined)] };
    const outcome = await this.#deliver(pusher, notification, { position: pusher.position, badge }, stopping);
    if (outcome === 'failed') this.#badgeMoved = true;
    return outcome;
  }

  /** Notifications are held back from when they came, so that many in a row are not late one after the other. */
  #dueMs({ position, ts }: OutboxEntry): number {
    const { jitterMs } = this.#needs.settings;
    if (jitterMs === 0) return 0;
    if (this.#held?.position !== position) {
      const part = this.#needs.random.bytes(4).readUInt32BE() / 2 ** 32;
      this.#held = { position, dueMs: ts + Math.round(part * jitterMs) };
    }
    return this.#held.dueMs;
  }

  #describe(
    pusher: Pusher,
    event: PersistedEvent,
    { tweaks, badge }: { tweaks: JsonObject; badge: number },
  ): JsonObject {
    const { names, settings } = this.#needs;
    const { userId, data } = pusher;
    const { eventId, roomId, type, sender, stateKey, content } = event;
    // What is encrypted may be anything: only the client can tell how pressing it is.
    const isPressing = type === 'm.room.encrypted' || tweaks['highlight'] === true || tweaks['sound'] !== undefined;
    const essence: JsonObject = {
      event_id: eventId,
      room_id: roomId,
      prio: isPressing ? 'high' : 'low',
      // The spec has zeros left out, but a client that is told of nothing unread has to clear its number.
      ...(data[NO_BADGE] === true ? {} : { counts: { unread: badge } }),
    };
    if (data['format'] === 'event_id_only') return { ...essence, devices: [describeDevice(pusher, undefined)] };
    const alias = names.alias(roomId, userId);
    const name = names.given(roomId, userId) ?? alias ?? this.#nameOfGroup(event, pusher);
    const isMembership = type === 'm.room.member' && stateKey !== undefined;
    return {
      ...essence,
      // The name that gateways first knew it by.
      id: eventId,
      type,
      sender,
      sender_display_name: names.member(roomId, sender, userId) ?? sender,
      ...(name === undefined ? {} : { room_name: name }),
      ...(alias === undefined ? {} : { room_alias: alias }),
      ...(isMembership ? { membership: content['membership'] ?? null, user_is_target: stateKey === userId } : {}),
      ...(settings.includeContent ? { content } : {}),
      devices: [describeDevice(pusher, tweaks)],
    };
  }

  /** A conversation of two has no name beside that of the sender. */
  #nameOfGroup({ roomId, stateKey }: PersistedEvent, { userId }: Pusher): string | undefined {
    const name = stateKey === userId ? undefined : this.#needs.names.byMembers(roomId, userId);
    return name !== undefined && name.includes(' and ') ? name : undefined;
  }

  async #deliver(
    pusher: Pusher,
    notification: JsonObject,
    done: { readonly position: number; readonly badge: number },
    stopping: AbortSignal,
  ): Promise<StepOutcome> {
    const { db, clock, store, outbox } = this.#needs;
    // Nothing is told that could still be undone.
    await db.committed();
    const answer = await this.#post(pusher, notification, stopping);
    if (stopping.aborted) return 'idle';
    // Meanwhile it may have been removed, or set to another place.
    const now = store.get(this.#nid);
    if (now === undefined) return 'idle';
    if (answer === undefined) {
      const since = now.failingSince ?? clock.now();
      const isOver = since < clock.now() - GIVE_UP_AFTER_MS;
      if (isOver) {
        this.#needs.log.warn({ userId: pusher.userId, appId: pusher.appId }, 'a notification was given up');
        const stale = outbox.findLastBefore(pusher.userId, clock.now() - STALE_AFTER_MS);
        this.#passOver(now, Math.max(done.position, stale));
      } else if (now.failingSince === undefined) db.write((tx) => store.setFailing(tx, this.#nid, since));
      return isOver ? 'more' : 'failed';
    }
    if (isRejected(answer, pusher.pushkey)) {
      this.#needs.log.info({ userId: pusher.userId, appId: pusher.appId }, 'a push gateway rejected a pusher');
      db.write((tx) => {
        store.remove(tx, this.#nid);
        outbox.prune(tx, pusher.userId);
      });
      return 'idle';
    }
    db.write((tx) => {
      store.advance(tx, this.#nid, { ...done, successTs: clock.now() });
      outbox.prune(tx, pusher.userId);
    });
    return 'more';
  }

  /** What the gateway says; undefined where it did not take the notification. */
  async #post(
    { data, appId }: Pusher,
    notification: JsonObject,
    stopping: AbortSignal,
  ): Promise<JsonValue | undefined> {
    const { http, gateOf, log } = this.#needs;
    const url = typeof data['url'] === 'string' ? URL.parse(data['url']) : null;
    if (url === null) return undefined;
    try {
      const { status, body } = await gateOf(url.origin).run(() =>
        http.post(
          url,
          { notification },
          {
            timeoutMs: TIMEOUT_MS,
            maxBytes: MAX_ANSWER_BYTES,
            secureOnly: true,
            signal: stopping,
          },
        ),
      );
      if (status >= 200 && status < 300) return readAnswer(body);
      log.info({ gateway: url.host, appId, status }, 'a push gateway did not take a notification');
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      if (error.kind !== 'aborted') {
        log.info({ gateway: url.host, appId, reason: error.message }, 'a push gateway was not reached');
      }
    }
    return undefined;
  }

  #passOver(pusher: Pusher, position: number): void {
    if (position <= pusher.position && pusher.failingSince === undefined) return;
    this.#needs.db.write((tx) => {
      this.#needs.store.advance(tx, pusher.nid, { position });
      this.#needs.outbox.prune(tx, pusher.userId);
    });
  }
}

/** What the gateway has to know to reach the app; without tweaks where the app finds those out by itself. */
function describeDevice({ appId, pushkey, setTs, data }: Pusher, tweaks: JsonObject | undefined): JsonObject {
  const { url: _, ...rest } = data;
  return {
    app_id: appId,
    pushkey,
    pushkey_ts: Math.floor(setTs / 1000),
    data: rest,
    ...(tweaks === undefined ? {} : { tweaks }),
  };
}

/** The tweaks among a rule's actions (spec: "Actions"); a highlight without a value means true. */
function tweaksOf(actions: string): JsonObject {
  const tweaks: Record<string, JsonValue> = {};
  const list = JSON.parse(actions) as JsonValue;
  for (const action of Array.isArray(list) ? list : []) {
    const name = isJsonObject(action) ? action['set_tweak'] : undefined;
    if (!isJsonObject(action) || typeof name !== 'string') continue;
    const value = action['value'] ?? (name === 'highlight' ? true : undefined);
    if (value !== undefined) tweaks[name] = value;
  }
  return tweaks;
}

/** It took the notification; an answer that says nothing else rejects nothing. */
function readAnswer(body: Buffer): JsonValue {
  try {
    return JSON.parse(body.toString('utf8')) as JsonValue;
  } catch {
    return {};
  }
}

/** Only the push key that was asked about counts. */
function isRejected(answer: JsonValue, pushkey: string): boolean {
  const rejected = isJsonObject(answer) ? answer['rejected'] : undefined;
  return Array.isArray(rejected) && rejected.includes(pushkey);
}

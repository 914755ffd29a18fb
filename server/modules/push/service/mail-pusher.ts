import { MailError, type Mailer, TemplateError } from '../../../mail/index.ts';
import type { RoomId } from '../../../matrix/identifiers.ts';
import type { EventReader } from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { OutboxStore } from '../store/outbox.ts';
import type { Pusher, PusherStore } from '../store/pushers.ts';
import type { MailThrottle, MailThrottleStore } from '../store/mail-throttles.ts';
import type { MailContent, MailedEvent, MailReason } from './mail-content.ts';
import type { MailAddresses } from './pushers.ts';
import type { PusherWork, StepOutcome } from './pusher-loop.ts';
import type { UnsubscribeLinks } from './unsubscribe.ts';
import { prepareHtml } from './mail-html.ts';

export interface MailPusherNeeds {
  readonly db: Pick<Database, 'write'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
  readonly store: PusherStore;
  readonly outbox: OutboxStore;
  readonly throttles: MailThrottleStore;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly mailer: Pick<Mailer, 'send' | 'appName'>;
  readonly addresses: MailAddresses;
  readonly content: MailContent;
  readonly links: UnsubscribeLinks;
  /** How long (ms) somebody has to see an event by themselves before they get mail about it. */
  readonly delayMs: number;
}

/** Mails about one room become rarer: after the second there is at most one a day. */
const THROTTLE_FACTOR = 144;
const LONGEST_THROTTLE_MS = 24 * 3_600_000;
/** After so long without anything in the room, they begin anew, ms. */
const RELEASE_AFTER_MS = 12 * 3_600_000;
/** Events that one mail can be about. */
const MAX_EVENTS = 200;
/** Characters of what a client wants the application to be called. */
const MAX_BRAND_LENGTH = 100;
const NEVER: MailThrottle = { lastSentTs: 0, throttleMs: 0, lastEventTs: 0 };

/** Mails a user what they missed, some time after it came, if they have not read it by then. */
export class MailPusher implements PusherWork {
  readonly #nid: number;
  readonly #needs: MailPusherNeeds;

  constructor(nid: number, needs: MailPusherNeeds) {
    this.#nid = nid;
    this.#needs = needs;
  }

  async step(): Promise<StepOutcome> {
    await prepareHtml();
    const { store, outbox, events, clock } = this.#needs;
    const pusher = store.get(this.#nid);
    if (pusher === undefined || !pusher.enabled || pusher.kind !== 'email') return 'idle';
    const entries = outbox.listUnread(pusher.userId, pusher.position, MAX_EVENTS);
    const mailed = entries.flatMap((entry): MailedEvent[] => {
      const event = events.findEvent(entry.eventId);
      return event === undefined || event.redactedBy !== undefined ? [] : [{ entry, event }];
    });
    if (mailed.length === 0) {
      this.#passOver(pusher);
      return 'idle';
    }
    const due = mailed.map(({ entry }) => ({ entry, atMs: this.#dueMs(entry) }));
    const first = due.reduce((best, each) => (each.atMs < best.atMs ? each : best));
    const now = clock.now();
    if (first.atMs > now) return { waitMs: first.atMs - now };
    if (this.#needs.addresses.findOwner(pusher.pushkey) !== pusher.userId) {
      this.#remove(pusher);
      return 'idle';
    }
    const { roomId, ts: receivedAt } = first.entry;
    const { lastSentTs, throttleMs } = this.#throttleOf(roomId);
    this.#send(pusher, mailed, { roomId, now, receivedAt, delayMs: this.#needs.delayMs, lastSentTs, throttleMs });
    return 'more';
  }

  #throttleOf(roomId: RoomId): MailThrottle {
    return this.#needs.throttles.find(this.#nid, roomId) ?? NEVER;
  }

  #dueMs({ roomId, ts }: { readonly roomId: RoomId; readonly ts: number }): number {
    const { lastSentTs, throttleMs } = this.#throttleOf(roomId);
    return Math.max(ts + this.#needs.delayMs, lastSentTs + throttleMs);
  }

  /** One mail about all that is unread; it goes into the queue in the write that says it did. */
  #send(pusher: Pusher, mailed: readonly MailedEvent[], reason: MailReason): void {
    const { db, log, store, outbox, throttles, mailer, content, links, clock } = this.#needs;
    const { userId, pushkey, data } = pusher;
    const brand = data['brand'];
    const appName = typeof brand === 'string' && brand !== '' ? brand.slice(0, MAX_BRAND_LENGTH) : mailer.appName;
    try {
      const unsubscribeLink = links.linkFor(pusher);
      const { subject, vars } = content.build(userId, mailed, reason, { appName, unsubscribeLink });
      db.write((tx) => {
        mailer.send({ to: pushkey, template: 'notif_mail', subject, vars, appName, unsubscribeLink }, tx);
        for (const [roomId, ofRoom] of Map.groupBy(mailed, ({ event }) => event.roomId)) {
          throttles.put(tx, this.#nid, roomId, this.#nextThrottle(roomId, ofRoom, reason.now));
        }
        store.advance(tx, this.#nid, { position: outbox.findLast(userId), successTs: clock.now() });
        outbox.prune(tx, userId);
      });
    } catch (error) {
      if (!(error instanceof MailError) && !(error instanceof TemplateError)) throw error;
      // It would be no better the next time.
      log.error({ error, userId }, 'a mail about missed events could not be written');
      this.#passOver(pusher);
    }
  }

  #nextThrottle(roomId: RoomId, mailed: readonly MailedEvent[], now: number): MailThrottle {
    const { delayMs } = this.#needs;
    const before = this.#throttleOf(roomId);
    const firstTs = mailed[0]?.entry.ts ?? now;
    const lastEventTs = mailed.at(-1)?.entry.ts ?? now;
    const isReleased = before.throttleMs === 0 || firstTs - before.lastEventTs > RELEASE_AFTER_MS;
    const throttleMs = isReleased ? delayMs : Math.min(before.throttleMs * THROTTLE_FACTOR, LONGEST_THROTTLE_MS);
    return { lastSentTs: now, throttleMs, lastEventTs };
  }

  /** Nobody gets another's mail because of an address they once had. */
  #remove({ nid, userId }: Pusher): void {
    const { db, store, outbox } = this.#needs;
    db.write((tx) => {
      store.remove(tx, nid);
      outbox.prune(tx, userId);
    });
  }

  #passOver({ userId, position }: Pusher): void {
    const { db, store, outbox } = this.#needs;
    const last = outbox.findLast(userId);
    if (last <= position) return;
    db.write((tx) => {
      store.advance(tx, this.#nid, { position: last });
      outbox.prune(tx, userId);
    });
  }
}

/** A pusher of a kind this server does not serve (any more): it holds nothing up. */
export class IdlePusher implements PusherWork {
  readonly #nid: number;
  readonly #needs: Pick<MailPusherNeeds, 'db' | 'store' | 'outbox'>;

  constructor(nid: number, needs: Pick<MailPusherNeeds, 'db' | 'store' | 'outbox'>) {
    this.#nid = nid;
    this.#needs = needs;
  }

  step(): StepOutcome {
    const { db, store, outbox } = this.#needs;
    const pusher = store.get(this.#nid);
    if (pusher === undefined) return 'idle';
    const last = outbox.findLast(pusher.userId);
    if (last <= pusher.position) return 'idle';
    db.write((tx) => {
      store.advance(tx, this.#nid, { position: last });
      outbox.prune(tx, pusher.userId);
    });
    return 'idle';
  }
}

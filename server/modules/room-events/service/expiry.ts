import { MatrixError } from '../../../matrix/errors.ts';
import { serverNameOf, type EventId, type ServerName } from '../../../matrix/identifiers.ts';
import type { EventReader, EventSender, PersistedEvent, Projection } from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { EphemeralMessages } from '../store.ts';

const EXPIRY_KEY = 'org.matrix.self_destruct_after';
/** Longest sleep, in ms: the wall clock, by which messages expire, may be set meanwhile. */
const LONGEST_SLEEP_MS = 60_000;
const MOST_AT_ONCE = 50;

export interface ExpiryNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now' | 'after'>;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly sender: Pick<EventSender, 'send'>;
  readonly store: EphemeralMessages;
}

/**
 * Takes messages back when the time has come that their senders have set in `org.matrix.self_destruct_after` (ms since
 * the epoch; MSC2228, as Synapse's `enable_ephemeral_messages`). NOT-SPEC: done by a redaction in the sender's name, so
 * that the message is gone on all servers and clients, and not on this one alone.
 */
export class MessageExpiry {
  readonly projection: Projection;
  readonly #needs: ExpiryNeeds;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #stopped = true;

  constructor(needs: ExpiryNeeds) {
    this.#needs = needs;
    this.projection = {
      name: 'ephemeral-messages',
      project: (tx, event, { redacted, live }) => {
        if (redacted !== undefined && expiryOf(redacted) !== undefined) needs.store.remove(tx, redacted.eventId);
        const expiresTs = live && event.verdict === 'accepted' ? expiryOf(event) : undefined;
        if (expiresTs === undefined || serverNameOf(event.sender) !== needs.serverName) return;
        needs.store.put(tx, event.eventId, expiresTs);
        tx.onCommit(() => this.#schedule());
      },
    };
  }

  start(): void {
    this.#stopped = false;
    this.#schedule();
  }

  /** Resolves when nothing is being taken back any more. What is left waits for the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  /** `soonest`: ms from now before which nothing is tried. */
  #schedule(soonest = 0): void {
    if (this.#stopped || this.#running !== undefined) return;
    this.#timer?.cancel();
    const next = this.#needs.store.findNextExpiry();
    if (next === undefined) return;
    const wait = Math.min(LONGEST_SLEEP_MS, Math.max(soonest, next - this.#needs.clock.now()));
    this.#timer = this.#needs.clock.after(wait, () => {
      this.#running = this.#run();
    });
  }

  async #run(): Promise<void> {
    let soonest = 0;
    try {
      await this.#takeBackExpired();
    } catch (error) {
      // A full disk, for instance. They stay due.
      this.#needs.log.error({ error }, 'messages whose time is up could not be taken back; it is tried again');
      soonest = LONGEST_SLEEP_MS;
    }
    this.#running = undefined;
    this.#schedule(soonest);
  }

  async #takeBackExpired(): Promise<void> {
    const { store, clock } = this.#needs;
    for (const eventId of store.listExpired(clock.now(), MOST_AT_ONCE)) {
      if (this.#stopped) return;
      await this.#takeBack(eventId);
    }
  }

  async #takeBack(eventId: EventId): Promise<void> {
    const { db, log, events, sender, store } = this.#needs;
    const event = events.findEvent(eventId);
    const forget = (): void => db.write((tx) => store.remove(tx, eventId));
    if (event === undefined || event.redactedBy !== undefined) return forget();
    try {
      await sender.send(
        { roomId: event.roomId, type: 'm.room.redaction', sender: event.sender, content: {}, redacts: eventId },
        { alongside: (tx) => store.remove(tx, eventId) },
      );
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      // Whoever has left the room since can no longer take anything back.
      log.warn({ eventId, reason: error.message }, 'a message whose time is up could not be taken back');
      forget();
    }
  }
}

function expiryOf({ type, stateKey, content }: PersistedEvent): number | undefined {
  const expiresTs = type === 'm.room.message' && stateKey === undefined ? content[EXPIRY_KEY] : undefined;
  return typeof expiresTs === 'number' && Number.isSafeInteger(expiresTs) && expiresTs > 0 ? expiresTs : undefined;
}

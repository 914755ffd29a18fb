import { setImmediate as nextTurn } from 'node:timers/promises';
import { describeError, OutboundError } from '../../../federation/outbound/outbound-error.ts';
import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';
import { StorageError } from '../../../storage/storage-error.ts';
import { Backoff } from '../../../util/backoff.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';
import type { AppserviceStore, StoredTransaction } from '../store.ts';
import type { AppserviceClient } from './client.ts';
import type { ApplicationService } from './registry.ts';
import type { Drafter } from './transaction.ts';

/** Spec: "Pushing events": backing off exponentially. Not every bridge says so when it is back, so the waits stay short. */
const BACKOFF = { firstMs: 1_000, longestMs: 300_000 };

export interface DeliveryNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly store: AppserviceStore;
  readonly drafter: Drafter;
  readonly client: AppserviceClient;
  readonly service: ApplicationService;
}

/**
 * Sends one application service its transactions: one at a time, each written down before it is sent and the same each time
 * it is tried, the next only once it has been taken.
 */
export class Delivery {
  readonly #needs: DeliveryNeeds;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #stopping = new AbortController();
  #nextTransaction = 1;
  /** Typing, receipts, presence and device lists were told up to here; what is stored may lag while there is no news. */
  #newsPosition = 0 as StreamPosition;
  #storedNewsPosition = 0 as StreamPosition;
  /** Devices whose keys became fewer or more since the last transaction. */
  #moved = new Map<string, readonly [UserId, DeviceId]>();
  #isWoken = false;
  #loop: Promise<void> | undefined;
  #endWait: (() => void) | undefined;

  constructor(needs: DeliveryNeeds) {
    this.#needs = needs;
    this.#log = needs.log.child({ appservice: needs.service.id });
    this.#backoff = new Backoff(BACKOFF, needs.random);
  }

  /** Takes up where it was. A service that is new is told of what happens from now on. */
  start(): void {
    const { db, store, service, clock } = this.#needs;
    let progress = store.findProgress(service.id);
    if (progress === undefined) {
      // Application services remember the numbers they have seen. One that was removed, or whose server began anew, must
      // not take new transactions for old ones, so these go on from the time.
      const first = { nextTransaction: clock.now(), newsPosition: db.position() };
      db.write((tx) => store.insert(tx, service.id, first));
      progress = first;
    }
    this.#nextTransaction = progress.nextTransaction;
    this.#newsPosition = progress.newsPosition;
    this.#storedNewsPosition = progress.newsPosition;
    this.wake();
  }

  /** Breaks off what is under way; it is sent again after the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#endWait?.();
    await this.#loop;
    if (this.#newsPosition > this.#storedNewsPosition) this.#needs.db.write((tx) => this.#storeProgress(tx));
  }

  /** There may be something to send. */
  wake(): void {
    this.#isWoken = true;
    if (this.#stopping.signal.aborted || this.#loop !== undefined) return;
    this.#loop = this.#run().finally(() => {
      this.#loop = undefined;
      if (this.#isWoken) this.wake();
    });
  }

  /** The keys of a device became fewer or more. */
  keysMoved(userId: UserId, deviceId: DeviceId): void {
    this.#moved.set(`${userId} ${deviceId}`, [userId, deviceId]);
  }

  /** Ends the wait after a failure: there is reason to think that the service listens again. */
  retryNow(): void {
    this.#backoff.reset();
    this.#endWait?.();
  }

  async #run(): Promise<void> {
    let finished: StoredTransaction | undefined;
    while (!this.#stopping.signal.aborted) {
      // Whoever waits for the commit goes first, and what comes at once goes into one transaction.
      await nextTurn();
      this.#isWoken = false;
      try {
        const transaction = this.#next(finished);
        finished = undefined;
        if (transaction === undefined) return;
        // What has not been written down must not be sent, or it might be another after a crash.
        await this.#needs.db.committed();
        if (await this.#send(transaction)) finished = transaction;
      } catch (error) {
        if (!(error instanceof StorageError)) this.#log.error({ error }, 'a transaction could not be put together');
        await this.#wait(this.#backoff.next());
      }
    }
    if (finished !== undefined)
      this.#needs.db.write((tx) => this.#needs.store.removeTransaction(tx, this.#needs.service.id));
  }

  /** The transaction to send now: the one that is written down unless it is `finished`, else a new one. */
  #next(finished: StoredTransaction | undefined): StoredTransaction | undefined {
    const { db, store, service, drafter } = this.#needs;
    const { id } = service;
    const pending = store.findTransaction(id);
    if (pending !== undefined && pending.number !== finished?.number) return pending;
    const draft = drafter.draft(service, this.#newsPosition, [...this.#moved.values()]);
    const { body, eventsUpTo, messagesUpTo, newsUpTo } = draft;
    if (body === undefined && eventsUpTo === undefined && messagesUpTo === undefined && pending === undefined) {
      this.#newsPosition = newsUpTo;
      // Of devices that are gone by now there is nothing to tell.
      this.#moved.clear();
      return undefined;
    }
    const transaction = body === undefined ? undefined : { number: this.#nextTransaction, body: JSON.stringify(body) };
    const before = { next: this.#nextTransaction, news: this.#newsPosition, moved: this.#moved };
    db.write((tx) => {
      if (transaction === undefined) store.removeTransaction(tx, id);
      else store.putTransaction(tx, id, transaction);
      if (eventsUpTo !== undefined) store.removeEventsUpTo(tx, id, eventsUpTo);
      if (messagesUpTo !== undefined) store.removeMessagesUpTo(tx, id, messagesUpTo);
      this.#newsPosition = newsUpTo;
      this.#moved = new Map();
      if (transaction !== undefined) this.#nextTransaction += 1;
      this.#storeProgress(tx);
      tx.onRollback(() => {
        this.#nextTransaction = before.next;
        this.#newsPosition = before.news;
        this.#moved = new Map([...before.moved, ...this.#moved]);
      });
    });
    // Where all that waited has nothing to say (any more), something behind it may have.
    return transaction ?? (eventsUpTo === undefined && messagesUpTo === undefined ? undefined : this.#next(undefined));
  }

  #storeProgress(tx: WriteTx): void {
    const { store, service } = this.#needs;
    const newsPosition = this.#newsPosition;
    store.setProgress(tx, service.id, { nextTransaction: this.#nextTransaction, newsPosition });
    tx.onCommit(() => {
      this.#storedNewsPosition = newsPosition;
    });
  }

  /** Whether the service took it. If not, it is time to try again when this resolves. */
  async #send({ number, body }: StoredTransaction): Promise<boolean> {
    let reason: string;
    try {
      const status = await this.#needs.client.sendTransaction(number, body, this.#stopping.signal);
      if (status >= 200 && status < 300) {
        if (this.#backoff.failures > 0)
          this.#log.info({ transaction: number }, 'the application service listens again');
        this.#backoff.reset();
        return true;
      }
      reason = `status ${status}`;
    } catch (error) {
      if (this.#stopping.signal.aborted) return false;
      if (!(error instanceof OutboundError)) throw error;
      reason = describeError(error);
    }
    const waitMs = this.#backoff.next();
    this.#log.warn({ transaction: number, reason, waitMs }, 'the application service did not take a transaction');
    await this.#wait(waitMs);
    return false;
  }

  #wait(waitMs: number): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#needs.clock.after(waitMs, resolve);
    this.#endWait = resolve;
    return promise.finally(() => {
      timer.cancel();
      this.#endWait = undefined;
    });
  }
}

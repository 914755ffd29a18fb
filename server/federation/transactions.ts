import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { type Route, route } from '../http/route.ts';
import { jsonValue, nonEmptyText } from '../http/schemas.ts';
import { Type } from '../http/type.ts';
import { badJson, limitExceeded, MatrixError } from '../matrix/errors.ts';
import type { ServerName } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../matrix/json.ts';
import type { Database } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { atMost } from '../util/lru.ts';
import { SerialQueue } from '../util/serial-queue.ts';
import type { Destinations, EduHandler, PduTaker } from './types.ts';

export interface TransactionNeeds {
  readonly db: Pick<Database, 'committed'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly pdus: PduTaker;
  /** By the EDU's type. */
  readonly edus: ReadonlyMap<string, EduHandler>;
  /** Is told that a server is alive. */
  readonly destinations: Pick<Destinations, 'succeeded'>;
}

type Answer = { readonly pdus: Readonly<Record<string, { readonly error?: string }>> };

const MAX_PDUS = 50;
const MAX_EDUS = 100;
/** Fifty events of the largest size take a third of it. */
const BODY_LIMIT = 10 * 1024 * 1024;
/** Answers that are remembered: a server sends the next transaction only once it has the answer to the one before. */
const ORIGINS_KEPT = 1_000;
const ANSWERS_KEPT = 4;
/** Transactions of one server that wait for their turn before further ones are refused. */
const MOST_WAITING = 4;
const TRY_AGAIN_MS = 1_000;
/** How long one EDU may take before the next has its turn, ms. */
const EDU_TIMEOUT_MS = 30_000;
/** How long EDUs are worked on without letting others have a turn, ms. */
const STRETCH_MS = 10;

const body = Type.Object({
  pdus: Type.Optional(Type.Array(jsonValue)),
  edus: Type.Optional(Type.Array(jsonValue)),
});

/** `PUT /send`: takes what other servers send (server-server API, "Transactions"). */
export function transactionRoutes(needs: TransactionNeeds): readonly Route[] {
  const transactions = new Transactions(needs);
  return [
    route({
      method: 'PUT',
      path: '/_matrix/federation/v1/send/:txnId',
      auth: 'server',
      params: Type.Object({ txnId: nonEmptyText(255) }),
      body,
      bodyLimit: BODY_LIMIT,
      handle: ({ origin, params: { txnId }, body: { pdus = [], edus = [] } }) => {
        if (pdus.length > MAX_PDUS || edus.length > MAX_EDUS) {
          throw badJson(`A transaction has at most ${MAX_PDUS} PDUs and ${MAX_EDUS} EDUs`);
        }
        return transactions.take(origin, txnId, pdus, edus);
      },
    }),
  ];
}

/** Takes transactions: of one server one after the other, of several side by side. */
class Transactions {
  readonly #needs: TransactionNeeds;
  readonly #lines = new SerialQueue<ServerName>();
  readonly #waiting = new Map<ServerName, number>();
  /** Those under way too: whoever repeats one gets what the first brings. */
  readonly #answers = new LRUCache<ServerName, LRUCache<string, Promise<Answer>>>(atMost(ORIGINS_KEPT));

  constructor(needs: TransactionNeeds) {
    this.#needs = needs;
  }

  take(
    origin: ServerName,
    transactionId: string,
    pdus: readonly JsonValue[],
    edus: readonly JsonValue[],
  ): Promise<Answer> {
    this.#needs.destinations.succeeded(origin);
    let answers = this.#answers.get(origin);
    if (answers === undefined) {
      answers = new LRUCache(atMost(ANSWERS_KEPT + MOST_WAITING));
      this.#answers.set(origin, answers);
    }
    const known = answers.get(transactionId);
    if (known !== undefined) return known;
    const waiting = this.#waiting.get(origin) ?? 0;
    if (waiting >= MOST_WAITING) throw limitExceeded(TRY_AGAIN_MS);
    this.#waiting.set(origin, waiting + 1);
    const answer = this.#lines.run(origin, () => this.#process(origin, pdus, edus)).finally(() => this.#leave(origin));
    answers.set(transactionId, answer);
    // What failed here may go well the next time.
    answer.catch(() => {
      if (answers.peek(transactionId) === answer) answers.delete(transactionId);
    });
    return answer;
  }

  #leave(origin: ServerName): void {
    const waiting = (this.#waiting.get(origin) ?? 1) - 1;
    if (waiting > 0) this.#waiting.set(origin, waiting);
    else this.#waiting.delete(origin);
  }

  async #process(origin: ServerName, pdus: readonly JsonValue[], edus: readonly JsonValue[]): Promise<Answer> {
    // Side by side: events may have to wait for keys, and the keys to read them with may be among the EDUs.
    const [results] = await Promise.all([
      pdus.length === 0 ? {} : this.#needs.pdus.receive(origin, pdus),
      this.#acceptEdus(origin, edus),
    ]);
    // The answer is remembered, so it must rest on what is on disk.
    await this.#needs.db.committed();
    return { pdus: results };
  }

  async #acceptEdus(origin: ServerName, edus: readonly JsonValue[]): Promise<void> {
    const { clock } = this.#needs;
    let startedAt = clock.monotonic();
    for (const edu of edus) {
      await this.#acceptEdu(origin, edu);
      if (clock.monotonic() - startedAt < STRETCH_MS) continue;
      await nextTurn();
      startedAt = clock.monotonic();
    }
  }

  async #acceptEdu(origin: ServerName, edu: JsonValue): Promise<void> {
    const { log, edus } = this.#needs;
    const { edu_type: type, content } = isJsonObject(edu) ? edu : {};
    if (typeof type !== 'string' || !isJsonObject(content)) {
      log.debug({ origin }, 'EDU without type or content dropped');
      return;
    }
    const handler = edus.get(type);
    if (handler === undefined) return;
    try {
      const accepting = handler.accept(origin, content);
      if (accepting instanceof Promise) await this.#inTime(accepting, { origin, type });
    } catch (error) {
      if (error instanceof MatrixError)
        log.debug({ origin, type, errcode: error.errcode, reason: error.message }, 'EDU refused');
      else log.error({ origin, type, error }, 'EDU failed');
    }
  }

  /** Waits for work, but not for ever: what comes after it must not be held up by one EDU. */
  async #inTime(work: Promise<void>, about: { origin: ServerName; type: string }): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<'late'>();
    const timer = this.#needs.clock.after(EDU_TIMEOUT_MS, () => resolve('late'));
    try {
      if ((await Promise.race([work, late])) !== 'late') return;
      this.#needs.log.warn(about, 'EDU takes long; the next goes ahead');
      work.catch((error: unknown) => this.#needs.log.error({ ...about, error }, 'EDU failed'));
    } finally {
      timer.cancel();
    }
  }
}

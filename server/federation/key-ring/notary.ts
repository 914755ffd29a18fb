import { RateLimit } from '../../http/rate-limit.ts';
import { parseJson } from '../../matrix/canonical-json.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../matrix/json.ts';
import { type SigningKey, signJson } from '../../matrix/signing.ts';
import type { Clock } from '../../util/clock.ts';
import type { OwnKeys } from '../own-keys.ts';
import type { KeyFetcher } from './key-fetcher.ts';
import type { KeptAnswer, KeyStore } from './key-store.ts';

export interface NotaryNeeds {
  readonly serverName: ServerName;
  readonly ownKeys: Pick<OwnKeys, 'answer'>;
  /** What answers are signed with, besides the signature of the server they speak of. */
  readonly signingKeys: readonly SigningKey[];
  readonly store: Pick<KeyStore, 'listAnswers'>;
  readonly fetcher: Pick<KeyFetcher, 'fetchForOthers'>;
  readonly clock: Clock;
}

/** What somebody wants to know of a server. Times are until when an answer has to be valid, ms; undefined: now. */
export interface KeyQuestion {
  /** By key ID; if it names none, all are wanted. */
  readonly keys: ReadonlyMap<string, number | undefined>;
  /** For all of them, where none is named. */
  readonly validUntil: number | undefined;
}

/** Servers in one question that are looked at; of the rest nothing is said. */
const SERVERS_PER_QUESTION = 500;
/** Of these, servers that are asked for their keys now. The others are answered from what is held. */
const FETCHES_PER_QUESTION = 50;
/** Fetches on behalf of one address, and of all: nobody is to send us out to thousands of servers. */
const FETCHES_OF_ADDRESS = { perSecond: 1, burstCount: 100 };
const FETCHES_OF_ALL = { perSecond: 5, burstCount: 500 };
/** How long a question may wait for other servers, ms. */
const PATIENCE_MS = 10_000;
const ANSWERS_PER_SERVER = 10;
/** Answers signed in one turn of the event loop. */
const SIGNED_AT_ONCE = 50;

/** Tells others the keys of servers, as those gave them, with a signature of its own (spec: "Querying Keys Through Another Server"). */
export class Notary {
  readonly #needs: NotaryNeeds;
  readonly #addressLimit: RateLimit;
  readonly #limit: RateLimit;

  constructor(needs: NotaryNeeds) {
    this.#needs = needs;
    this.#addressLimit = new RateLimit({ ...FETCHES_OF_ADDRESS, clock: needs.clock });
    this.#limit = new RateLimit({ ...FETCHES_OF_ALL, clock: needs.clock });
  }

  /**
   * The signed answers of the servers that were asked about, fetched anew where what is held would not do. Those that cannot
   * be reached are answered for from what is held, or left out.
   */
  async query(questions: ReadonlyMap<ServerName, KeyQuestion>, ip: string): Promise<readonly JsonObject[]> {
    const { serverName, ownKeys, store, fetcher } = this.#needs;
    const asked = [...questions].slice(0, SERVERS_PER_QUESTION);
    const stale = asked.filter(
      ([server, question]) => server !== serverName && !this.#suffices(store.listAnswers(server), question),
    );
    const fetches: Promise<void>[] = [];
    for (const [server] of stale.slice(0, FETCHES_PER_QUESTION)) {
      if (!this.#addressLimit.tryTake(ip) || !this.#limit.tryTake('')) break;
      fetches.push(fetcher.fetchForOthers(server));
    }
    await this.#patiently(Promise.all(fetches));

    const answers: JsonObject[] = [];
    for (const [server, question] of asked) {
      const originals =
        server === serverName
          ? [ownKeys.answer()]
          : choose(store.listAnswers(server), question).map(({ text }) => parseJson(text));
      for (const original of originals) {
        if (isJsonObject(original)) answers.push(this.#sign(original));
        if (answers.length % SIGNED_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    return answers;
  }

  #suffices(answers: readonly KeptAnswer[], question: KeyQuestion): boolean {
    if (question.keys.size === 0) {
      const [newest] = answers;
      return newest !== undefined && this.#isGood(newest, question.validUntil);
    }
    return [...question.keys].every(([keyId, validUntil]) =>
      answers.some((answer) => answer.keyIds.includes(keyId) && this.#isGood(answer, validUntil)),
    );
  }

  #isGood({ validUntil, fetchedAt }: KeptAnswer, wanted: number | undefined): boolean {
    if (wanted !== undefined) return validUntil >= wanted;
    // Keys, "Publishing Keys": a notary keeps an answer for half of its life, lest it hand on what is about to run out.
    return this.#needs.clock.now() < fetchedAt + (validUntil - fetchedAt) / 2;
  }

  #sign(original: JsonObject): JsonObject {
    const { serverName, signingKeys } = this.#needs;
    let signed = original;
    for (const key of signingKeys) signed = signJson(signed, serverName, key);
    return signed;
  }

  async #patiently(work: Promise<unknown>): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.#needs.clock.after(PATIENCE_MS, resolve);
    await Promise.race([work, late]);
    timer.cancel();
  }
}

/** The answers that hold the keys asked for, newest first; if none does or none was named, the newest there is. */
function choose(answers: readonly KeptAnswer[], { keys }: KeyQuestion): readonly KeptAnswer[] {
  if (keys.size === 0) return answers.slice(0, ANSWERS_PER_SERVER);
  const holding = answers.filter(({ keyIds }) => keyIds.some((keyId) => keys.has(keyId)));
  return (holding.length > 0 ? holding : answers.slice(0, 1)).slice(0, ANSWERS_PER_SERVER);
}

import { LRUCache } from 'lru-cache';

import { RateLimit } from '../../http/rate-limit.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import { Backoff } from '../../util/backoff.ts';
import type { Clock } from '../../util/clock.ts';
import { atMost } from '../../util/lru.ts';
import type { Random } from '../../util/random.ts';

/** Waits after failures in a row: a server that comes back is heard again soon, one that is gone costs little. */
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 600_000;
/** How often a server is asked that answers but never gives what is wanted: keys that do not exist are easily named. */
const BURST = 10;
const PER_SECOND = 1 / 30;
const SERVERS_REMEMBERED = 10_000;

interface Trouble {
  readonly backoff: Backoff;
  /** Monotonic ms. */
  retryAt: number;
}

/** Decides whether a server may be asked for keys now. What was learnt is forgotten at the end of the process. */
export class FetchGate {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #limit: RateLimit;
  readonly #troubles = new LRUCache<ServerName, Trouble>(atMost(SERVERS_REMEMBERED));

  constructor({ clock, random }: { clock: Clock; random: Random }) {
    this.#clock = clock;
    this.#random = random;
    this.#limit = new RateLimit({ perSecond: PER_SECOND, burstCount: BURST, clock, maxKeys: SERVERS_REMEMBERED });
  }

  /** Whether `server` is not being left alone after a failure. */
  isOpen(server: ServerName): boolean {
    const trouble = this.#troubles.get(server);
    return trouble === undefined || trouble.retryAt <= this.#clock.monotonic();
  }

  /** Whether `server` may be asked now; if so, that counts. */
  enter(server: ServerName): boolean {
    return this.isOpen(server) && this.#limit.tryTake(server);
  }

  succeeded(server: ServerName): void {
    this.#troubles.delete(server);
  }

  failed(server: ServerName): void {
    const trouble = this.#troubles.get(server) ?? {
      backoff: new Backoff({ firstMs: FIRST_WAIT_MS, longestMs: LONGEST_WAIT_MS }, this.#random),
      retryAt: 0,
    };
    trouble.retryAt = this.#clock.monotonic() + trouble.backoff.next();
    this.#troubles.set(server, trouble);
  }

  /** Forgets the failures of one server, or of all: they were seen to be alive, or the network is another. */
  reopen(server?: ServerName): void {
    if (server === undefined) this.#troubles.clear();
    else this.#troubles.delete(server);
  }
}

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../util/clock.ts';

/** Servers that answer, and those that did not when they were last asked: the second must not hold up the first. */
export type Lane = 'live' | 'doubtful';

/** Leave to send one transaction. */
export interface Slot {
  release(): void;
}

interface Row {
  readonly waiting: ((slot: Slot) => void)[];
  free: number;
}

const WIDTH: Readonly<Record<Lane, number>> = { live: 100, doubtful: 20 };
/** A transaction that takes longer than this (ms) no longer counts: those who are stuck must not be in anybody's way. */
const HELD_MS = 10_000;

/** Transactions begun in one turn of the event loop: to make and sign one takes up to a millisecond. */
const PER_TURN = 5;

/** How many servers are spoken to at once, and that not all of them are begun with in the same moment. */
export class Slots {
  readonly #clock: Clock;
  readonly #rows: Readonly<Record<Lane, Row>> = {
    live: { waiting: [], free: WIDTH.live },
    doubtful: { waiting: [], free: WIDTH.doubtful },
  };
  #isGranting = false;
  #isClosed = false;

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  /** Resolves when it is the caller's turn, or at once after `close`. */
  take(lane: Lane): Promise<Slot> {
    const { promise, resolve } = Promise.withResolvers<Slot>();
    this.#rows[lane].waiting.push(resolve);
    void this.#grant();
    return promise;
  }

  /** Lets everybody go on: they find that all is over. */
  close(): void {
    this.#isClosed = true;
    for (const { waiting } of Object.values(this.#rows)) for (const resolve of waiting.splice(0)) resolve(UNCOUNTED);
  }

  async #grant(): Promise<void> {
    if (this.#isGranting) return;
    this.#isGranting = true;
    for (let grant = this.#next(); grant !== undefined; grant = this.#next()) {
      grant();
      for (let granted = 1; granted < PER_TURN; granted += 1) this.#next()?.();
      // Who comes now has to wait for the next turn, even if there is room.
      await nextTurn();
    }
    this.#isGranting = false;
  }

  #next(): (() => void) | undefined {
    for (const row of Object.values(this.#rows)) {
      if (row.free <= 0 && !this.#isClosed) continue;
      const resolve = row.waiting.shift();
      if (resolve !== undefined) return () => resolve(this.#isClosed ? UNCOUNTED : this.#occupy(row));
    }
    return undefined;
  }

  #occupy(row: Row): Slot {
    row.free -= 1;
    let isHeld = true;
    const release = (): void => {
      timer.cancel();
      if (!isHeld) return;
      isHeld = false;
      row.free += 1;
      void this.#grant();
    };
    const timer = this.#clock.after(HELD_MS, release);
    return { release };
  }
}

const UNCOUNTED: Slot = { release: () => {} };

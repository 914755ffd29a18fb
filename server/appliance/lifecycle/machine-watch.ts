import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';

interface MachineWatchNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  /** The addresses of this machine in its networks. */
  readonly addresses: () => readonly string[];
  readonly onWake: () => void;
}

const LOOK_EVERY_MS = 30_000;
/** More than that between two looks, and the machine was not there in between. */
const SLEPT_MS = 60_000;

/** Notices that the machine slept, or is in another network, where no shell says so. */
export class MachineWatch {
  readonly #needs: MachineWatchNeeds;
  #timer: Timer | undefined;
  #seen: { readonly now: number; readonly monotonic: number; readonly addresses: string };

  constructor(needs: MachineWatchNeeds) {
    this.#needs = needs;
    this.#seen = this.#see();
  }

  /** Whoever starts it stops it. */
  start(): void {
    this.#timer = this.#needs.clock.after(LOOK_EVERY_MS, () => {
      if (this.#timer === undefined) return;
      this.#look();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    const before = this.#seen;
    this.#seen = this.#see();
    const { now, monotonic, addresses } = this.#seen;
    // Some systems let that clock stand still while they sleep, others do not.
    const hasSlept = Math.max(now - before.now, monotonic - before.monotonic) > LOOK_EVERY_MS + SLEPT_MS;
    if (!hasSlept && addresses === before.addresses) return;
    this.#needs.log.info({ hasSlept }, 'the machine slept, or its network changed');
    this.#needs.onWake();
  }

  #see(): { now: number; monotonic: number; addresses: string } {
    const { clock, addresses } = this.#needs;
    return { now: clock.now(), monotonic: clock.monotonic(), addresses: addresses().toSorted().join(' ') };
  }
}

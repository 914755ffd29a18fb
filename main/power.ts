import type { PowerMonitor, PowerSaveBlocker } from 'electron';
import type { Clock, Timer } from './clock.ts';
import { isObject } from './files.ts';

interface PowerParts {
  readonly clock: Clock;
  readonly powerMonitor: Pick<PowerMonitor, 'on'>;
  readonly powerSaveBlocker: Pick<PowerSaveBlocker, 'start' | 'stop'>;
  /** The addresses of this machine; what they are written like does not matter. */
  readonly addresses: () => string;
  readonly keepAwake: () => boolean;
  readonly isOnBattery: () => boolean;
  readonly onSleep: () => void;
  /** It woke up, or is on another network. */
  readonly onWake: () => void;
  /** The machine goes down; gives the program time to end in order. */
  readonly onShutdown: () => void;
}

/** How often (ms) network and supply are looked at: changes of the one are announced nowhere, of the other not everywhere. */
const LOOK_MS = 10_000;
/** A look that comes so much later (ms) than it was due came after a sleep, whatever the system has said of one. */
const SLEPT_MS = 60_000;

/** Watches sleep, wake, network and power supply. */
export class Power {
  readonly #parts: PowerParts;
  #blocker: number | undefined;
  #timer: Timer | undefined;
  #addresses: string;
  #lookedAt: number;

  constructor(parts: PowerParts) {
    this.#parts = parts;
    this.#addresses = parts.addresses();
    this.#lookedAt = parts.clock.now();
  }

  start(): void {
    const { powerMonitor, onSleep, onWake, onShutdown } = this.#parts;
    powerMonitor.on('suspend', onSleep);
    powerMonitor.on('resume', () => {
      // This was the wake-up; the next look must not take it for one more.
      this.#lookedAt = this.#parts.clock.now();
      onWake();
    });
    // Windows tells of the first alone, and Linux of neither: what is missed, the next look sees.
    powerMonitor.on('on-ac', () => this.settle());
    powerMonitor.on('on-battery', () => this.settle());
    powerMonitor.on('shutdown', (...args: unknown[]) => {
      // The types leave out what it comes with: prevented, the system waits for the end of the program.
      const [event] = args;
      if (isObject(event) && typeof event['preventDefault'] === 'function') event['preventDefault']();
      onShutdown();
    });
    this.settle();
    this.#wait();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#block(false);
  }

  /** Keeps the machine awake, or lets it sleep, as the setting and the supply of power want it. */
  settle(): void {
    this.#block(this.#parts.keepAwake() && !this.#parts.isOnBattery());
  }

  #block(wanted: boolean): void {
    const { powerSaveBlocker } = this.#parts;
    if (wanted && this.#blocker === undefined) {
      this.#blocker = powerSaveBlocker.start('prevent-app-suspension');
    } else if (!wanted && this.#blocker !== undefined) {
      powerSaveBlocker.stop(this.#blocker);
      this.#blocker = undefined;
    }
  }

  #wait(): void {
    this.#timer = this.#parts.clock.after(LOOK_MS, () => {
      const { clock, addresses, onWake } = this.#parts;
      const now = clock.now();
      const found = addresses();
      const hasSlept = now - this.#lookedAt > LOOK_MS + SLEPT_MS;
      if (hasSlept || found !== this.#addresses) onWake();
      this.#lookedAt = now;
      this.#addresses = found;
      this.settle();
      this.#wait();
    });
  }
}

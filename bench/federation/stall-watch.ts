/** How long the event loop of this process was held at most. */
export interface Stall {
  /** Between two turns of the event loop, ms: what somebody waits at worst, other programs on the machine included. */
  readonly wallMs: number;
  /** The most this thread worked between two turns, ms: what is the program's own doing, on whatever machine. */
  readonly cpuMs: number;
}

const EVERY_MS = 1;

/** Looks at the clock in every turn of the event loop from its start on. */
export class StallWatch {
  #wallMs = 0;
  #cpuMs = 0;
  #wall = performance.now();
  #cpu = threadMs();

  start(): void {
    setTimeout(() => this.#look(), EVERY_MS);
  }

  reset(): void {
    this.#wallMs = 0;
    this.#cpuMs = 0;
    this.#wall = performance.now();
    this.#cpu = threadMs();
  }

  read(): Stall {
    return { wallMs: this.#wallMs, cpuMs: this.#cpuMs };
  }

  #look(): void {
    const wall = performance.now();
    const cpu = threadMs();
    this.#wallMs = Math.max(this.#wallMs, wall - this.#wall - EVERY_MS);
    this.#cpuMs = Math.max(this.#cpuMs, cpu - this.#cpu);
    this.#wall = wall;
    this.#cpu = cpu;
    setTimeout(() => this.#look(), EVERY_MS);
  }
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

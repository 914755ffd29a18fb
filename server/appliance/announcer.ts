import type { Job, ServerSentEvent, Topic } from './contract.ts';

/** Tells whoever looks on what has moved; what it is now, they ask for. */
export class Announcer {
  readonly #listeners = new Set<(event: ServerSentEvent) => void>();

  /** Whether anybody looks on. */
  get isHeard(): boolean {
    return this.#listeners.size > 0;
  }

  moved(topic: Topic): void {
    this.#tell({ topic });
  }

  job(job: Job): void {
    this.#tell({ topic: 'job', job });
  }

  subscribe(listener: (event: ServerSentEvent) => void): { unsubscribe(): void } {
    this.#listeners.add(listener);
    return { unsubscribe: () => void this.#listeners.delete(listener) };
  }

  #tell(event: ServerSentEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

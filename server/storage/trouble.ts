import type { Logger } from '../util/log.ts';
import type { StorageError } from './storage-error.ts';

/** Remembers what keeps the storage from working, and logs it once: a full disk would otherwise fill the log as well. */
export class Trouble {
  readonly #log: Logger;
  #failure: StorageError | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** The failure that lasts, if there is one. */
  get failure(): StorageError | undefined {
    return this.#failure;
  }

  report(failure: StorageError): void {
    if (this.#failure?.kind === failure.kind || this.#failure?.kind === 'corrupt') return;
    this.#failure = failure;
    this.#log.error({ kind: failure.kind, error: failure.message }, 'storage failed');
  }

  /** A commit went well. Damage does not heal because one elsewhere in the file did. */
  over(): void {
    if (this.#failure === undefined || this.#failure.kind === 'corrupt') return;
    this.#log.info({ kind: this.#failure.kind }, 'storage works again');
    this.#failure = undefined;
  }
}

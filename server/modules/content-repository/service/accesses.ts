import type { Database } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Medium, MediaStore } from '../store/media.ts';
import { type MediaAddress, mediaUri } from './media-uri.ts';

/** How long marks are gathered, ms, and how many at most. */
const FLUSH_MS = 60_000;
const MAX_MARKS = 5_000;

/** When media were last looked at: gathered in memory, since not every look is worth a write. */
export class Accesses {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #media: MediaStore;
  readonly #marks = new Map<string, MediaAddress & { readonly atMs: number }>();
  #timer: Timer | undefined;

  constructor({ db, clock, media }: { db: Database; clock: Clock; media: MediaStore }) {
    this.#db = db;
    this.#clock = clock;
    this.#media = media;
  }

  mark({ origin, mediaId, accessedMs }: Medium): void {
    const atMs = this.#clock.now();
    // Within a minute there is nothing to be learnt from another look.
    if (atMs - accessedMs < FLUSH_MS) return;
    this.#marks.set(mediaUri({ origin, mediaId }), { origin, mediaId, atMs });
    if (this.#marks.size >= MAX_MARKS) this.flush();
    else this.#timer ??= this.#clock.after(FLUSH_MS, () => this.flush());
  }

  /** Writes down what was gathered. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#marks.size === 0) return;
    const marks = [...this.#marks.values()];
    this.#marks.clear();
    this.#db.write((tx) => {
      for (const mark of marks) this.#media.touch(tx, mark, mark.atMs);
    });
  }
}

import { CanonicalJsonError } from '../../matrix/canonical-json.ts';
import { verifyTextAsync } from '../../matrix/signing.ts';
import type { Clock } from '../../util/clock.ts';
import { Gate } from '../../util/gate.ts';
import { turns } from '../../util/turns.ts';

/** Texts whose signatures are being verified at once. More would only make file and name look-ups wait for a thread. */
const PARALLEL = 16;
/** How long is worked at a stretch, ms. */
const SLICE_MS = 8;

/** A signature and the key it has to be of. */
export interface SignatureToVerify {
  readonly signature: string;
  readonly publicKey: Uint8Array;
}

/** Verifies signatures beside the event loop, and never holds it for long while it writes the texts they cover. */
export class VerifyPool {
  readonly #clock: Clock;
  readonly #places = new Gate(PARALLEL);
  /** When the stretch of now is over, monotonic. */
  #end = Number.NEGATIVE_INFINITY;
  #pausing: Promise<void> | undefined;

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  /**
   * Whether all signatures are valid for the text, of which there must be at least one. `text` is called when its turn
   * comes; where it throws CanonicalJsonError, nothing is validly signed.
   */
  verify(text: () => string, signatures: readonly SignatureToVerify[]): Promise<boolean> {
    if (signatures.length === 0) return Promise.resolve(false);
    return this.#places.run(async () => {
      await this.breathe();
      const written = writeText(text);
      if (written === undefined) return false;
      const results = await Promise.all(
        signatures.map(({ signature, publicKey }) => verifyTextAsync(written, signature, publicKey)),
      );
      return results.every(Boolean);
    });
  }

  /** Waits for another turn of the event loop if there was work for long enough. All who wait go on together. */
  async breathe(): Promise<void> {
    while (this.#clock.monotonic() >= this.#end) {
      if (this.#pausing === undefined && turns.take()) this.#begin();
      else await (this.#pausing ??= turns.wait().then(() => this.#begin()));
    }
  }

  #begin(): void {
    this.#end = this.#clock.monotonic() + SLICE_MS;
    this.#pausing = undefined;
  }
}

function writeText(text: () => string): string | undefined {
  try {
    return text();
  } catch (error) {
    if (error instanceof CanonicalJsonError) return undefined;
    throw error;
  }
}

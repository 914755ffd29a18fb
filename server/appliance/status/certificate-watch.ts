import { statSync } from 'node:fs';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';

/** A state of a file. */
export interface CertificateMark {
  readonly file: string;
  /** Another one where the file is another, or was written anew. */
  readonly mark: string;
}

interface CertificateWatchNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  /** What the listeners have read; undefined while none speaks TLS. */
  readonly inUse: () => CertificateMark | undefined;
  /** Has the listeners read it anew. */
  readonly reload: () => void;
}

const LOOK_EVERY_MS = 600_000;
/** Certificate and key are written one after the other: what is newer than this may be half of a pair. */
const SETTLED_MS = 10_000;

/** Takes a certificate that was renewed into use, without anybody having to think of it. */
export class CertificateWatch {
  readonly #needs: CertificateWatchNeeds;
  #timer: Timer | undefined;
  /** What was read since. */
  #taken: { readonly instead: CertificateMark; readonly mark: string } | undefined;

  constructor(needs: CertificateWatchNeeds) {
    this.#needs = needs;
  }

  /** Whoever starts it stops it. */
  start(): void {
    this.#timer = this.#needs.clock.after(LOOK_EVERY_MS, () => {
      this.#look();
      if (this.#timer !== undefined) this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    const { inUse: find, reload, log } = this.#needs;
    const inUse = find();
    if (inUse === undefined) return;
    const found = markCertificate(inUse.file);
    const known = this.#taken?.instead === inUse ? this.#taken.mark : inUse.mark;
    // By the clock of the file system, which is the machine's own.
    if (found === undefined || found.mark === known || Date.now() - found.changedAt < SETTLED_MS) return;
    this.#taken = { instead: inUse, mark: found.mark };
    log.info({ file: inUse.file }, 'the certificate was renewed');
    reload();
  }
}

/** Undefined where there is no such file. */
export function markCertificate(file: string): (CertificateMark & { readonly changedAt: number }) | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  return { file, mark: `${found.ino}-${found.size}-${found.mtimeMs}`, changedAt: found.mtimeMs };
}

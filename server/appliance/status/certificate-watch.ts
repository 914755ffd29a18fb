import { statSync } from 'node:fs';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';

/** A state of the files of a certificate. */
export interface CertificateMark {
  readonly file: string;
  readonly keyFile: string;
  /** Another one where a file is another, or was written anew. */
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
    const found = markCertificate(inUse.file, inUse.keyFile);
    const known = this.#taken?.instead === inUse ? this.#taken.mark : inUse.mark;
    // By the clock of the file system, which is the machine's own.
    if (found === undefined || found.mark === known || Date.now() - found.changedAt < SETTLED_MS) return;
    try {
      reload();
    } catch (error) {
      // The old one goes on being served. Perhaps the key is not there yet: the next look tries again.
      if (!(error instanceof Error)) throw error;
      log.warn({ file: inUse.file, error: error.message }, 'the renewed certificate and its key cannot be used');
      return;
    }
    this.#taken = { instead: inUse, mark: found.mark };
    log.info({ file: inUse.file }, 'the certificate was renewed');
  }
}

/** Undefined where one of the files is not there. A key that is put beside its certificate later counts as well. */
export function markCertificate(
  file: string,
  keyFile: string,
): (CertificateMark & { readonly changedAt: number }) | undefined {
  const found = [file, keyFile].map((each) => statSync(each, { throwIfNoEntry: false }));
  const whole = found.filter((each) => each !== undefined);
  if (whole.length < found.length) return undefined;
  const mark = whole.map(({ ino, size, mtimeMs }) => `${ino}-${size}-${mtimeMs}`).join(' ');
  return { file, keyFile, mark, changedAt: Math.max(...whole.map(({ mtimeMs }) => mtimeMs)) };
}

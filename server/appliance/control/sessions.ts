import { createHash } from 'node:crypto';
import { MatrixError, forbidden } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import { type Random, randomString } from '../../util/random.ts';

const SECRET_LENGTH = 43;
/** Links that have not been used; an older one is worth nothing any more. */
const MAX_LINKS = 3;
const MAX_SESSIONS = 50;
/** How long (ms) a session that nobody uses is good. */
const IDLE_MS = 7 * 24 * 3_600_000;

interface SessionsParts {
  readonly clock: Clock;
  readonly random: Random;
  /** A token that is always good: of the shell, which started this program. */
  readonly shellToken?: string | undefined;
  /** Whether these are the name and password of somebody who runs the server. Throws M_LIMIT_EXCEEDED. */
  readonly checkAccount: (username: string, password: string, ip: string) => Promise<boolean>;
}

/**
 * Who may call the control API: the shell, whoever opened a link that was printed on this machine, and whoever runs the
 * server. Kept in memory: with the program end its sessions.
 */
export class Sessions {
  readonly #parts: SessionsParts;
  // By their hashes, which takes from comparing them what it could tell by its duration.
  readonly #links = new Set<string>();
  readonly #sessions = new Map<string, { usedAt: number }>();
  readonly #shell: string | undefined;

  constructor(parts: SessionsParts) {
    this.#parts = parts;
    this.#shell = parts.shellToken === undefined ? undefined : hash(parts.shellToken);
  }

  /** The secret of a new link, which opens one session. */
  createLink(): string {
    const secret = randomString(this.#parts.random, SECRET_LENGTH);
    this.#links.add(hash(secret));
    for (const oldest of this.#links) {
      if (this.#links.size <= MAX_LINKS) break;
      this.#links.delete(oldest);
    }
    return secret;
  }

  /** Throws M_FORBIDDEN where the link was used or is not known. */
  openByLink(secret: string): string {
    if (!this.#links.delete(hash(secret))) {
      throw forbidden('This link has been used, or belongs to an earlier start. Hearth can give you a new one.');
    }
    return this.#open();
  }

  /** Throws M_FORBIDDEN, M_LIMIT_EXCEEDED. */
  async openByAccount(username: string, password: string, ip: string): Promise<string> {
    if (await this.#parts.checkAccount(username, password, ip)) return this.#open();
    throw forbidden('That is not the name and password of somebody who runs this server.');
  }

  isGood(token: string): boolean {
    const hashed = hash(token);
    if (hashed === this.#shell) return true;
    const session = this.#sessions.get(hashed);
    if (session === undefined) return false;
    const now = this.#parts.clock.now();
    if (now - session.usedAt > IDLE_MS) {
      this.#sessions.delete(hashed);
      return false;
    }
    session.usedAt = now;
    return true;
  }

  /** Whether it is the token of whoever started this program, or can read what it keeps. */
  isOwner(token: string): boolean {
    return this.#shell !== undefined && hash(token) === this.#shell;
  }

  close(token: string): void {
    this.#sessions.delete(hash(token));
  }

  #open(): string {
    const token = randomString(this.#parts.random, SECRET_LENGTH);
    this.#sessions.set(hash(token), { usedAt: this.#parts.clock.now() });
    if (this.#sessions.size > MAX_SESSIONS) {
      const [longestUnused] = [...this.#sessions].toSorted(([, a], [, b]) => a.usedAt - b.usedAt);
      if (longestUnused !== undefined) this.#sessions.delete(longestUnused[0]);
    }
    return token;
  }
}

export function tokenMissing(): MatrixError {
  return new MatrixError('M_MISSING_TOKEN', 'This needs the token of a session');
}

function hash(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

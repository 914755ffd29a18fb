import { createHash } from 'node:crypto';
import { MatrixError, forbidden } from '../../matrix/errors.ts';
import type { UserId } from '../../matrix/identifiers.ts';
import type { Clock } from '../../util/clock.ts';
import { type Random, randomString } from '../../util/random.ts';

const SECRET_LENGTH = 43;
/** Links that have not been used; an older one is worth nothing any more. */
const MAX_LINKS = 3;
/** How long (ms) a link can be used: what was printed is read by others some day. */
const LINK_MS = 24 * 3_600_000;
const MAX_SESSIONS = 50;
/** How long (ms) a session that nobody uses is good. */
const IDLE_MS = 7 * 24 * 3_600_000;

interface SessionsParts {
  readonly clock: Clock;
  readonly random: Random;
  /** A token that is always good: of the shell, which started this program. */
  readonly shellToken?: string | undefined;
  readonly accounts: SessionAccounts;
}

/** The accounts of those who run the server. */
export interface SessionAccounts {
  /** Whose name and password these are. Throws M_LIMIT_EXCEEDED, and M_UNKNOWN (503) while nobody can be asked. */
  signIn(username: string, password: string): Promise<UserId | undefined>;
  /**
   * Another one as soon as they have another password; undefined once they do not run the server any more, `unknown` while
   * nobody can be asked.
   */
  standingOf(userId: UserId): string | undefined;
}

interface Session {
  /** On the clock that nobody sets. */
  usedAt: number;
  /** Whom it was opened for; undefined where that was whoever had a link. */
  readonly account: { readonly userId: UserId; standing: string | undefined } | undefined;
  readonly ended: AbortController;
}

/**
 * Who may call the control API: the shell, whoever opened a link that was printed on this machine, and whoever runs the
 * server. Kept in memory: with the program end its sessions.
 */
export class Sessions {
  readonly #parts: SessionsParts;
  // By their hashes, which takes from comparing them what it could tell by its duration.
  readonly #links = new Map<string, { readonly madeAt: number }>();
  readonly #sessions = new Map<string, Session>();
  readonly #shell: string | undefined;

  constructor(parts: SessionsParts) {
    this.#parts = parts;
    this.#shell = parts.shellToken === undefined ? undefined : hash(parts.shellToken);
  }

  /** The secret of a new link, which opens one session. */
  createLink(): string {
    const secret = randomString(this.#parts.random, SECRET_LENGTH);
    this.#links.set(hash(secret), { madeAt: this.#parts.clock.monotonic() });
    for (const oldest of this.#links.keys()) {
      if (this.#links.size <= MAX_LINKS) break;
      this.#links.delete(oldest);
    }
    return secret;
  }

  /** Throws M_FORBIDDEN where the link was used, is too old or is not known. */
  openByLink(secret: string): string {
    const hashed = hash(secret);
    const link = this.#links.get(hashed);
    this.#links.delete(hashed);
    if (link === undefined || this.#parts.clock.monotonic() - link.madeAt > LINK_MS) {
      throw forbidden(
        'This link has been used, is more than a day old, or belongs to an earlier start. Starting Hearth once more prints a new one.',
      );
    }
    return this.#open(undefined);
  }

  /** Throws M_FORBIDDEN, M_LIMIT_EXCEEDED. */
  async openByAccount(username: string, password: string): Promise<string> {
    const { accounts } = this.#parts;
    const userId = await accounts.signIn(username, password);
    if (userId === undefined) throw forbidden('That is not the name and password of somebody who runs this server.');
    return this.#open({ userId, standing: accounts.standingOf(userId) });
  }

  isGood(token: string): boolean {
    const hashed = hash(token);
    if (hashed === this.#shell) return true;
    const session = this.#sessions.get(hashed);
    if (session === undefined) return false;
    const now = this.#parts.clock.monotonic();
    if (now - session.usedAt > IDLE_MS || !this.#isStanding(session)) {
      this.#end(hashed);
      return false;
    }
    session.usedAt = now;
    return true;
  }

  /** Aborted when the session of a token ends, be it by `close`; a token without one has nothing that could end. */
  endOf(token: string): AbortSignal | undefined {
    return this.#sessions.get(hash(token))?.ended.signal;
  }

  /** Whether it is the token of whoever started this program, or can read what it keeps. */
  isOwner(token: string): boolean {
    return this.#shell !== undefined && hash(token) === this.#shell;
  }

  close(token: string): void {
    this.#end(hash(token));
  }

  #open(account: Session['account']): string {
    const token = randomString(this.#parts.random, SECRET_LENGTH);
    const session = { usedAt: this.#parts.clock.monotonic(), account, ended: new AbortController() };
    this.#sessions.set(hash(token), session);
    if (this.#sessions.size > MAX_SESSIONS) {
      const [longestUnused] = [...this.#sessions].toSorted(([, a], [, b]) => a.usedAt - b.usedAt);
      if (longestUnused !== undefined) this.#end(longestUnused[0]);
    }
    return token;
  }

  /** Whether the account that opened it still could. While the homeserver does not run, nobody's standing changes. */
  #isStanding({ account }: Session): boolean {
    if (account === undefined) return true;
    const standing = this.#parts.accounts.standingOf(account.userId);
    if (standing === 'unknown') return true;
    // It stopped in the moment of the sign-in: what holds now is what held then.
    if (account.standing === 'unknown') account.standing = standing;
    return standing !== undefined && standing === account.standing;
  }

  #end(hashed: string): void {
    this.#sessions.get(hashed)?.ended.abort();
    this.#sessions.delete(hashed);
  }
}

export function tokenMissing(): MatrixError {
  return new MatrixError('M_MISSING_TOKEN', 'This needs the token of a session');
}

function hash(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

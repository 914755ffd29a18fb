import { LRUCache } from 'lru-cache';
import { FederationError } from '../../../federation/errors.ts';
import { federationPath } from '../../../federation/path.ts';
import type { FederationClient } from '../../../federation/types.ts';
import type { RoomId, ServerName } from '../../../matrix/identifiers.ts';
import { askInTurn } from '../../../util/ask-in-turn.ts';
import type { Clock } from '../../../util/clock.ts';
import { Gate } from '../../../util/gate.ts';
import type { Logger } from '../../../util/log.ts';
import { type OutsideSpace, readHierarchy } from './answer.ts';

/** Servers asked about one room. */
const MAX_SERVERS = 3;
const PATIENCE_MS = 2_000;
const TIMEOUT_MS = 8_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Questions under way at a time, whoever they are for. */
const MAX_AT_ONCE = 16;
/** How long an answer holds. */
const KEPT_MS = 5 * 60_000;
/** How long it holds that a server does not know the room, or does not show it: an invite may come at any time. */
const REFUSAL_KEPT_MS = 60_000;
const MAX_KEPT_BYTES = 16 * 1024 * 1024;
const REFUSAL_BYTES = 300;

export interface ElsewhereNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly client: FederationClient;
}

interface Kept {
  /** Monotonic ms. */
  readonly until: number;
  readonly space: OutsideSpace | undefined;
}

/**
 * What other servers tell of rooms this server is not in (server-server API, "Spaces"). Answers are kept for a few
 * minutes under the name of who gave them: what one server says is not passed on to somebody who was sent to another.
 */
export class Elsewhere {
  readonly #needs: ElsewhereNeeds;
  readonly #kept = new LRUCache<string, Kept>({
    maxSize: MAX_KEPT_BYTES,
    sizeCalculation: ({ space }) => space?.weight ?? REFUSAL_BYTES,
  });
  readonly #underWay = new Map<string, Promise<OutsideSpace | undefined>>();
  readonly #gate = new Gate(MAX_AT_ONCE);

  constructor(needs: ElsewhereNeeds) {
    this.#needs = needs;
  }

  /** What `server` has told of a room lately. */
  peek(server: ServerName, roomId: RoomId): OutsideSpace | undefined {
    return this.#keptOf(server, roomId)?.space;
  }

  /**
   * The room as one of the first few of `via` tells of it, a space with its children; undefined, within some seconds, if
   * none does. Never throws. Whom it is shown to is for the caller to decide.
   */
  async find(roomId: RoomId, via: Iterable<ServerName>): Promise<OutsideSpace | undefined> {
    const { clock, log, serverName } = this.#needs;
    const servers = [...new Set(via)].filter((server) => server !== serverName).slice(0, MAX_SERVERS);
    const left: ServerName[] = [];
    for (const server of servers) {
      const kept = this.#keptOf(server, roomId);
      if (kept?.space !== undefined) return kept.space;
      if (kept === undefined) left.push(server);
    }
    const answers = askInTurn(left, (server) => this.#ask(server, roomId), {
      clock,
      patienceMs: PATIENCE_MS,
      // Others may wait for the same answer, so nobody's leaving ends the question; its time is short.
      signal: new AbortController().signal,
      onFailure: (server, error) => {
        const reason = error instanceof Error ? error.message : String(error);
        log.debug({ server, reason }, 'another server told nothing of a room');
      },
    });
    for await (const { answer } of answers) if (answer !== undefined) return answer;
    return undefined;
  }

  #keptOf(server: ServerName, roomId: RoomId): Kept | undefined {
    const key = keyOf(server, roomId);
    const kept = this.#kept.get(key);
    if (kept === undefined || kept.until > this.#needs.clock.monotonic()) return kept;
    this.#kept.delete(key);
    return undefined;
  }

  #ask(server: ServerName, roomId: RoomId): Promise<OutsideSpace | undefined> {
    const key = keyOf(server, roomId);
    const running = this.#underWay.get(key);
    if (running !== undefined) return running;
    const asked = this.#gate
      .run(() => this.#request(server, roomId))
      .then((space) => {
        const until = this.#needs.clock.monotonic() + (space === undefined ? REFUSAL_KEPT_MS : KEPT_MS);
        this.#kept.set(key, { until, space });
        return space;
      })
      .finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, asked);
    return asked;
  }

  /** Undefined where the server answers that it has nothing to tell; other failures are thrown and not remembered. */
  async #request(server: ServerName, roomId: RoomId): Promise<OutsideSpace | undefined> {
    try {
      const answer = await this.#needs.client.request({
        destination: server,
        method: 'GET',
        path: federationPath('/v1/hierarchy', roomId),
        // All are asked for, whichever a client wants: one answer serves both.
        query: { suggested_only: false },
        retries: 'none',
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_ANSWER_BYTES,
      });
      return readHierarchy(server, roomId, answer);
    } catch (error) {
      const status = error instanceof FederationError && error.kind === 'refused' ? error.status : undefined;
      if (status === 404 || status === 403 || status === 400) return undefined;
      throw error;
    }
  }
}

const keyOf = (server: ServerName, roomId: RoomId): string => `${server} ${roomId}`;

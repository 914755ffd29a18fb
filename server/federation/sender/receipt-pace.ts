import type { ServerName } from '../../matrix/identifiers.ts';
import type { Clock, Timer } from '../../util/clock.ts';

interface Round {
  readonly servers: Set<ServerName>;
  timer: Timer;
}

/**
 * Keeps read receipts from making a transaction each: those of one room cause so many transactions a second, over all
 * servers together, and the rest waits for the next round or rides along with whatever else is sent.
 */
export class ReceiptPace {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #flush: (servers: Iterable<ServerName>) => void;
  /** Rounds under way, by room. */
  readonly #rounds = new Map<string, Round>();

  constructor(options: { clock: Clock; perSecond: number; flush: (servers: Iterable<ServerName>) => void }) {
    this.#clock = options.clock;
    this.#perSecond = options.perSecond;
    this.#flush = options.flush;
  }

  /** A receipt of a room waits for these servers: it is sent at once, or in the room's next round. */
  add(room: string, servers: readonly ServerName[]): void {
    const round = this.#rounds.get(room);
    if (round !== undefined) {
      for (const server of servers) round.servers.add(server);
      return;
    }
    this.#begin(room, servers);
  }

  /** Whether receipts wait for a server that are to be sent in a later round. */
  holds(server: ServerName): boolean {
    for (const { servers } of this.#rounds.values()) if (servers.has(server)) return true;
    return false;
  }

  stop(): void {
    for (const { timer } of this.#rounds.values()) timer.cancel();
    this.#rounds.clear();
  }

  #begin(room: string, servers: readonly ServerName[]): void {
    const timer = this.#clock.after((servers.length * 1000) / this.#perSecond, () => this.#end(room));
    this.#rounds.set(room, { servers: new Set(), timer });
    this.#flush(servers);
  }

  #end(room: string): void {
    const servers = [...(this.#rounds.get(room)?.servers ?? [])];
    this.#rounds.delete(room);
    if (servers.length > 0) this.#begin(room, servers);
  }
}

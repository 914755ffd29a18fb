import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Clock } from '../../../util/clock.ts';
import { Gate } from '../../../util/gate.ts';
import type { Logger } from '../../../util/log.ts';
import { atMost } from '../../../util/lru.ts';
import type { Random } from '../../../util/random.ts';
import type { Pusher, PusherStore } from '../store/pushers.ts';
import type { CountListener } from './counting.ts';
import { PusherLoop, type PusherWork } from './pusher-loop.ts';

/** A pusher's work that may also have to tell a smaller count. */
export interface PusherTask extends PusherWork {
  badgeMoved?(): void;
}

export interface DispatcherNeeds {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly store: Pick<PusherStore, 'list' | 'listOwners'>;
  /** Whose pushers rest for now. */
  readonly isSilenced: (userId: UserId) => boolean;
  readonly taskOf: (pusher: Pick<Pusher, 'nid' | 'kind'>) => PusherTask;
}

/** Users looked at in one go at the start. */
const SLICE = 50;
const GATEWAYS_KEPT = 1_000;
/** Requests that one gateway gets at a time. */
const GATE_WIDTH = 8;

/**
 * Sets pushers to work when there is something for them. Each goes on by itself, so that a gateway that is slow or away
 * keeps nobody else waiting; what is to be done stands in the database.
 */
export class Dispatcher implements CountListener {
  readonly #needs: DispatcherNeeds;
  readonly #loops = new Map<number, { readonly loop: PusherLoop; readonly task: PusherTask }>();
  readonly #stopping = new AbortController();
  #isStarted = false;
  #starting: Promise<void> | undefined;

  constructor(needs: DispatcherNeeds) {
    this.#needs = needs;
  }

  /** Takes up what was left, without keeping the start of the server waiting. */
  start(): void {
    this.#isStarted = true;
    this.#starting = this.#resume().catch((error: unknown) => {
      this.#needs.log.error({ error }, 'pushers were not taken up');
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#starting;
    await Promise.all([...this.#loops.values()].map(({ loop }) => loop.stop()));
    this.#loops.clear();
  }

  waiting(userId: UserId): void {
    this.#wakeAll(userId, false);
  }

  lessUnread(userId: UserId): void {
    this.#wakeAll(userId, true);
  }

  /** A pusher was made or set anew. */
  changed(pusher: Pusher): void {
    this.#loopOf(pusher)?.loop.retryNow();
  }

  /** The network may be another one: nobody waits any longer. */
  retryNow(): void {
    for (const { loop } of this.#loops.values()) loop.retryNow();
  }

  #wakeAll(userId: UserId, badgeMoved: boolean): void {
    if (this.#needs.isSilenced(userId)) return;
    for (const pusher of this.#needs.store.list(userId)) {
      const known = pusher.enabled ? this.#loopOf(pusher) : undefined;
      if (known === undefined) continue;
      if (badgeMoved) known.task.badgeMoved?.();
      known.loop.wake();
    }
  }

  #loopOf({ nid, kind }: Pusher): { readonly loop: PusherLoop; readonly task: PusherTask } | undefined {
    if (!this.#isStarted || this.#stopping.signal.aborted) return undefined;
    const known = this.#loops.get(nid);
    if (known !== undefined) return known;
    const { taskOf, clock, random, log } = this.#needs;
    const task = taskOf({ nid, kind });
    const loop = new PusherLoop(task, {
      clock,
      random,
      log,
      stopping: this.#stopping.signal,
      finished: () => this.#loops.delete(nid),
    });
    const made = { loop, task };
    this.#loops.set(nid, made);
    return made;
  }

  async #resume(): Promise<void> {
    for (let after = ''; !this.#stopping.signal.aborted; ) {
      const owners = this.#needs.store.listOwners(after, SLICE);
      for (const userId of owners) this.#wakeAll(userId, true);
      const last = owners.at(-1);
      if (last === undefined || owners.length < SLICE) return;
      after = last;
      await nextTurn();
    }
  }
}

/** A gate for each gateway, by its origin. */
export function gatewayGates(): (origin: string) => Gate {
  const gates = new LRUCache<string, Gate>(atMost(GATEWAYS_KEPT));
  return (origin) => {
    const known = gates.get(origin);
    if (known !== undefined) return known;
    const gate = new Gate(GATE_WIDTH);
    gates.set(origin, gate);
    return gate;
  };
}

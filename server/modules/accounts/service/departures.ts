import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Logger } from '../../../util/log.ts';
import type { TokenStore } from '../store/tokens.ts';
import type { UserStore } from '../store/users.ts';
import type { TokenMemory } from './authenticator.ts';
import type { InteractiveAuthSessions } from './interactive-auth.ts';
import type { AccountHooks, Devices } from './needs.ts';

/** Closes accounts, and sees to it that their users leave in the end, restarts or not. */
export interface Departures {
  /**
   * Deactivates an account: no password, no devices, no tokens (spec: "Account deactivation"). What takes longer, leaving
   * rooms, goes on after this returns.
   */
  deactivate(userId: UserId, options: { readonly erase: boolean }): void;
  /** Goes on with what was begun before a restart. */
  resume(): void;
  /** Stops what goes on; it is resumed the next time. */
  stop(): Promise<void>;
}

export function createDepartures(needs: {
  readonly db: Database;
  readonly log: Logger;
  readonly users: UserStore;
  readonly tokens: TokenStore;
  readonly memory: TokenMemory;
  readonly sessions: InteractiveAuthSessions;
  readonly devices: Devices;
  readonly hooks: AccountHooks;
}): Departures {
  const { db, log, users, tokens, memory, sessions, devices, hooks } = needs;
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();

  async function depart(userId: UserId, erase: boolean): Promise<void> {
    try {
      for (const hook of hooks.onDeparting) await hook(userId, { erase, stopping: stopping.signal });
      if (!stopping.signal.aborted) db.write((tx) => users.departed(tx, userId));
    } catch (error) {
      // Still marked as departing: the next start tries again.
      if (!stopping.signal.aborted) log.error({ userId, error }, 'a deactivated user could not leave everything');
    }
  }

  function begin(userId: UserId, erase: boolean): void {
    const departure = depart(userId, erase).finally(() => running.delete(departure));
    running.add(departure);
  }

  function close(tx: WriteTx, userId: UserId, erase: boolean): void {
    users.deactivate(tx, userId, erase);
    devices.removeAll(tx, userId);
    tokens.removeLoginOfUser(tx, userId);
    sessions.removeOfUser(tx, userId);
    memory.forget(tx, userId);
    for (const hook of hooks.onDeactivated) hook(tx, userId, { erase });
    tx.onCommit(() => begin(userId, erase));
  }

  return {
    deactivate: (userId, { erase }) => db.write((tx) => close(tx, userId, erase)),
    resume: () => {
      for (const { userId, erase } of users.listDeparting()) begin(userId, erase);
    },
    stop: async () => {
      stopping.abort();
      await Promise.all(running);
    },
  };
}

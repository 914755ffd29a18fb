import type { EduHandler, QueryHandler } from './federation/types.ts';
import type { Route } from './http/route.ts';
import type { RoomPurge } from './rooms/purge/hook.ts';
import type { Projection } from './rooms/types.ts';
import type { Follower, Migration, Restoration, WriteTx } from './storage/types.ts';
import type { EventDecoration, SyncContribution } from './sync/types.ts';

/** What a module of the spec may add to the server. Every part is optional. */
export interface Module {
  /** As the spec names it; also the owner of its migrations. */
  readonly name: string;
  readonly routes?: readonly Route[];
  /** By the EDU's type; a type claimed twice stops the start. */
  readonly edus?: Readonly<Record<string, EduHandler>>;
  /** By the query's type. */
  readonly queries?: Readonly<Record<string, QueryHandler>>;
  /** Inside the transaction that stores an event. */
  readonly projections?: readonly Projection[];
  /** After the commit, with a durable cursor. */
  readonly followers?: readonly Follower[];
  readonly sync?: readonly SyncContribution[];
  /** Bundled aggregations and other additions to `unsigned`. */
  readonly decorations?: readonly EventDecoration[];
  /** Before `start`, once after a backup took the place of the data: nothing may be done twice, or rest on what was lost. */
  afterRestore?(tx: WriteTx, restoration: Restoration): void;
  /** Removes what it keeps about a room that is removed for good. */
  readonly purge?: RoomPurge;
  /** Begins timers and the like; whoever starts it stops it. */
  start?(): void;
  stop?(): Promise<void> | void;
  /** The machine woke up, or its network changed: what waits for another try may try at once. */
  wake?(): void;
}

/**
 * The steps of a module's schema. Kept beside the module rather than in it, since the database is opened, and migrated,
 * before any module can be made: each module's `index.ts` exports one as `migrations`.
 */
export type ModuleMigrations = { readonly owner: string; readonly migrations: readonly Migration[] };

/** What modules claim by name: two that claim the same would take turns at random, so that stops the start. */
export function collect<Handler>(
  what: string,
  modules: readonly Module[],
  claimedBy: (module: Module) => Readonly<Record<string, Handler>> | undefined,
): ReadonlyMap<string, Handler> {
  const handlers = new Map<string, Handler>();
  for (const module of modules) {
    for (const [type, handler] of Object.entries(claimedBy(module) ?? {})) {
      if (handlers.has(type)) throw new Error(`two modules take the ${what} ${type}`);
      handlers.set(type, handler);
    }
  }
  return handlers;
}

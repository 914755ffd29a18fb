import type { StorageError } from './storage-error.ts';
import type { StreamPosition, WriteTx } from './types.ts';

/** What a write asks of the database it belongs to. */
interface Owner {
  nextPosition(): StreamPosition;
  /** Throws unless `write` is the innermost one under way. */
  checkCurrent(write: WriteTx): void;
}

/** What one write wants done afterwards. Kept as undefined until used: most writes use few of the three. */
export class Write implements WriteTx {
  readonly #owner: Owner;
  keys: string[] | undefined;
  commitActions: (() => void)[] | undefined;
  rollbackActions: (() => void)[] | undefined;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  nextPosition(): StreamPosition {
    this.#owner.checkCurrent(this);
    return this.#owner.nextPosition();
  }

  touch(key: string): void {
    this.#owner.checkCurrent(this);
    (this.keys ??= []).push(key);
  }

  onCommit(action: () => void): void {
    this.#owner.checkCurrent(this);
    (this.commitActions ??= []).push(action);
  }

  onRollback(action: () => void): void {
    this.#owner.checkCurrent(this);
    (this.rollbackActions ??= []).push(action);
  }

  /** Hands what a finished nested write asked for to the write around it. */
  join(outer: Write): void {
    if (this.keys !== undefined) append((outer.keys ??= []), this.keys);
    if (this.commitActions !== undefined) append((outer.commitActions ??= []), this.commitActions);
    if (this.rollbackActions !== undefined) append((outer.rollbackActions ??= []), this.rollbackActions);
  }
}

/** All writes of one turn of the event loop: they are committed together or, if the storage fails, undone together. */
export class Turn {
  /** Is a SQLite transaction open for it? A turn of `advance` calls alone needs none. */
  begun = false;
  /** Has any of its writes gone well, so that its commit tells how the storage is? */
  wrote = false;
  /** Why the whole turn is undone, once it is. */
  failure: StorageError | undefined;
  /** Have the rollback actions run? */
  undone = false;
  readonly keys = new Set<string>();
  /** Keys of changes that live in memory only: they stay true when the turn's writes are undone. */
  readonly memoryKeys = new Set<string>();
  readonly commitActions: (() => void)[] = [];
  readonly rollbackActions: (() => void)[] = [];
  #outcome: PromiseWithResolvers<void> | undefined;

  join(write: Write): void {
    this.wrote = true;
    for (const key of write.keys ?? []) this.keys.add(key);
    append(this.commitActions, write.commitActions ?? []);
    append(this.rollbackActions, write.rollbackActions ?? []);
  }

  /** Settles when the turn is committed or undone. Made only when somebody asks, so that nobody's is never unhandled. */
  outcome(): Promise<void> {
    if (this.#outcome === undefined) {
      this.#outcome = Promise.withResolvers();
      if (this.failure !== undefined) this.#outcome.reject(this.failure);
    }
    return this.#outcome.promise;
  }

  settle(): void {
    if (this.failure === undefined) this.#outcome?.resolve();
    else this.#outcome?.reject(this.failure);
  }
}

// One at a time: spreading a list into arguments fails above some ten thousand entries.
function append<Item>(list: Item[], more: readonly Item[]): void {
  for (const item of more) list.push(item);
}

import { StorageError } from './storage-error.ts';
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
    if (this.keys !== undefined) (outer.keys ??= []).push(...this.keys);
    if (this.commitActions !== undefined) (outer.commitActions ??= []).push(...this.commitActions);
    if (this.rollbackActions !== undefined) (outer.rollbackActions ??= []).push(...this.rollbackActions);
  }
}

/** All writes of one turn of the event loop: they are committed together or, if the storage fails, undone together. */
export class Turn {
  /** Is a SQLite transaction open for it? A turn of `advance` calls alone needs none. */
  begun = false;
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
    for (const key of write.keys ?? []) this.keys.add(key);
    if (write.commitActions !== undefined) this.commitActions.push(...write.commitActions);
    if (write.rollbackActions !== undefined) this.rollbackActions.push(...write.rollbackActions);
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

/** The refusal of a write after `close`. */
export function closedError(): StorageError {
  return new StorageError('closed', 'the database is closed');
}

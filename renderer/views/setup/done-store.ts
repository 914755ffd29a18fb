import type { SetupDone } from '../../../server/appliance/contract.ts';

const KEY = 'hearth.setup-done';

/** Keeps how setting up ended, so that a reload shows it again. Holds no secret. */
export function keepDone(storage: Pick<Storage, 'setItem'>, done: SetupDone): void {
  storage.setItem(KEY, JSON.stringify(done));
}

export function findDone(storage: Pick<Storage, 'getItem'>): SetupDone | undefined {
  const kept = storage.getItem(KEY);
  return kept === null ? undefined : (JSON.parse(kept) as SetupDone);
}

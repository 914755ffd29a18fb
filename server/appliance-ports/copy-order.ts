import { adoptCopy, type AdoptedCopy, checkCopy } from '../storage/restoration.ts';
import type { Logger } from '../util/log.ts';

/** To look for damage in a copy of a database, or to make it fit to take the place of the data. */
export type CopyOrder =
  | { readonly kind: 'check'; readonly path: string }
  | ({ readonly kind: 'adopt' } & Omit<AdoptedCopy, 'migrations' | 'log'>);

/** Takes seconds for each GB, and holds up the thread. Throws `StorageError`. */
export async function carryOut(order: CopyOrder, log: Logger): Promise<void> {
  if (order.kind === 'check') {
    checkCopy(order.path);
    return;
  }
  const { allMigrations } = await import('../schema.ts');
  await adoptCopy({ ...order, migrations: allMigrations, log });
}

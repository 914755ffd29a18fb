import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { StorageError, type StorageErrorKind } from '../storage/storage-error.ts';
import type { LogData, Logger } from '../util/log.ts';
import type { CopyOrder } from './copy-order.ts';

export type CopyAnswer =
  | { readonly kind: 'begun' }
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly data: LogData;
      readonly sentence: string;
    }
  | { readonly kind: 'refused'; readonly storageKind: StorageErrorKind; readonly message: string }
  | { readonly kind: 'done' };

const PROGRAM = join(import.meta.dirname, `copy-worker${extname(import.meta.filename)}`);

/**
 * Has a thread of its own do what takes seconds for each GB. Throws `StorageError`, and the reason of `signal` once the thread
 * has let go of the file.
 */
export async function workOnCopy(
  order: CopyOrder,
  {
    log,
    signal,
    program = PROGRAM,
  }: { readonly log: Logger; readonly signal?: AbortSignal | undefined; readonly program?: string },
): Promise<void> {
  signal?.throwIfAborted();
  const worker = new Worker(program, { workerData: order });
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  let hasBegun = false;
  let outcome: CopyAnswer | undefined;
  const end = (): void => void worker.terminate();
  signal?.addEventListener('abort', end);
  worker.on('message', (answer: CopyAnswer) => {
    if (answer.kind === 'log') log[answer.level](answer.data, answer.sentence);
    else if (answer.kind === 'begun') hasBegun = true;
    else outcome = answer;
  });
  worker.once('error', reject);
  worker.once('exit', () => resolve());
  try {
    await ended;
  } catch (error) {
    if (hasBegun) throw error;
    // A backup that holds up the server for a while is better than none.
    log.warn({ error }, 'a thread could not be started');
    const { carryOut } = await import('./copy-order.ts');
    await carryOut(order, log);
    return;
  } finally {
    signal?.removeEventListener('abort', end);
  }
  signal?.throwIfAborted();
  if (outcome?.kind === 'refused') throw new StorageError(outcome.storageKind, outcome.message);
  if (outcome === undefined) throw new Error('the work on a copy of the database ended without a word');
}

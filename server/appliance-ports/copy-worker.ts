/** A thread that looks at copies of databases, so that the process it belongs to goes on meanwhile. One order each. */
import { parentPort, workerData } from 'node:worker_threads';
import { StorageError } from '../storage/storage-error.ts';
import type { LogData, Logger } from '../util/log.ts';
import { carryOut } from './copy-order.ts';
import type { CopyAnswer } from './copy-work.ts';

function tell(answer: CopyAnswer): void {
  parentPort?.postMessage(answer);
}

function logger(own: LogData = {}): Logger {
  const line =
    (level: 'info' | 'warn' | 'error') =>
    (data: LogData, sentence: string): void =>
      tell({ kind: 'log', level, data: { ...own, ...data }, sentence });
  const log = { info: line('info'), warn: line('warn'), error: line('error') };
  return { ...log, debug: () => undefined, child: (data) => logger({ ...own, ...data }) };
}

tell({ kind: 'begun' });
try {
  await carryOut(workerData, logger());
  tell({ kind: 'done' });
} catch (error) {
  if (!(error instanceof StorageError)) throw error;
  tell({ kind: 'refused', storageKind: error.kind, message: error.message });
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CommandError, type Terminal } from './command.ts';

/**
 * Finishes a restoration that was ended in the middle, before anything else in the data directory is looked at, and says so.
 * Throws CommandError where it cannot be finished.
 */
export async function finishInterrupted(dataDir: string, terminal: Terminal): Promise<void> {
  // Nearly always there is none, and what would finish it need not be loaded.
  if (!existsSync(join(dataDir, 'restore'))) return;
  const { finishRestore } = await import('../appliance/backups/swap.ts');
  try {
    const restored = finishRestore(dataDir);
    if (restored === undefined) return;
    terminal.print(
      `A restoration that was interrupted is finished: ${dataDir} now holds the backup of ${restored.serverName}`,
    );
    if (restored.kept !== undefined) terminal.print(`What was there before is in ${restored.kept}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandError(`A restoration was interrupted, and cannot be finished: ${why}`, { cause: error });
  }
}

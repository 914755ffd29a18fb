import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { compose, allMigrations } from '../../server/compose.ts';
import { loadConfig } from '../../server/config/config.ts';
import type { Route } from '../../server/http/route.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';

/** Every route of the whole server, without serving any of them. Takes options of homeserver.yaml. */
export async function listRoutes(options: Readonly<Record<string, unknown>> = {}): Promise<readonly Route[]> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-routes-'));
  try {
    const file = join(dir, 'homeserver.yaml');
    writeFileSync(file, stringify({ server_name: 'hearth.test', ...options }));
    const { config } = loadConfig({ configPath: file });
    const db = openDatabase({ path: ':memory:', migrations: allMigrations, log: silentLogger });
    const { routes } = compose({
      config,
      db,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      signingKeys: [generateSigningKey(systemRandom.bytes(32))],
      notaryKeys: undefined,
      version: '0',
    });
    await db.close();
    return routes;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

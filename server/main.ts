import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { readVersion } from './cli/version.ts';
import type { RunningHomeserver } from './cli/running-server.ts';
import { allMigrations, compose, type ComposeNeeds } from './compose.ts';
import { loadNotaryKeys, loadSigningKeys } from './config/signing-key.ts';
import type { Config } from './config/types.ts';
import { createPorts } from './appliance-ports/ports.ts';
import { createHttpServer, type ListenerOptions } from './http/server.ts';
import { openDatabase } from './storage/database.ts';
import { FollowerRunner } from './storage/followers.ts';
import { handleRestorations } from './storage/restoration.ts';
import { type Clock, systemClock } from './util/clock.ts';
import type { Logger } from './util/log.ts';
import { type Random, systemRandom } from './util/random.ts';

export interface StartOptions {
  /** Whether a link to the setup page is wanted (while nobody has an account). */
  readonly setupLink?: boolean;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The way to other servers; this machine's own unless told. */
  readonly network?: NonNullable<ComposeNeeds['network']>;
}

/**
 * Starts the homeserver: configuration → database → parts → listeners. Resolves when it answers; what was started stops
 * in reverse order. Throws ConfigError, StorageError or ListenError with a message for the person who runs it.
 */
export async function startServer(config: Config, log: Logger, options: StartOptions = {}): Promise<RunningHomeserver> {
  const { clock = systemClock, random = systemRandom, network = {} } = options;
  const signingKeys = loadSigningKeys(config.signing, random);
  const notaryKeys = loadNotaryKeys(config.signing);
  mkdirSync(dirname(config.databasePath), { recursive: true, mode: 0o700 });
  const db = openDatabase({
    path: config.databasePath,
    owner: config.serverName,
    migrations: allMigrations,
    log,
  });
  const stops: (() => Promise<void> | void)[] = [() => db.close()];
  const stop = async (): Promise<void> => {
    for (const step of stops.splice(0).reverse()) await step();
  };
  try {
    const parts = compose({ config, db, clock, random, log, signingKeys, notaryKeys, version: readVersion(), network });
    const wasRestored = handleRestorations(db, (tx, restoration) => {
      parts.federation.afterRestore(tx, restoration);
      parts.sync.afterRestore(tx, restoration);
      parts.rooms.afterRestore(tx);
      for (const module of parts.modules) module.afterRestore?.(tx, restoration);
    });
    if (wasRestored) log.info({}, 'the data were restored from a backup');
    const followers = new FollowerRunner({ db, followers: parts.followers, log, clock });
    followers.start();
    stops.push(() => followers.stop());
    parts.federation.start();
    stops.push(() => parts.federation.stop());
    parts.rooms.start();
    stops.push(() => parts.rooms.stop());
    for (const module of parts.modules) {
      module.start?.();
      if (module.stop !== undefined) stops.push(() => module.stop?.());
    }
    const http = createHttpServer({
      routes: parts.routes,
      listeners: listenersOf(config),
      db,
      log,
      clock,
      authenticator: parts.accounts.authenticator,
      federationAuthenticator: parts.federation.authenticator,
    });
    const { addresses } = await http.start();
    stops.push(
      () => http.stop(),
      () => parts.sync.stop(),
    );
    log.info({ serverName: config.serverName, listeners: addresses.length }, 'the server is ready');
    return {
      stop,
      reload: () => http.reloadCertificates(),
      wake: () => {
        parts.federation.wake();
        parts.rooms.federated?.history.wake();
        followers.retryNow();
        for (const module of parts.modules) module.wake?.();
      },
      addresses,
      ports: createPorts({ ...parts, config, db }),
      setupLink: options.setupLink === true ? setupLink(parts.accounts.setupLink.path(), addresses) : undefined,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function listenersOf({ listeners, tls }: Config): ListenerOptions[] {
  return listeners.map((listener) => ({
    port: listener.port,
    bindAddresses: listener.bindAddresses,
    tls: listener.tls && tls !== undefined ? { certPath: tls.certificatePath, keyPath: tls.privateKeyPath } : undefined,
    xForwarded: listener.trustForwarded,
    resources: listener.resources,
    compressed: listener.compressed,
    requestIdHeader: listener.requestIdHeader,
    tag: listener.tag,
    ...(listener.socketPath === undefined ? {} : { socketPath: listener.socketPath, socketMode: listener.socketMode }),
  }));
}

/** The setup page on an address of this machine: it is only served there. */
function setupLink(path: string | undefined, addresses: RunningHomeserver['addresses']): string | undefined {
  const client = addresses.find(({ resources, port }) => resources.includes('client') && port !== 0);
  if (path === undefined || client === undefined) return undefined;
  const scheme = client.tls ? 'https' : 'http';
  return `${scheme}://localhost:${client.port}${path}`;
}

import type { Route } from '../../http/route.ts';
import { decodeBase64 } from '../../matrix/base64.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import type { SigningKey } from '../../matrix/signing.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import { OwnKeys } from '../own-keys.ts';
import type { FederationClient } from '../types.ts';
import { KeyFetcher, type TrustedNotary } from './key-fetcher.ts';
import { KeyStore } from './key-store.ts';
import { Notary } from './notary.ts';
import { keyRoutes } from './routes.ts';
import { ServerKeyRing } from './server-key-ring.ts';
import { VerifyPool } from './verify-pool.ts';

export interface KeySettings {
  readonly serverName: ServerName;
  /** Key ID → public key (unpadded base64) and when it was last used, ms. */
  readonly oldKeys: Readonly<Record<string, { readonly key: string; readonly expiredAtMs: number }>>;
  readonly keyRefreshIntervalMs: number;
  readonly trustedKeyServers: readonly {
    readonly serverName: ServerName;
    /** Key ID → unpadded base64. */
    readonly verifyKeys: Readonly<Record<string, string>>;
  }[];
}

export interface FederationKeysNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly client: Pick<FederationClient, 'request'>;
  readonly settings: KeySettings;
  /** The first is the one to sign with; the others are published too. */
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  /** What answers about other servers are signed with; `signingKeys` unless told. */
  readonly notaryKeys?: readonly SigningKey[] | undefined;
}

/** Everything about keys: this server's own, those of others, and what it tells of them. */
export interface FederationKeys {
  readonly keyRing: ServerKeyRing;
  readonly routes: readonly Route[];
  /** A server is alive again, or (none named) the network is another: who failed is asked again at once. */
  reopen(server?: ServerName): void;
  /** Ends fetches under way. */
  stop(): Promise<void>;
}

/** Puts the key ring, the notary and their routes together. The tables of `federationMigrations` must be there. */
export function createFederationKeys(needs: FederationKeysNeeds): FederationKeys {
  const { db, clock, random, log, client, settings, signingKeys, notaryKeys = signingKeys } = needs;
  const { serverName, oldKeys, keyRefreshIntervalMs } = settings;
  const ownKeys = new OwnKeys({ serverName, signingKeys, oldKeys, keyRefreshIntervalMs, clock });
  const store = new KeyStore(db);
  // Asking ourselves would only come round again.
  const notaries = settings.trustedKeyServers.filter((notary) => notary.serverName !== serverName).map(trustedNotary);
  const fetcher = new KeyFetcher({ client, store, db, clock, random, log, notaries });
  const pool = new VerifyPool({ clock });
  const notary = new Notary({ serverName, ownKeys, signingKeys: notaryKeys, store, fetcher, clock });
  return {
    keyRing: new ServerKeyRing({ serverName, ownKeys, store, fetcher, pool, clock }),
    routes: keyRoutes({ ownKeys, notary }),
    reopen: (server) => fetcher.reopen(server),
    stop: () => fetcher.stop(),
  };
}

function trustedNotary({ serverName, verifyKeys }: KeySettings['trustedKeyServers'][number]): TrustedNotary {
  const keys = new Map<string, { publicKey: Uint8Array }>();
  for (const [keyId, encoded] of Object.entries(verifyKeys)) {
    const publicKey = decodeBase64(encoded);
    if (publicKey === undefined) throw new TypeError('a key of a trusted key server is none');
    keys.set(keyId, { publicKey });
  }
  return { serverName, verifyKeys: keys };
}

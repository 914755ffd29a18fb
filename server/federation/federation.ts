/** The post office, put together: everything between this server and others that knows no rooms. */
import type { FederationAuthenticator } from '../http/authenticate.ts';
import type { Route } from '../http/route.ts';
import type { EventId, ServerName } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { SigningKey } from '../matrix/signing.ts';
import { createFederationAuthenticator } from './authenticate.ts';
import { InboundLimit, type InboundLimitSettings } from './inbound-limit.ts';
import { createFederationKeys, type KeySettings } from './key-ring/create-keys.ts';
import { createFederationNetwork, type FederationNetwork, type NetworkNeeds, type NetworkSettings } from './network.ts';
import { queryRoutes } from './queries.ts';
import { createFederationSender, type FederationSender, type FederationSenderSettings } from './sender/sender.ts';
import { transactionRoutes } from './transactions.ts';
import type { Restoration, WriteTx } from '../storage/types.ts';
import type { EduHandler, KeyRing, PduTaker, QueryHandler } from './types.ts';

export interface FederationSettings {
  readonly network: NetworkSettings;
  readonly keys: KeySettings;
  readonly sender: FederationSenderSettings;
  readonly inbound: InboundLimitSettings;
}

export interface FederationNeeds extends Omit<NetworkNeeds, 'settings' | 'signingKey'> {
  /** The first is the one to sign with. */
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  readonly notaryKeys: readonly SigningKey[] | undefined;
  readonly settings: FederationSettings;
  /** Of this program. */
  readonly version: string;
  /** Events as they are sent to other servers. */
  readonly findPdu: (eventId: EventId) => JsonObject | undefined;
}

export interface Federation {
  readonly network: FederationNetwork;
  readonly keyRing: KeyRing;
  readonly sender: FederationSender;
  readonly authenticator: FederationAuthenticator;
  /** The last server whose signed request came in since the start, and when (ms since the epoch). */
  heard(): { readonly server: ServerName; readonly at: number } | undefined;
  /**
   * The operations that hand on what others brought: transactions and queries, besides those about keys. Called once all who
   * take something are there.
   */
  routes(takers: {
    readonly pdus: PduTaker;
    readonly edus: ReadonlyMap<string, EduHandler>;
    readonly queries: ReadonlyMap<string, QueryHandler>;
  }): readonly Route[];
  afterRestore(tx: WriteTx, restoration: Restoration): void;
  start(): void;
  stop(): Promise<void>;
  /** The machine slept or its network changed: live servers hear from us within seconds. */
  wake(): void;
}

/** Puts the post office together; it begins to send with `start`. The tables of `federationMigrations` must be there. */
export function createFederation(needs: FederationNeeds): Federation {
  const { serverName, db, clock, random, log, settings, signingKeys, notaryKeys, version } = needs;
  const [signingKey] = signingKeys;
  const network = createFederationNetwork({ ...needs, signingKey, settings: settings.network });
  const { client, destinations } = network;
  const keys = createFederationKeys({
    db,
    clock,
    random,
    log,
    client,
    settings: settings.keys,
    signingKeys,
    notaryKeys,
  });
  const sender = createFederationSender({
    db,
    client,
    destinations,
    clock,
    random,
    log,
    serverName,
    pdus: { find: needs.findPdu },
    settings: settings.sender,
  });
  let heard: { readonly server: ServerName; readonly at: number } | undefined;
  const recovered = destinations.onRecovered((server) => keys.reopen(server));
  return {
    network,
    keyRing: keys.keyRing,
    sender,
    authenticator: createFederationAuthenticator({
      serverName,
      keyRing: keys.keyRing,
      clock,
      log,
      settings: settings.network.client,
      destinations: {
        succeeded: (server) => {
          heard = { server, at: clock.now() };
          destinations.succeeded(server);
        },
      },
      inboundLimit: new InboundLimit({ clock, settings: settings.inbound }),
    }),
    heard: () => heard,
    routes: ({ pdus, edus, queries }) => [
      ...keys.routes,
      ...transactionRoutes({ db, clock, log, pdus, edus, destinations }),
      ...queryRoutes({ queries, version }),
    ],
    afterRestore: (tx, restoration) => sender.afterRestore(tx, restoration),
    start: () => sender.start(),
    stop: async () => {
      recovered.unsubscribe();
      await sender.stop();
      await keys.stop();
      await network.close();
    },
    wake: () => {
      network.wake();
      keys.reopen();
      sender.wake();
    },
  };
}

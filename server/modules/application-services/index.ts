import type { GuardedHttp } from '../../federation/outbound/guarded-http.ts';
import {
  type DeviceId,
  isDeviceId,
  isUserId,
  type RoomAlias,
  type RoomId,
  type UserId,
} from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { MembershipReader } from '../../rooms/types.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import { appservicePurge } from './purge.ts';
import { appserviceRoutes } from './routes.ts';
import { AppserviceClient } from './service/client.ts';
import { Delivery } from './service/delivery.ts';
import { Interest } from './service/interest.ts';
import type { ApplicationService, AppserviceRegistry } from './service/registry.ts';
import { createSummons } from './service/summons.ts';
import { createThirdPartyNetworks } from './service/third-party.ts';
import { Drafter, type DrafterNeeds } from './service/transaction.ts';
import { AppserviceStore, type DeviceMessage, type QueuedEvent } from './store.ts';

export { migrations } from './schema.ts';
export { AppserviceRegistry, type Registration } from './service/registry.ts';
export type { News } from './service/transaction.ts';

/** Messages to devices that wait for one application service. */
const MAX_MESSAGES = 100_000;

export interface ApplicationServicesNeeds extends Pick<DrafterNeeds, 'events' | 'formatter' | 'news' | 'devices'> {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly registry: AppserviceRegistry;
  /** To addresses that the administrator chose, of this machine's network more often than not: none is denied. */
  readonly http: GuardedHttp;
  readonly settings: {
    /** Whether services are sent their token in the address, too. */
    readonly tokenInAddress: boolean;
  };
  readonly members: DrafterNeeds['members'] & Pick<MembershipReader, 'isJoined' | 'listLocalJoined' | 'listRoomsOf'>;
  readonly listAliases: (roomId: RoomId) => readonly RoomAlias[];
  readonly users: {
    exists(userId: UserId): boolean;
    /** Makes the user a service speaks as. */
    ensureSender(userId: UserId, appserviceId: string): void;
  };
}

export interface ApplicationServicesModule extends Module {
  /** Asks whom a user might belong to who is not there yet, and waits until they are, or are not. */
  summonUser(userId: UserId): Promise<void>;
  /** The same for an alias; true if it should be there now. @throws MatrixError M_UNKNOWN (408) */
  summonAlias(alias: RoomAlias): Promise<boolean>;
  /** A message for a device is stored: true if a service takes it, so that it need not wait for the device itself. */
  takeMessage(tx: WriteTx, message: DeviceMessage): boolean;
}

/** Bridges and bots that are told of what happens (spec: application service API). */
export function applicationServices(needs: ApplicationServicesNeeds): ApplicationServicesModule {
  const { db, clock, random, log, registry, http, settings, users } = needs;
  const { services } = registry;
  const store = new AppserviceStore(db);
  const interest = new Interest({ ...needs, services });
  const drafter = new Drafter({ ...needs, position: () => db.position(), store, interest });

  const clients = new Map<ApplicationService, AppserviceClient>();
  const deliveries = new Map<ApplicationService, Delivery>();
  for (const service of services) {
    const { registration } = service;
    const { url } = registration;
    if (url === undefined) continue;
    const client = new AppserviceClient({ ...settings, http, clock, registration: { ...registration, url } });
    clients.set(service, client);
    deliveries.set(service, new Delivery({ db, clock, random, log, store, drafter, client, service }));
  }
  const told = [...deliveries];
  const withNews = told.filter(
    ([{ registration }]) => registration.receivesEphemeral || registration.receivesDeviceNews,
  );
  const summons = createSummons([...clients]);
  let subscription: { unsubscribe(): void } | undefined;

  /** Somebody is told of an event once it is on disk. */
  function enqueue(tx: WriteTx, service: ApplicationService, delivery: Delivery, event: QueuedEvent): void {
    store.insertEvent(tx, service.id, event);
    tx.onCommit(() => delivery.wake());
  }

  function wakeForNews(keys: ReadonlySet<string>): void {
    if (keys.size === 0) return;
    for (const [service, delivery] of withNews) {
      if (service.registration.receivesDeviceNews) {
        for (const key of keys) {
          const device = readDeviceKey(key);
          if (device !== undefined && service.covers(device.userId)) delivery.keysMoved(device.userId, device.deviceId);
        }
      }
      delivery.wake();
    }
  }

  return {
    name: 'application-services',
    purge: appservicePurge(db),
    routes: appserviceRoutes({
      clock,
      networks: createThirdPartyNetworks([...clients], clock),
      find: (id) => {
        const service = registry.find(id);
        if (service === undefined) return undefined;
        return { client: clients.get(service), heard: () => deliveries.get(service)?.retryNow() };
      },
    }),
    projections: [
      {
        name: 'application-services',
        project: (tx, event, { stateDeltas, live }) => {
          interest.review(tx, event.roomId, stateDeltas);
          if (!live || event.verdict !== 'accepted') return;
          for (const [service, delivery] of told) {
            if (interest.concernsEvent(service, event)) enqueue(tx, service, delivery, event);
          }
        },
        projectOutside: (tx, event, position) => {
          for (const [service, delivery] of told) {
            if (interest.concernsEvent(service, event)) {
              enqueue(tx, service, delivery, { position, eventId: event.eventId });
            }
          }
        },
      },
    ],
    // They remember the numbers of transactions, and would take new ones for old; as with a new service, these go on from the
    // time. The one that was under way stays the same: whoever has it will say so.
    afterRestore: (tx, { now }) => {
      for (const id of store.listIds()) {
        const progress = store.findProgress(id);
        if (progress === undefined) continue;
        const nextTransaction = Math.max(progress.nextTransaction, now);
        store.setProgress(tx, id, { ...progress, nextTransaction });
      }
    },
    start: () => {
      const known = new Set(told.map(([{ id }]) => id));
      for (const id of store.listIds()) if (!known.has(id)) db.write((tx) => store.remove(tx, id));
      for (const { id, senderUserId } of services) users.ensureSender(senderUserId, id);
      for (const [, delivery] of told) delivery.start();
      if (withNews.length > 0) subscription = db.subscribe((_now, keys) => wakeForNews(keys));
    },
    stop: async () => {
      subscription?.unsubscribe();
      await Promise.all(told.map(([, delivery]) => delivery.stop()));
    },
    wake: () => {
      for (const [, delivery] of told) delivery.retryNow();
    },

    summonUser: async (userId) => {
      if (!users.exists(userId)) await summons.user(userId);
    },
    summonAlias: (alias) => summons.alias(alias),
    takeMessage: (tx, message) => {
      let isTaken = false;
      for (const [service, delivery] of told) {
        const { receivesEphemeral, receivesDeviceNews } = service.registration;
        if (!receivesEphemeral || !service.covers(message.userId)) continue;
        // For one that is gone for long they wait with their devices, which have limits of their own.
        if (store.countMessages(service.id) >= MAX_MESSAGES) continue;
        store.insertMessage(tx, service.id, message);
        tx.onCommit(() => delivery.wake());
        // One that asks for the news of its devices this way has no other client that would wait for the messages. A
        // user whom it has not for itself alone may have one.
        if (receivesDeviceNews && service.ownsUser(message.userId)) isTaken = true;
      }
      return isTaken;
    },
  };
}

/** The device that a key of the stream is about, as `device:@user:server/DEVICE`. */
function readDeviceKey(key: string): { readonly userId: UserId; readonly deviceId: DeviceId } | undefined {
  if (!key.startsWith('device:')) return undefined;
  // A localpart may have a slash in it, the name of a server has none.
  const slash = key.indexOf('/', key.indexOf(':', 'device:'.length));
  const [userId, deviceId] = [key.slice('device:'.length, slash), key.slice(slash + 1)];
  return slash !== -1 && isUserId(userId) && isDeviceId(deviceId) ? { userId, deviceId } : undefined;
}

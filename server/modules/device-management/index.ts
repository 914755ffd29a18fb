import type { RateLimit } from '../../http/rate-limit.ts';
import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { Database } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { deviceRoutes, type InteractiveAuth } from './routes.ts';
import { createDevices, type DeviceHooks, type Devices } from './service/devices.ts';
import { Sightings } from './service/sightings.ts';
import { DeviceStore } from './store.ts';

export { migrations } from './schema.ts';
export type { Devices } from './service/devices.ts';

export interface DeviceManagementNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly interactiveAuth: InteractiveAuth;
  readonly hooks: DeviceHooks;
  /** How often an application service may make devices, per user. */
  readonly creationLimit: RateLimit;
  /** Devices that stay though nobody uses them. */
  readonly isKeptUnused?: (userId: UserId, deviceId: DeviceId) => boolean;
  readonly settings: {
    /** Devices that nobody used for this long (ms) are removed; undefined: never. */
    readonly deleteStaleDevicesAfterMs: number | undefined;
    /** How long (ms) it is remembered where a device was seen; undefined: for ever. */
    readonly userIpsMaxAgeMs: number | undefined;
  };
}

export interface DeviceManagementModule extends Module {
  readonly devices: Devices;
}

const TIDY_EVERY_MS = 24 * 3_600_000;

/** The devices of users (spec: "Device management"). */
export function deviceManagement(needs: DeviceManagementNeeds): DeviceManagementModule {
  const { db, clock, log, interactiveAuth, hooks, creationLimit, settings } = needs;
  const store = new DeviceStore(db);
  const sightings = new Sightings({ db, clock, store });
  const devices = createDevices({ db, clock, store, sightings, hooks });

  let timer: Timer | undefined;
  function tidy(): void {
    sightings.flush();
    const { deleteStaleDevicesAfterMs, userIpsMaxAgeMs } = settings;
    if (userIpsMaxAgeMs !== undefined) {
      db.write((tx) => store.removeConnectionsBefore(tx, clock.now() - userIpsMaxAgeMs));
    }
    if (deleteStaleDevicesAfterMs !== undefined) {
      const unseen = store.listUnseenSince(clock.now() - deleteStaleDevicesAfterMs);
      const stale = unseen.filter(({ userId, deviceId }) => needs.isKeptUnused?.(userId, deviceId) !== true);
      for (const { userId, deviceId } of stale) db.write((tx) => devices.remove(tx, userId, [deviceId]));
      if (stale.length > 0) log.info({ devices: stale.length }, 'devices that nobody used were removed');
    }
    timer = clock.after(TIDY_EVERY_MS, tidy);
  }

  return {
    name: 'device-management',
    routes: deviceRoutes({ db, devices, interactiveAuth, creationLimit }),
    start: tidy,
    stop: () => {
      timer?.cancel();
      sightings.flush();
    },
    devices,
  };
}

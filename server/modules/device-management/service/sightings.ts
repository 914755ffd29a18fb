import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Connection, Device, DeviceStore } from '../store.ts';

/** How long sightings wait in memory: a request must not cost a write to the disk. */
const FLUSH_AFTER_MS = 60_000;
/** More than this many do not wait. */
const MAX_WAITING = 500;
const MAX_USER_AGENT_LENGTH = 512;

/** When and where devices were last seen: gathered in memory, written now and then. */
export class Sightings {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #store: DeviceStore;
  readonly #waiting = new Map<string, Connection & { readonly userId: UserId }>();
  /** The newest of those that wait, by device. */
  readonly #latest = new Map<string, Connection>();
  #timer: Timer | undefined;

  constructor({ db, clock, store }: { db: Database; clock: Clock; store: DeviceStore }) {
    this.#db = db;
    this.#clock = clock;
    this.#store = store;
  }

  /** A device has shown its token. */
  seen(userId: UserId, deviceId: DeviceId, ip: string, userAgent: string | undefined): void {
    const agent = (userAgent ?? '').slice(0, MAX_USER_AGENT_LENGTH);
    const device = keyOf(userId, deviceId);
    const sighting = { userId, deviceId, ip, userAgent: agent, lastSeenMs: this.#clock.now() };
    this.#waiting.set(`${device}\0${ip}\0${agent}`, sighting);
    this.#latest.set(device, sighting);
    if (this.#waiting.size > MAX_WAITING) this.flush();
    else this.#timer ??= this.#clock.after(FLUSH_AFTER_MS, () => this.flush());
  }

  /** The device as it is, with what is not written yet. */
  complete(device: Device): Device {
    const latest = this.#latest.get(keyOf(device.userId, device.deviceId));
    if (latest === undefined) return device;
    const { lastSeenMs, ip, userAgent } = latest;
    return { ...device, lastSeenMs, lastSeenIp: ip, lastSeenUserAgent: userAgent };
  }

  /** Writes what has gathered. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#waiting.size === 0) return;
    this.#db.write((tx) => {
      for (const { userId, ...connection } of this.#waiting.values()) this.#store.seen(tx, userId, connection);
    });
    this.#waiting.clear();
    this.#latest.clear();
  }

  /** A device is gone: one that gets its name later was not seen there. */
  forget(userId: UserId, deviceId: DeviceId): void {
    const device = keyOf(userId, deviceId);
    this.#latest.delete(device);
    for (const key of this.#waiting.keys()) if (key.startsWith(`${device}\0`)) this.#waiting.delete(key);
  }
}

function keyOf(userId: UserId, deviceId: DeviceId): string {
  return `${userId}\0${deviceId}`;
}

import type { PresenceState } from '../store.ts';

/** One device (or whatever else acts for a user), as it said of itself. */
interface Device {
  declared: PresenceState;
  /** Requests for news that it has open: while it waits, it is there. */
  waiting: number;
  /** When it was last heard of, ms since the epoch. */
  lastSeenTs: number;
}

export interface PresenceTimes {
  /** How long somebody counts as currently active, ms. */
  readonly lastActiveGranularityMs: number;
  /** How long after it was last heard of a device still counts, ms. */
  readonly syncOnlineTimeoutMs: number;
  /** How long without activity until somebody online is idle, ms. */
  readonly idleTimeoutMs: number;
}

/** What the devices of a user say together. */
export interface Together {
  readonly state: PresenceState;
  readonly currentlyActive: boolean;
  /** When this may change by itself, ms since the epoch; undefined: never. */
  readonly reviewTs: number | undefined;
}

/** The devices of one user that are there, and when the user last did something (spec: "Presence"). */
export class UserDevices {
  readonly #times: PresenceTimes;
  readonly #devices = new Map<string, Device>();
  /** ms since the epoch. */
  lastActiveTs: number | undefined;

  constructor(times: PresenceTimes, lastActiveTs: number | undefined) {
    this.#times = times;
    this.lastActiveTs = lastActiveTs;
  }

  get isEmpty(): boolean {
    return this.#devices.size === 0;
  }

  /** A device says what it is. Coming online is something the user did. */
  declare(deviceId: string, declared: PresenceState, nowTs: number, { isActivity }: { isActivity: boolean }): void {
    const known = this.#devices.get(deviceId);
    const isNews = known?.declared !== declared;
    if (declared === 'online' && (isActivity || isNews)) this.lastActiveTs = nowTs;
    // Whoever shows up for the first time did something, whatever they call it.
    else if (declared !== 'offline') this.lastActiveTs ??= nowTs;
    if (known === undefined) this.#devices.set(deviceId, { declared, waiting: 0, lastSeenTs: nowTs });
    else Object.assign(known, { declared, lastSeenTs: nowTs });
  }

  declaredBy(deviceId: string): PresenceState {
    return this.#devices.get(deviceId)?.declared ?? 'offline';
  }

  /** The user did something: whoever was said to be idle no longer is. */
  act(nowTs: number): void {
    this.lastActiveTs = nowTs;
    for (const device of this.#devices.values()) if (device.declared === 'unavailable') device.declared = 'online';
  }

  beginWaiting(deviceId: string, nowTs: number): void {
    const device = this.#devices.get(deviceId);
    if (device !== undefined) Object.assign(device, { waiting: device.waiting + 1, lastSeenTs: nowTs });
  }

  endWaiting(deviceId: string, nowTs: number): void {
    const device = this.#devices.get(deviceId);
    if (device !== undefined) Object.assign(device, { waiting: Math.max(0, device.waiting - 1), lastSeenTs: nowTs });
  }

  /** Forgets devices that have gone silent, and says what the others come to. */
  review(nowTs: number): Together {
    const { lastActiveGranularityMs, syncOnlineTimeoutMs, idleTimeoutMs } = this.#times;
    const deadlines: number[] = [];
    let best: PresenceState = 'offline';
    for (const [deviceId, device] of this.#devices) {
      // A clock that was set back must not keep anybody here for longer than it takes.
      device.lastSeenTs = Math.min(device.lastSeenTs, nowTs);
      const silentAt = device.lastSeenTs + syncOnlineTimeoutMs;
      if (device.waiting === 0 && silentAt <= nowTs) {
        this.#devices.delete(deviceId);
        continue;
      }
      if (device.waiting === 0) deadlines.push(silentAt);
      if (device.declared === 'online' || best === 'offline') best = device.declared;
    }
    if (this.lastActiveTs !== undefined) this.lastActiveTs = Math.min(this.lastActiveTs, nowTs);
    if (best !== 'online') return { state: best, currentlyActive: false, reviewTs: earliest(deadlines) };
    const activeTs = this.lastActiveTs ?? nowTs;
    const idleAt = activeTs + idleTimeoutMs;
    if (idleAt <= nowTs) return { state: 'unavailable', currentlyActive: false, reviewTs: earliest(deadlines) };
    const inactiveAt = activeTs + lastActiveGranularityMs;
    const currentlyActive = inactiveAt > nowTs;
    if (currentlyActive) deadlines.push(inactiveAt);
    return { state: 'online', currentlyActive, reviewTs: earliest([...deadlines, idleAt]) };
  }
}

function earliest(times: readonly number[]): number | undefined {
  return times.length === 0 ? undefined : Math.min(...times);
}

import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import type { DeviceKeys } from './device-keys.ts';

/** How long keys are claimed at a stretch. */
const SLICE_MS = 5;

/**
 * Takes one key of each device of local users that is named with an algorithm: user → device → named key. Those that have
 * none are left out. What is a lot is taken in several transactions; keys taken for an answer that is never sent are lost.
 */
export async function claimAll(order: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly deviceKeys: Pick<DeviceKeys, 'claim'>;
  readonly wanted: readonly (readonly [UserId, Readonly<Record<string, string>>])[];
}): Promise<JsonObject> {
  const { db, clock, deviceKeys } = order;
  const waiting = order.wanted.flatMap(([userId, byDevice]) =>
    Object.entries(byDevice).map(([deviceId, algorithm]) => ({ userId, deviceId, algorithm })),
  );
  const claimed = new Map<UserId, Map<string, JsonObject>>();
  const pace = new Pace(clock, SLICE_MS);
  for (let at = 0; at < waiting.length; ) {
    await pace.step();
    db.write((tx) => {
      do {
        const next = waiting[at];
        at += 1;
        if (next === undefined) return;
        const { userId, deviceId, algorithm } = next;
        const key = deviceKeys.claim(tx, userId, deviceId as DeviceId, algorithm);
        if (key === undefined) continue;
        const ofUser = claimed.get(userId) ?? new Map<string, JsonObject>();
        claimed.set(userId, ofUser.set(deviceId, { [`${key.algorithm}:${key.keyId}`]: key.key }));
      } while (pace.isOn);
    });
  }
  return Object.fromEntries([...claimed].map(([userId, ofUser]) => [userId, Object.fromEntries(ofUser)]));
}

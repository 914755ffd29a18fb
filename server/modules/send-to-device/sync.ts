import type { Database } from '../../storage/types.ts';
import { STREAM_START } from '../../storage/types.ts';
import type { SyncContribution } from '../../sync/types.ts';
import type { ToDeviceStore } from './store.ts';

/** Messages in one answer (spec: "Send-to-Device messaging", "Server behaviour", suggests 100). */
const MAX_MESSAGES = 100;

/**
 * Messages for the syncing device. A message is given again until the device comes with the token of an answer that held
 * it, and only then deleted: everything that still waits is therefore new to the device, whatever token it comes with.
 */
export function toDeviceContribution({ db, store }: { db: Database; store: ToDeviceStore }): SyncContribution {
  return {
    name: 'send-to-device',
    sliding: 'to_device',
    acknowledge: ({ userId, requester: { deviceId }, since }) => {
      if (deviceId === undefined || since === STREAM_START) return;
      const last = store.lastGivenWith(userId, deviceId, since);
      if (store.hasUpTo(userId, deviceId, last)) db.write((tx) => store.removeUpTo(tx, userId, deviceId, last));
    },
    contribute: ({ userId, requester: { deviceId }, now, limit = MAX_MESSAGES }) => {
      if (deviceId === undefined) return {};
      const most = Math.min(Math.max(limit, 1), MAX_MESSAGES);
      const waiting = store.list(userId, deviceId, now, most + 1);
      const given = waiting.slice(0, most);
      const last = given.at(-1);
      if (last !== undefined && waiting.length > given.length) {
        db.write((tx) => {
          store.putCut(tx, userId, deviceId, now, last.position);
          // The next answer needs a token of its own, or it could not be told from this one.
          tx.nextPosition();
        });
      }
      return { toDevice: given.map(({ sender, type, content }) => ({ sender, type, content })) };
    },
  };
}

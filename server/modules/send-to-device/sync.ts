import type { Database } from '../../storage/types.ts';
import { STREAM_START } from '../../storage/types.ts';
import type { SyncContribution } from '../../sync/types.ts';
import type { ToDeviceStore } from './store.ts';

/** Messages in one answer (spec: "Send-to-Device messaging", "Server behaviour", suggests 100). */
const MAX_MESSAGES = 100;

/**
 * Messages for the syncing device. A message is given again until the device comes with a token from after it, and only
 * then deleted. What does not fit into one answer is moved behind that answer's token, or the token would acknowledge it.
 */
export function toDeviceContribution({ db, store }: { db: Database; store: ToDeviceStore }): SyncContribution {
  return {
    name: 'send-to-device',
    acknowledge: ({ userId, requester: { deviceId }, since }) => {
      if (deviceId === undefined || since === STREAM_START) return;
      if (store.hasUpTo(userId, deviceId, since)) db.write((tx) => store.removeUpTo(tx, userId, deviceId, since));
    },
    contribute: ({ userId, requester: { deviceId }, since, now }) => {
      if (deviceId === undefined) return {};
      const waiting = store.list(userId, deviceId, since, now, MAX_MESSAGES + 1);
      const given = waiting.slice(0, MAX_MESSAGES);
      const last = given.at(-1);
      if (last !== undefined && waiting.length > given.length) {
        db.write((tx) => store.postpone(tx, userId, deviceId, now, last.id));
      }
      return { toDevice: given.map(({ sender, type, content }) => ({ sender, type, content })) };
    },
  };
}

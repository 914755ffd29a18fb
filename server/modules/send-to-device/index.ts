import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { WriteTx } from '../../storage/types.ts';
import { toDeviceEdus } from './edus.ts';
import { sendToDeviceRoutes } from './routes.ts';
import { toDeviceService, type ToDevice, type ToDeviceNeeds } from './service.ts';
import { ToDeviceStore } from './store.ts';
import { toDeviceContribution } from './sync.ts';

export { migrations } from './schema.ts';

/** Messages between devices outside of rooms (spec: "Send-to-Device messaging"). */
export function sendToDevice(needs: ToDeviceNeeds): Module & {
  readonly toDevice: ToDevice;
  /** A device is gone: so is what waited for it. */
  readonly onDeviceDeleted: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
} {
  const store = new ToDeviceStore(needs.db);
  const toDevice = toDeviceService({ ...needs, store });
  return {
    name: 'send-to-device',
    toDevice,
    routes: sendToDeviceRoutes(toDevice),
    edus: toDeviceEdus(toDevice),
    sync: [toDeviceContribution({ db: needs.db, store })],
    start: () => toDevice.start(),
    stop: () => toDevice.stop(),
    onDeviceDeleted: (tx, userId, deviceId) => toDevice.deviceRemoved(tx, userId, deviceId),
  };
}

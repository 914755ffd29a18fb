import { tooLarge } from '../../matrix/errors.ts';
import { type DeviceId, isUserId, type ServerName, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { ToDeviceMessage, ToDeviceStore, ToDeviceTransaction } from './store.ts';

/** As large as an event may be: it has to fit into an EDU to another server. */
const MAX_CONTENT_BYTES = 65_536;
/** A client that repeats a request does so within minutes; a day is generous. */
const TRANSACTION_LIFETIME_MS = 24 * 3_600_000;
const EXPIRY_INTERVAL_MS = 3_600_000;

/** User → device (or `*`) → content. */
export type Messages = Readonly<Record<UserId, Readonly<Record<string, JsonObject>>>>;

/** Takes messages for users of other servers; in the same write, so that none is lost. */
export interface ToDeviceSender {
  send(tx: WriteTx, message: { sender: UserId; type: string; messages: Messages }): void;
}

export interface ToDeviceNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly devices: { listDeviceIds(userId: UserId): readonly DeviceId[] };
  readonly sender?: ToDeviceSender;
}

export interface ToDevice {
  /**
   * Sends to devices, once for each transaction of the sending device.
   * @throws MatrixError M_TOO_LARGE if one of the messages is
   */
  send(request: ToDeviceTransaction & { readonly messages: Messages }): void;
  /** Leaves messages for devices (or `*`) of one local user; unknown devices are passed over. */
  deliver(
    tx: WriteTx,
    userId: UserId,
    byDevice: Readonly<Record<string, JsonObject>>,
    message: Omit<ToDeviceMessage, 'content'>,
  ): void;
}

export function toDeviceService({
  db,
  clock,
  serverName,
  devices,
  sender: remoteSender,
  store,
}: ToDeviceNeeds & { store: ToDeviceStore }): ToDevice {
  let nextExpiry = 0;

  function expireTransactions(tx: WriteTx): void {
    const now = clock.now();
    if (now < nextExpiry) return;
    nextExpiry = now + EXPIRY_INTERVAL_MS;
    store.removeTransactionsBefore(tx, now - TRANSACTION_LIFETIME_MS);
  }

  const deliver: ToDevice['deliver'] = (tx, userId, byDevice, { sender, type }) => {
    const known = devices.listDeviceIds(userId);
    for (const [target, content] of Object.entries(byDevice)) {
      const wanted = target === '*' ? known : known.filter((deviceId) => deviceId === target);
      for (const deviceId of wanted) store.insert(tx, userId, deviceId, { sender, type, content });
    }
  };

  return {
    deliver,
    send: ({ messages, ...transaction }) => {
      for (const content of Object.values(messages).flatMap((byDevice) => Object.values(byDevice))) {
        if (Buffer.byteLength(JSON.stringify(content)) > MAX_CONTENT_BYTES) {
          throw tooLarge(`A message to a device has at most ${MAX_CONTENT_BYTES} bytes`);
        }
      }
      const { sender, type } = transaction;
      db.write((tx) => {
        if (!store.insertTransaction(tx, transaction, clock.now())) return;
        expireTransactions(tx);
        const remote: [UserId, Readonly<Record<string, JsonObject>>][] = [];
        for (const [userId, byDevice] of Object.entries(messages)) {
          if (!isUserId(userId)) continue;
          if (serverNameOf(userId) === serverName) deliver(tx, userId, byDevice, { sender, type });
          else remote.push([userId, byDevice]);
        }
        if (remote.length > 0) remoteSender?.send(tx, { sender, type, messages: Object.fromEntries(remote) });
      });
    },
  };
}

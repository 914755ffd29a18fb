import type { EduSender } from '../../federation/types.ts';
import { tooLarge } from '../../matrix/errors.ts';
import { type DeviceId, isUserId, type ServerName, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { type Random, randomString } from '../../util/random.ts';
import { turns } from '../../util/turns.ts';
import type { ToDeviceMessage, ToDeviceStore, ToDeviceTransaction } from './store.ts';

/** As large as an event may be: it has to fit into an EDU to another server. */
const MAX_CONTENT_BYTES = 65_536;
/** A client that repeats a request does so within minutes; a day is generous. */
const TRANSACTION_LIFETIME_MS = 24 * 3_600_000;
const EXPIRY_INTERVAL_MS = 3_600_000;
/** How long another server may take to repeat what it has sent. */
const RECEIVED_LIFETIME_MS = 30 * 24 * 3_600_000;
/** Content of one EDU, bytes, unless a single message has more. */
const MAX_EDU_BYTES = 60_000;
const MESSAGE_ID_LENGTH = 20;
/** Devices (or `*`) and users that one request may name: clients write to some hundred at a time. */
const MAX_TARGETS = 5_000;
/** Servers that one request may write to. */
const MAX_SERVERS = 1_000;
/** Messages of other servers that wait for one device: one that is never used must not gather them for ever. */
const MAX_WAITING = 50_000;

/** User → device (or `*`) → content. */
export type Messages = Readonly<Record<UserId, Readonly<Record<string, JsonObject>>>>;

export interface ToDeviceNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly random: Random;
  readonly devices: { listDeviceIds(userId: UserId): readonly DeviceId[] };
  /** Undefined where this server has no dealings with others. */
  readonly sender?: Pick<EduSender, 'sendDurably'> | undefined;
  /** Is shown each message for a device here; true if it is taken, so that it need not wait for the device. */
  readonly take?: (
    tx: WriteTx,
    message: ToDeviceMessage & { readonly userId: UserId; readonly deviceId: DeviceId },
  ) => boolean;
}

export interface ToDevice {
  /**
   * Sends to devices, once for each transaction of the sending device.
   * @throws MatrixError M_TOO_LARGE if one of the messages is, or there are too many
   */
  send(request: ToDeviceTransaction & { readonly messages: Messages }): void;
  /** Takes messages from a user of another server, once for each ID that server gives them. */
  accept(
    origin: ServerName,
    message: {
      readonly sender: UserId;
      readonly type: string;
      readonly messageId: string;
      /** User → device (or `*`) → content; not checked yet. */
      readonly messages: JsonObject;
    },
  ): void;
  /** Leaves messages for devices (or `*`) of one local user; unknown devices are passed over. */
  deliver(
    tx: WriteTx,
    userId: UserId,
    byDevice: Readonly<Record<string, JsonObject>>,
    message: Omit<ToDeviceMessage, 'content'>,
  ): void;
  /** Messages that wait for a device and were sent after `after`, in the order they were sent. They stay. */
  listWaiting(
    userId: UserId,
    deviceId: DeviceId,
    after: StreamPosition,
    limit: number,
  ): (ToDeviceMessage & { readonly position: StreamPosition })[];
  /** A device is gone: so is what waited for it. */
  deviceRemoved(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
  start(): void;
  stop(): Promise<void>;
}

export function toDeviceService({
  db,
  clock,
  log,
  random,
  serverName,
  devices,
  sender: eduSender,
  take,
  store,
}: ToDeviceNeeds & { store: ToDeviceStore }): ToDevice {
  let nextExpiry = 0;
  let sweeping: Promise<void> | undefined;
  let isStopping = false;

  /** Removes what devices that are gone have left, a little at a time: of one that was long unused it is a lot. */
  async function sweep(): Promise<void> {
    for (;;) {
      await turns.wait();
      if (isStopping || !store.hasLeftovers()) return;
      db.write((tx) => store.removeSomeLeftovers(tx));
    }
  }

  function wakeSweeper(): void {
    if (sweeping !== undefined || isStopping) return;
    sweeping = sweep()
      // Tried again after the next deletion, or start.
      .catch((error: unknown) => log.error({ error }, 'messages to devices that are gone could not be removed'))
      .finally(() => {
        sweeping = undefined;
      });
  }

  function expireTransactions(tx: WriteTx): void {
    const now = clock.now();
    if (now < nextExpiry) return;
    nextExpiry = now + EXPIRY_INTERVAL_MS;
    store.removeTransactionsBefore(tx, now - TRANSACTION_LIFETIME_MS);
    store.removeReceivedBefore(tx, now - RECEIVED_LIFETIME_MS);
  }

  /** Sends what is for users of one server, in as few EDUs as are not too large. */
  function sendTo(
    tx: WriteTx,
    server: ServerName,
    messages: readonly (readonly [UserId, string, JsonObject])[],
    { sender, type }: { readonly sender: UserId; readonly type: string },
  ): void {
    let batch = new Map<UserId, [string, JsonObject][]>();
    let bytes = 0;
    const flush = (): void => {
      if (batch.size === 0) return;
      const content = {
        sender,
        type,
        message_id: randomString(random, MESSAGE_ID_LENGTH),
        messages: Object.fromEntries([...batch].map(([userId, byDevice]) => [userId, Object.fromEntries(byDevice)])),
      };
      eduSender?.sendDurably(tx, [server], { type: 'm.direct_to_device', content });
      batch = new Map();
      bytes = 0;
    };
    for (const [userId, deviceId, content] of messages) {
      const size = userId.length + deviceId.length + bytesOf(content);
      if (bytes + size > MAX_EDU_BYTES) flush();
      bytes += size;
      const byDevice = batch.get(userId);
      if (byDevice === undefined) batch.set(userId, [[deviceId, content]]);
      else byDevice.push([deviceId, content]);
    }
    flush();
  }

  const deliver = (
    tx: WriteTx,
    userId: UserId,
    byDevice: Readonly<Record<string, JsonObject>>,
    { sender, type }: Omit<ToDeviceMessage, 'content'>,
    maxWaiting = Number.POSITIVE_INFINITY,
  ): void => {
    const known = devices.listDeviceIds(userId);
    for (const [target, content] of Object.entries(byDevice)) {
      const wanted = target === '*' ? known : known.filter((deviceId) => deviceId === target);
      for (const deviceId of wanted) {
        if (maxWaiting < Number.POSITIVE_INFINITY && store.countWaiting(userId, deviceId) >= maxWaiting) continue;
        if (take?.(tx, { userId, deviceId, sender, type, content }) === true) continue;
        store.insert(tx, userId, deviceId, { sender, type, content });
      }
    }
  };

  /** What of another server's messages may be delivered to a device of this user. */
  function readContents(userId: UserId, byDevice: JsonValue | undefined): Record<string, JsonObject> {
    if (!isJsonObject(byDevice)) return {};
    const known = new Set<string>(devices.listDeviceIds(userId));
    const isWanted = (target: string): boolean => target === '*' || known.has(target);
    const contents = Object.entries(byDevice).flatMap(([target, content]) =>
      isWanted(target) && isJsonObject(content) && bytesOf(content) <= MAX_CONTENT_BYTES ? [[target, content]] : [],
    );
    return Object.fromEntries(contents);
  }

  return {
    deliver,
    listWaiting: (userId, deviceId, after, limit) => store.list(userId, deviceId, db.position(), limit, after),
    accept: (origin, { messageId, messages, sender, type }) => {
      db.write((tx) => {
        if (!store.insertReceived(tx, origin, messageId, clock.now())) return;
        expireTransactions(tx);
        for (const [userId, byDevice] of Object.entries(messages)) {
          if (!isUserId(userId) || serverNameOf(userId) !== serverName) continue;
          deliver(tx, userId, readContents(userId, byDevice), { sender, type }, MAX_WAITING);
        }
      });
    },
    deviceRemoved: (tx, userId, deviceId) => {
      if (store.removeDevice(tx, userId, deviceId)) tx.onCommit(wakeSweeper);
    },
    start: wakeSweeper,
    stop: async () => {
      isStopping = true;
      await sweeping;
    },
    send: ({ messages, ...transaction }) => {
      const targets = Object.values(messages).reduce((sum, byDevice) => sum + 1 + Object.keys(byDevice).length, 0);
      if (targets > MAX_TARGETS) throw tooLarge(`A request may write to ${MAX_TARGETS} users and devices at most`);
      for (const content of Object.values(messages).flatMap((byDevice) => Object.values(byDevice))) {
        if (bytesOf(content) > MAX_CONTENT_BYTES) {
          throw tooLarge(`A message to a device has at most ${MAX_CONTENT_BYTES} bytes`);
        }
      }
      const { sender, type } = transaction;
      db.write((tx) => {
        if (!store.insertTransaction(tx, transaction, clock.now())) return;
        expireTransactions(tx);
        const remote = new Map<ServerName, (readonly [UserId, string, JsonObject])[]>();
        for (const [userId, byDevice] of Object.entries(messages)) {
          if (!isUserId(userId)) continue;
          const server = serverNameOf(userId);
          if (server === serverName) {
            deliver(tx, userId, byDevice, { sender, type });
            continue;
          }
          const ofServer = remote.get(server) ?? [];
          for (const [deviceId, content] of Object.entries(byDevice)) ofServer.push([userId, deviceId, content]);
          remote.set(server, ofServer);
          if (remote.size > MAX_SERVERS) throw tooLarge(`A request may write to ${MAX_SERVERS} servers at most`);
        }
        for (const [server, ofServer] of remote) sendTo(tx, server, ofServer, { sender, type });
      });
    },
  };
}

function bytesOf(content: JsonObject): number {
  return Buffer.byteLength(JSON.stringify(content));
}

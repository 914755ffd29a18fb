import { LRUCache } from 'lru-cache';
import { MatrixError, notFound } from '../../matrix/errors.ts';
import { type DeviceId, isUserId, type RoomId, type UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../matrix/json.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { AccountDataStore } from './store.ts';
import { atMost } from '../../util/lru.ts';

/** Types the server itself answers for (spec: client-server API, "Client Config", "Server Behaviour"). */
const SERVER_CONTROLLED = new Set(['m.fully_read', 'm.push_rules']);
/** Tags of a room have operations of their own; two ways to set them would lose some. */
const TAGS = 'm.tag';
const IGNORED_USERS = 'm.ignored_user_list';
/** Whether a device shows notifications of its own (MSC3890); nobody else would ever take it away. */
const PER_DEVICE = ['m.local_notification_settings', 'org.matrix.msc3890.local_notification_settings'];

/** Finds what reads like account data and is kept by other parts of the server: push rules, tags, and the like. */
export type FindKeptElsewhere = (userId: UserId, roomId: RoomId | undefined, type: string) => JsonObject | undefined;

/** The rules of account data, for requests and for other parts of the server. */
export interface AccountData {
  /** @throws MatrixError M_NOT_FOUND if there is none of this type */
  get(userId: UserId, roomId: RoomId | undefined, type: string): JsonObject;
  /** Only what clients have set. */
  find(userId: UserId, roomId: RoomId | undefined, type: string): JsonObject | undefined;
  /** @throws MatrixError M_BAD_JSON (405) for types the server answers for itself */
  set(userId: UserId, roomId: RoomId | undefined, type: string, content: JsonObject): void;
  /** Takes it away, if it is there (MSC3391). @throws MatrixError as `set` does */
  remove(userId: UserId, roomId: RoomId | undefined, type: string): void;
  /** Takes away what a device that is gone has left behind about itself. */
  removeOfDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
  /** Whom the user ignores (spec: "Ignoring Users"). */
  ignoredUsers(userId: UserId): ReadonlySet<UserId>;
  removeAll(tx: WriteTx, userId: UserId): void;
}

export function accountDataService({
  db,
  store,
  findKeptElsewhere = () => undefined,
}: {
  db: Database;
  store: AccountDataStore;
  findKeptElsewhere?: FindKeptElsewhere | undefined;
}): AccountData {
  const ignored = new LRUCache<UserId, ReadonlySet<UserId>>(atMost(2_000));

  function forgetIgnored(tx: WriteTx, userId: UserId): void {
    ignored.delete(userId);
    tx.onRollback(() => ignored.delete(userId));
  }

  function checkType(type: string, roomId: RoomId | undefined): void {
    if (SERVER_CONTROLLED.has(type) || (type === TAGS && roomId !== undefined)) {
      throw new MatrixError('M_BAD_JSON', `${type} cannot be set through this API`, { status: 405 });
    }
  }

  return {
    find: (userId, roomId, type) => store.find(userId, roomId, type),
    get(userId, roomId, type) {
      const content = store.find(userId, roomId, type) ?? findKeptElsewhere(userId, roomId, type);
      if (content === undefined) throw notFound('There is no account data of this type');
      return content;
    },
    set(userId, roomId, type, content) {
      checkType(type, roomId);
      db.write((tx) => {
        store.put(tx, userId, roomId, type, content);
        if (roomId === undefined && type === IGNORED_USERS) forgetIgnored(tx, userId);
      });
    },
    remove(userId, roomId, type) {
      checkType(type, roomId);
      db.write((tx) => {
        store.remove(tx, userId, roomId, type);
        if (roomId === undefined && type === IGNORED_USERS) forgetIgnored(tx, userId);
      });
    },
    removeOfDevice(tx, userId, deviceId) {
      for (const prefix of PER_DEVICE) store.remove(tx, userId, undefined, `${prefix}.${deviceId}`);
    },
    ignoredUsers(userId) {
      const known = ignored.get(userId);
      if (known !== undefined) return known;
      const list = store.find(userId, undefined, IGNORED_USERS)?.['ignored_users'];
      const users = new Set(isJsonObject(list) ? Object.keys(list).filter(isUserId) : []);
      // One's own messages cannot be ignored; other servers and clients have agreed on that too.
      users.delete(userId);
      ignored.set(userId, users);
      return users;
    },
    removeAll(tx, userId) {
      store.removeUser(tx, userId);
      forgetIgnored(tx, userId);
    },
  };
}

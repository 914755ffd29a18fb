import { forbidden, invalidParam, MatrixError, missingParam } from '../../../matrix/errors.ts';
import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { OutboxStore } from '../store/outbox.ts';
import type { Pusher, PusherDraft, PusherKind, PusherStore } from '../store/pushers.ts';
import type { CountUnread } from './badge.ts';

/** Characters of an app ID, bytes of a push key (spec: POST /pushers/set). */
const MAX_APP_ID_LENGTH = 64;
const MAX_PUSHKEY_BYTES = 512;
/** Bytes of each name and tag, and of the data a client passes to its gateway. */
const MAX_TEXT_BYTES = 1024;
const MAX_DATA_BYTES = 16_384;
/** More than anybody has devices; each is told of every notification. */
const MAX_PUSHERS = 100;
/** The one path a gateway is asked at, so that nobody can have this server post elsewhere. */
const GATEWAY_PATH = '/_matrix/push/v1/notify';
/** The app ID of pushers that send mail (spec: POST /pushers/set). */
const MAIL_APP_ID = 'm.email';

const ENABLED_KEYS = ['org.matrix.msc3881.enabled', 'enabled'];
const REQUIRED = ['app_display_name', 'device_display_name', 'lang', 'data'];

/** Who owns an e-mail address, in the form addresses are stored in. */
export interface MailAddresses {
  findOwner(address: string): UserId | undefined;
}

/** The ways in which users want to be notified (spec: client-server API, "Push Notifications"). */
export interface Pushers {
  list(userId: UserId): Pusher[];
  /**
   * Makes a pusher, changes or removes it, as a client's body says.
   * @throws MatrixError M_MISSING_PARAM, M_INVALID_PARAM, M_FORBIDDEN (too many), M_THREEPID_NOT_FOUND (somebody else's address)
   */
  set(by: { readonly userId: UserId; readonly deviceId: DeviceId | undefined }, body: JsonObject): void;
  /** Notifies a user by mail, as new users are who gave an address. Does nothing where that exists. */
  insertMail(tx: WriteTx, userId: UserId, address: string): void;
  /** An address is no longer the user's. */
  removeMail(tx: WriteTx, userId: UserId, address: string): void;
  /** Whether there was such a pusher. */
  remove(tx: WriteTx, userId: UserId, appId: string, pushkey: string): boolean;
  removeOfDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): void;
  removeOfUser(tx: WriteTx, userId: UserId): void;
}

export function pushers({
  db,
  clock,
  store,
  outbox,
  mail,
  countUnread,
  changed,
}: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly store: PusherStore;
  readonly outbox: Pick<OutboxStore, 'prune' | 'removeUser'>;
  /** Undefined where this server sends no mail about events. */
  readonly mail: MailAddresses | undefined;
  readonly countUnread: CountUnread;
  /** Hears, once it is on disk, of a pusher that is new or changed: what held it up may be gone. */
  readonly changed: (pusher: Pusher) => void;
}): Pushers {
  function put(tx: WriteTx, draft: PusherDraft, deviceId: DeviceId | undefined): void {
    const { userId, appId, pushkey } = draft;
    const known = store.find(userId, appId, pushkey);
    const setTs = clock.now();
    // What came before it was asked for is not news; what a running one has still to say is.
    const goesOn = known?.enabled === true && known.kind === draft.kind;
    const position = goesOn ? known.position : db.position();
    if (known !== undefined) {
      store.update(tx, known.nid, draft, { setTs, position });
    } else {
      if (store.list(userId).length >= MAX_PUSHERS) throw forbidden(`Nobody has more than ${MAX_PUSHERS} pushers`);
      // Whoever sets one has just synced, and shows what is unread now.
      const badge = draft.kind === 'http' ? countUnread(userId) : undefined;
      store.insert(tx, draft, { deviceId, setTs, position, badge });
    }
    outbox.prune(tx, userId);
    tx.onCommit(() => {
      const now = store.find(userId, appId, pushkey);
      if (now !== undefined) changed(now);
    });
  }

  function remove(tx: WriteTx, userId: UserId, appId: string, pushkey: string): boolean {
    const known = store.find(userId, appId, pushkey);
    if (known === undefined) return false;
    store.remove(tx, known.nid);
    outbox.prune(tx, userId);
    return true;
  }

  /** What the kind of a pusher asks of it. */
  function checkKind({ kind, appId, data }: Pick<PusherDraft, 'kind' | 'appId' | 'data'>): void {
    if (kind === 'http') checkGateway(data['url']);
    else if (appId !== MAIL_APP_ID) throw invalidParam(`The app_id of a pusher that sends mail is ${MAIL_APP_ID}`);
    else if (mail === undefined) throw invalidParam('This server sends no mail about events');
  }

  return {
    list: (userId) => store.list(userId),

    set: ({ userId, deviceId }, body) => {
      const missing = ['kind', 'app_id', 'pushkey'].filter((key) => body[key] === undefined);
      const isRemoval = body['kind'] === null;
      if (!isRemoval) missing.push(...REQUIRED.filter((key) => body[key] === undefined || body[key] === null));
      if (missing.length > 0) throw missingParam(`Missing parameters: ${missing.join(', ')}`);
      const appId = readText(body, 'app_id');
      const pushkey = readText(body, 'pushkey', MAX_PUSHKEY_BYTES);
      if (Array.from(appId).length > MAX_APP_ID_LENGTH) {
        throw invalidParam(`app_id has at most ${MAX_APP_ID_LENGTH} characters`);
      }
      if (isRemoval) {
        db.write((tx) => void remove(tx, userId, appId, pushkey));
        return;
      }
      const draft: PusherDraft = {
        userId,
        appId,
        pushkey,
        kind: readKind(body['kind']),
        appDisplayName: readText(body, 'app_display_name'),
        deviceDisplayName: readText(body, 'device_display_name'),
        profileTag: body['profile_tag'] === undefined ? '' : readText(body, 'profile_tag'),
        lang: readText(body, 'lang'),
        data: readData(body['data']),
        enabled: readFlag(body, ENABLED_KEYS, true),
      };
      const append = readFlag(body, ['append'], false);
      checkKind(draft);
      if (draft.kind === 'email' && mail?.findOwner(pushkey) !== userId) {
        throw new MatrixError('M_THREEPID_NOT_FOUND', 'This address is not among those of the account', {
          status: 400,
        });
      }
      db.write((tx) => {
        if (!append) {
          for (const other of store.removeOthers(tx, appId, pushkey, userId)) outbox.prune(tx, other);
        }
        put(tx, draft, deviceId);
      });
    },

    insertMail: (tx, userId, address) => {
      if (mail === undefined || store.find(userId, MAIL_APP_ID, address) !== undefined) return;
      const draft: PusherDraft = {
        userId,
        appId: MAIL_APP_ID,
        pushkey: address,
        kind: 'email',
        appDisplayName: 'Email Notifications',
        deviceDisplayName: address,
        profileTag: '',
        lang: undefined,
        data: {},
        enabled: true,
      };
      put(tx, draft, undefined);
    },

    removeMail: (tx, userId, address) => {
      const wanted = address.toLowerCase();
      for (const { kind, appId, pushkey } of store.list(userId)) {
        if (kind === 'email' && pushkey.toLowerCase() === wanted) remove(tx, userId, appId, pushkey);
      }
    },

    remove,

    removeOfDevice: (tx, userId, deviceId) => {
      if (store.removeOfDevice(tx, userId, deviceId)) outbox.prune(tx, userId);
    },

    removeOfUser: (tx, userId) => {
      store.removeOfUser(tx, userId);
      outbox.removeUser(tx, userId);
    },
  };
}

function readKind(value: JsonValue | undefined): PusherKind {
  if (value === 'http' || value === 'email') return value;
  throw invalidParam('kind must be "http", "email" or null');
}

function readText(body: JsonObject, key: string, maxBytes = MAX_TEXT_BYTES): string {
  const value = body[key];
  if (typeof value !== 'string') throw invalidParam(`${key} must be text`);
  if (Buffer.byteLength(value) > maxBytes) throw invalidParam(`${key} has at most ${maxBytes} bytes`);
  return value;
}

function readFlag(body: JsonObject, keys: readonly string[], otherwise: boolean): boolean {
  const key = keys.find((each) => body[each] !== undefined);
  const value = key === undefined ? otherwise : body[key];
  if (typeof value !== 'boolean') throw invalidParam(`${key} must be true or false`);
  return value;
}

function readData(value: JsonValue | undefined): JsonObject {
  if (!isJsonObject(value)) throw invalidParam('data must be an object');
  if (Buffer.byteLength(JSON.stringify(value)) > MAX_DATA_BYTES) {
    throw invalidParam(`data has at most ${MAX_DATA_BYTES} bytes`);
  }
  return value;
}

/** Spec: POST /pushers/set: "an HTTPS URL with a path of /_matrix/push/v1/notify". */
function checkGateway(value: JsonValue | undefined): void {
  if (value === undefined || value === null) throw missingParam('Missing parameters: data.url');
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (url === null) throw invalidParam('data.url is no web address');
  if (url.protocol !== 'https:') throw invalidParam('data.url must begin with https://');
  if (url.pathname !== GATEWAY_PATH) throw invalidParam(`data.url must have the path ${GATEWAY_PATH}`);
  if (url.username !== '' || url.password !== '') throw invalidParam('data.url must not hold a name or password');
}

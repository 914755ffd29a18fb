import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';

export type PusherKind = 'http' | 'email';

/** What a client says of a pusher. */
export interface PusherDraft {
  readonly userId: UserId;
  readonly appId: string;
  readonly pushkey: string;
  readonly kind: PusherKind;
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly profileTag: string;
  readonly lang: string | undefined;
  readonly data: JsonObject;
  readonly enabled: boolean;
}

/** A way in which a user wants to be notified. */
export interface Pusher extends PusherDraft {
  readonly nid: number;
  /** The device that made it. */
  readonly deviceId: DeviceId | undefined;
  /** When it was last set, ms since the epoch. */
  readonly setTs: number;
  /** Events up to this position are done with. */
  readonly position: number;
  /** The last count of what is unread that it knows of; undefined where it is told none. */
  readonly badge: number | undefined;
  /** Since when nothing has got through, ms since the epoch. */
  readonly failingSince: number | undefined;
}

interface PusherRow {
  pusher_nid: number;
  user_id: string;
  app_id: string;
  pushkey: string;
  kind: PusherKind;
  app_display_name: string;
  device_display_name: string;
  profile_tag: string;
  lang: string | null;
  data: string;
  device_id: string | null;
  enabled: number;
  set_ts: number;
  position: number;
  badge: number | null;
  failing_since: number | null;
}

const COLUMNS = `pusher_nid, user_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data,
  device_id, enabled, set_ts, position, badge, failing_since`;

function toPusher(row: PusherRow): Pusher {
  return {
    nid: row.pusher_nid,
    userId: row.user_id as UserId,
    appId: row.app_id,
    pushkey: row.pushkey,
    kind: row.kind,
    appDisplayName: row.app_display_name,
    deviceDisplayName: row.device_display_name,
    profileTag: row.profile_tag,
    lang: row.lang ?? undefined,
    data: JSON.parse(row.data) as JsonObject,
    deviceId: (row.device_id as DeviceId | null) ?? undefined,
    enabled: row.enabled !== 0,
    setTs: row.set_ts,
    position: row.position,
    badge: row.badge ?? undefined,
    failingSince: row.failing_since ?? undefined,
  };
}

/** The pushers of local users, and how far each has got. */
export class PusherStore {
  readonly #get;
  readonly #find;
  readonly #list;
  readonly #listOwners;
  readonly #insert;
  readonly #update;
  readonly #advance;
  readonly #setFailing;
  readonly #remove;
  readonly #removeOthers;
  readonly #removeOfDevice;
  readonly #removeOfUser;

  constructor(db: Database) {
    this.#get = db.prepareRead<PusherRow>(`SELECT ${COLUMNS} FROM push_pushers WHERE pusher_nid = ?`);
    this.#find = db.prepareRead<PusherRow>(
      `SELECT ${COLUMNS} FROM push_pushers WHERE user_id = ? AND app_id = ? AND pushkey = ?`,
    );
    this.#list = db.prepareRead<PusherRow>(`SELECT ${COLUMNS} FROM push_pushers WHERE user_id = ? ORDER BY pusher_nid`);
    this.#listOwners = db.prepareRead<{ user_id: UserId }>(
      'SELECT DISTINCT user_id FROM push_pushers WHERE enabled = 1 AND user_id > ? ORDER BY user_id LIMIT ?',
    );
    this.#insert = db.prepareWrite(`
      INSERT INTO push_pushers (user_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang,
        data, enabled, set_ts, device_id, position, badge)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#update = db.prepareWrite(`
      UPDATE push_pushers SET kind = ?, app_display_name = ?, device_display_name = ?, profile_tag = ?, lang = ?, data = ?,
        enabled = ?, set_ts = ?, position = ?, failing_since = NULL
      WHERE pusher_nid = ?`);
    this.#advance = db.prepareWrite(`
      UPDATE push_pushers SET position = max(position, ?), badge = coalesce(?, badge),
        last_success_ts = coalesce(?, last_success_ts), failing_since = NULL
      WHERE pusher_nid = ?`);
    this.#setFailing = db.prepareWrite('UPDATE push_pushers SET failing_since = ? WHERE pusher_nid = ?');
    this.#remove = db.prepareWrite('DELETE FROM push_pushers WHERE pusher_nid = ?');
    this.#removeOthers = db.prepareReturning<{ user_id: UserId }>(
      'DELETE FROM push_pushers WHERE app_id = ? AND pushkey = ? AND user_id <> ? RETURNING user_id',
    );
    this.#removeOfDevice = db.prepareWrite('DELETE FROM push_pushers WHERE user_id = ? AND device_id = ?');
    this.#removeOfUser = db.prepareWrite('DELETE FROM push_pushers WHERE user_id = ?');
  }

  get(nid: number): Pusher | undefined {
    const row = this.#get.find(nid);
    return row === undefined ? undefined : toPusher(row);
  }

  find(userId: UserId, appId: string, pushkey: string): Pusher | undefined {
    const row = this.#find.find(userId, appId, pushkey);
    return row === undefined ? undefined : toPusher(row);
  }

  /** In the order they were made. */
  list(userId: UserId): Pusher[] {
    return this.#list.list(userId).map(toPusher);
  }

  /** Users with a pusher that is enabled, after the one given, in order. */
  listOwners(after: string, limit: number): UserId[] {
    return this.#listOwners.list(after, limit).map((row) => row.user_id);
  }

  insert(
    tx: WriteTx,
    draft: PusherDraft,
    { deviceId, setTs, position, badge }: Pick<Pusher, 'deviceId' | 'setTs' | 'position' | 'badge'>,
  ): void {
    this.#insert.run(
      tx,
      draft.userId,
      draft.appId,
      draft.pushkey,
      draft.kind,
      draft.appDisplayName,
      draft.deviceDisplayName,
      draft.profileTag,
      draft.lang ?? null,
      JSON.stringify(draft.data),
      draft.enabled ? 1 : 0,
      setTs,
      deviceId ?? null,
      position,
      badge ?? null,
    );
  }

  /** Sets a pusher anew. It stays with the device that made it. */
  update(tx: WriteTx, nid: number, draft: PusherDraft, { setTs, position }: Pick<Pusher, 'setTs' | 'position'>): void {
    this.#update.run(
      tx,
      draft.kind,
      draft.appDisplayName,
      draft.deviceDisplayName,
      draft.profileTag,
      draft.lang ?? null,
      JSON.stringify(draft.data),
      draft.enabled ? 1 : 0,
      setTs,
      position,
      nid,
    );
  }

  /** Everything up to a position is done with; `badge` and `successTs` where something was delivered. */
  advance(
    tx: WriteTx,
    nid: number,
    { position, badge, successTs }: { position: number; badge?: number | undefined; successTs?: number },
  ): void {
    this.#advance.run(tx, position, badge ?? null, successTs ?? null, nid);
  }

  setFailing(tx: WriteTx, nid: number, since: number): void {
    this.#setFailing.run(tx, since, nid);
  }

  remove(tx: WriteTx, nid: number): void {
    this.#remove.run(tx, nid);
  }

  /** Removes those of other users that would ring at the same place; gives whose they were. */
  removeOthers(tx: WriteTx, appId: string, pushkey: string, userId: UserId): UserId[] {
    return this.#removeOthers.list(tx, appId, pushkey, userId).map((row) => row.user_id);
  }

  /** Whether there was one. */
  removeOfDevice(tx: WriteTx, userId: UserId, deviceId: DeviceId): boolean {
    return this.#removeOfDevice.run(tx, userId, deviceId).changes > 0;
  }

  removeOfUser(tx: WriteTx, userId: UserId): void {
    this.#removeOfUser.run(tx, userId);
  }
}

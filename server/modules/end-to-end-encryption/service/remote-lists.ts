import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ServerName, UserId } from '../../../matrix/identifiers.ts';
import { serverNameOf } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';
import type { CrossSigningStore } from '../store/cross-signing.ts';
import type { RemoteCrossSigning, RemoteList, RemoteListStore, RemoteSnapshot } from '../store/remote-lists.ts';
import type { DeviceLists } from './device-lists.ts';
import { type DeviceUpdate, MAX_DEVICES } from './read-remote.ts';

/** What became of an update: it is part of the list now, or the list lacks something that came before it. */
export type Taking = 'taken' | 'gap';

export interface RemoteListsNeeds {
  readonly db: Database;
  readonly rooms: { hasSharedSince(userId: UserId, since: StreamPosition): boolean };
  readonly store: RemoteListStore;
  readonly crossSigning: CrossSigningStore;
  readonly deviceLists: DeviceLists;
}

/** Lists looked at between two turns of the event loop, when those nobody needs are removed. */
const SWEEP_PAGE = 50;

/**
 * The device lists of other servers' users (spec: server-server API, "Device Management"). A list is good as long as its
 * user has shared a room with somebody here ever since it was fetched: so long the other server tells of each change.
 */
export class RemoteLists {
  readonly #db: Database;
  readonly #rooms: RemoteListsNeeds['rooms'];
  readonly #store: RemoteListStore;
  readonly #crossSigning: CrossSigningStore;
  readonly #deviceLists: DeviceLists;

  constructor({ db, rooms, store, crossSigning, deviceLists }: RemoteListsNeeds) {
    this.#db = db;
    this.#rooms = rooms;
    this.#store = store;
    this.#crossSigning = crossSigning;
    this.#deviceLists = deviceLists;
  }

  /** Whether the user shares a room with somebody here: only then their server tells of changes. */
  isShared(userId: UserId): boolean {
    return this.#rooms.hasSharedSince(userId, this.#db.position());
  }

  /** The user's list, if it is up to date. */
  findGood(userId: UserId): RemoteList | undefined {
    const list = this.#store.find(userId);
    return list !== undefined && this.#isGood(userId, list) ? list : undefined;
  }

  #isGood(userId: UserId, { stale, trackedSince }: RemoteList): boolean {
    return !stale && trackedSince !== undefined && this.#rooms.hasSharedSince(userId, trackedSince);
  }

  /** Makes an update part of its user's list, unless something is missing in between. */
  take(tx: WriteTx, update: DeviceUpdate): Taking {
    const { userId, deviceId, streamId, prevIds, device } = update;
    const list = this.findGood(userId);
    // Some servers follow no sequence: their updates say no more than that something has changed.
    if (list === undefined || prevIds.length === 0) return 'gap';
    const { streamIds } = list;
    if (streamIds.includes(streamId)) return 'taken';
    if (!prevIds.every((id) => streamIds.includes(id))) {
      // One that was sent before the list was fetched, and arrives after it, is part of it already.
      const isOld = streamId < Math.max(...streamIds);
      if (!isOld || !this.#tellsNothingNew(update)) return 'gap';
    }
    if (device === undefined) this.#store.removeDevice(tx, userId, deviceId);
    else if (this.#hasRoomFor(update)) this.#store.putDevice(tx, userId, device);
    this.#store.addStreamId(tx, userId, streamIds, streamId);
    // Also where nothing here differs: what changed may be something that servers are not shown, such as a name.
    this.#deviceLists.changedElsewhere(tx, userId);
    return 'taken';
  }

  #tellsNothingNew({ userId, deviceId, device }: DeviceUpdate): boolean {
    const known = this.#store.findDevice(userId, deviceId);
    return JSON.stringify(known) === JSON.stringify(device);
  }

  #hasRoomFor({ userId, deviceId }: DeviceUpdate): boolean {
    return this.#store.findDevice(userId, deviceId) !== undefined || this.#store.countDevices(userId) < MAX_DEVICES;
  }

  /** Puts new cross-signing keys into a list. Those that are undefined stay as they are. */
  takeSigningKeys(tx: WriteTx, userId: UserId, keys: RemoteCrossSigning): Taking {
    const list = this.findGood(userId);
    if (list === undefined) return 'gap';
    const next = { master: keys.master ?? list.master, selfSigning: keys.selfSigning ?? list.selfSigning };
    if (isSame(list, next)) return 'taken';
    this.#store.putCrossSigning(tx, userId, next);
    this.#forgetSignatures(tx, userId, list, next);
    this.#deviceLists.changedElsewhere(tx, userId);
    return 'taken';
  }

  /** Takes over a whole list. `streamIds`: updates that it holds without saying so. */
  replace(
    tx: WriteTx,
    userId: UserId,
    snapshot: RemoteSnapshot,
    options: { readonly streamIds: readonly number[]; readonly trackedSince: StreamPosition },
  ): void {
    const old = this.#store.find(userId);
    const changed = this.#store.putSnapshot(tx, { userId, server: serverNameOf(userId) }, snapshot, options);
    if (old !== undefined) this.#forgetSignatures(tx, userId, old, snapshot);
    const isFirst = old?.trackedSince === undefined;
    if (isFirst || changed || !isSame(old, snapshot)) this.#deviceLists.changedElsewhere(tx, userId);
  }

  /** The list is to be fetched, at `retryAt` (ms) or later. `heard`: an update that the fetched one will hold. */
  markStale(
    tx: WriteTx,
    userId: UserId,
    options: { readonly heard: readonly number[]; readonly retryAt: number },
  ): void {
    this.#store.putStale(tx, { userId, server: serverNameOf(userId) }, options);
  }

  forget(tx: WriteTx, userId: UserId): void {
    this.#store.remove(tx, userId);
  }

  /** Removes the lists of users who share no room with anybody here any more; a few at a time. */
  async sweep(stopping: AbortSignal): Promise<void> {
    let after = '';
    for (;;) {
      const users = this.#store.listUsers(after, SWEEP_PAGE);
      const unshared = users.filter((userId) => !this.isShared(userId));
      if (unshared.length > 0) {
        this.#db.write((tx) => {
          for (const userId of unshared) this.#store.remove(tx, userId);
        });
      }
      const last = users.at(-1);
      if (last === undefined) return;
      after = last;
      await nextTurn();
      if (stopping.aborted) return;
    }
  }

  /** What users here signed of a master key that is no longer the user's. */
  #forgetSignatures(tx: WriteTx, userId: UserId, old: RemoteCrossSigning, now: RemoteCrossSigning): void {
    const gone = publicKeyIn(old.master);
    if (gone !== undefined && gone !== publicKeyIn(now.master)) {
      this.#crossSigning.removeSignaturesAround(tx, userId, gone);
    }
  }
}

/** Whether an EDU that speaks of `userId` came from their own server. */
export function isServerOf(origin: ServerName, userId: UserId): boolean {
  return serverNameOf(userId) === origin;
}

/** The one public key in a cross-signing key. */
export function publicKeyIn(key: JsonObject | undefined): string | undefined {
  const keys = key?.['keys'];
  const [publicKey] = isJsonObject(keys) ? Object.values(keys) : [];
  return typeof publicKey === 'string' ? publicKey : undefined;
}

function isSame(a: RemoteCrossSigning, b: RemoteCrossSigning): boolean {
  return (
    JSON.stringify([a.master ?? null, a.selfSigning ?? null]) ===
    JSON.stringify([b.master ?? null, b.selfSigning ?? null])
  );
}

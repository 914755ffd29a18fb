import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import { forbidden, MatrixError, missingToken, notFound } from '../../../matrix/errors.ts';
import { type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { MembershipReader, StateReader } from '../../../rooms/types.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import { checkFieldValue, checkProfileSize, withField, withoutField } from './fields.ts';
import type { ProfileStore, StoredProfile } from '../store.ts';

/** What member events show of a user. */
export interface Face {
  readonly displayName?: string;
  readonly avatarUrl?: string;
}

/** Asks the server of a user of another one for their profile. */
export interface RemoteProfiles {
  /** The whole profile, or one field of it. @throws MatrixError what the other server answered */
  fetch(userId: UserId, key: string | undefined): Promise<JsonObject>;
}

/** Knows the size and kind of uploaded media. */
export interface AvatarMedia {
  find(mxcUri: string): { readonly bytes: number; readonly mimeType: string } | undefined;
}

export interface ProfileSettings {
  readonly serverName: ServerName;
  /** Profiles are only shown to those who are logged in. */
  readonly requireAuth: boolean;
  /** Profiles are only shown to those the spec says must see them. */
  readonly onlyWithSharedRooms: boolean;
  /** Whether users may change what they have set; they may always set what they have not. */
  readonly displayNameChangesAllowed: boolean;
  readonly avatarChangesAllowed: boolean;
  /** Undefined: no limit. */
  readonly maxAvatarBytes: number | undefined;
  readonly avatarMimeTypes: readonly string[] | undefined;
}

export interface ProfileServiceNeeds {
  readonly db: Database;
  readonly store: ProfileStore;
  readonly settings: ProfileSettings;
  readonly rooms: Pick<MembershipReader, 'shareRoom' | 'listRoomsOf'>;
  readonly state: Pick<StateReader, 'findCurrent'>;
  /** How often one user may change their profile, which is news to all their rooms. */
  readonly limit: RateLimit;
  /** Told in the transaction that changes a name or picture. */
  readonly onFaceChanged: readonly ((tx: WriteTx, userId: UserId) => void)[];
  readonly remote?: RemoteProfiles | undefined;
  readonly media?: AvatarMedia | undefined;
  /** Is asked for a local user nobody has heard of: they may be there afterwards. */
  readonly summon?: ((userId: UserId) => Promise<void>) | undefined;
}

/** The rules of profiles, for requests and for other parts of the server. */
export interface Profiles {
  /** Name and picture of a local user. */
  find(userId: UserId): Face | undefined;
  /** The whole profile of a local user as it is shown. */
  describe(userId: UserId): JsonObject | undefined;
  /**
   * What a client is shown of anybody's profile: all of it, or one field.
   * @throws MatrixError M_MISSING_TOKEN, M_FORBIDDEN, M_NOT_FOUND
   */
  read(requester: Requester | undefined, userId: UserId, key: string | undefined): Promise<JsonObject> | JsonObject;
  /** @throws MatrixError M_FORBIDDEN, M_USER_SUSPENDED, M_INVALID_PARAM, M_PROFILE_TOO_LARGE, M_LIMIT_EXCEEDED */
  change(requester: Requester, userId: UserId, key: string, value: JsonValue): void;
  /** Takes a field away, if it is there. @throws as `change` */
  clear(requester: Requester, userId: UserId, key: string): void;
  /** Sets a field whatever users may do themselves: for administrators and single sign-on. @throws MatrixError M_INVALID_PARAM, M_NOT_FOUND */
  set(tx: WriteTx, userId: UserId, key: string, value: JsonValue): void;
  /** Begins the profile of a new account. One that is there already stays. */
  initialise(tx: WriteTx, userId: UserId, displayName: string | undefined): void;
  /** Forgets the profile. */
  erase(tx: WriteTx, userId: UserId): void;
}

const NOBODY = 'There is no profile of this user';

export function profileService(needs: ProfileServiceNeeds): Profiles {
  const { db, store, settings, rooms, state, limit, onFaceChanged, remote, media } = needs;

  function checkReader(requester: Requester | undefined, userId: UserId): void {
    if (requester === undefined) {
      if (settings.requireAuth) throw missingToken('Profiles are only shown to those who are logged in');
      if (settings.onlyWithSharedRooms) throw forbidden('This profile is not shown to you');
      return;
    }
    if (!settings.onlyWithSharedRooms || requester.userId === userId) return;
    if (!rooms.shareRoom(requester.userId, userId) && !isInOpenRoom(userId)) {
      throw forbidden('This profile is not shown to you');
    }
  }

  /** Spec: "Profiles", server behaviour: members of public and of world-readable rooms are visible to everybody. */
  function isInOpenRoom(userId: UserId): boolean {
    return rooms.listRoomsOf(userId, ['join']).some(({ roomId }) => {
      const rules = state.findCurrent(roomId, 'm.room.join_rules', '')?.content;
      if (rules?.['join_rule'] === 'public') return true;
      const history = state.findCurrent(roomId, 'm.room.history_visibility', '')?.content;
      return history?.['history_visibility'] === 'world_readable';
    });
  }

  function checkWriter(requester: Requester, userId: UserId, key: string): void {
    if (requester.userId !== userId) throw forbidden('You can only change your own profile');
    if (requester.isSuspended) throw new MatrixError('M_USER_SUSPENDED', 'Suspended users cannot change their profile');
    // Spec: "Guest Access", client behaviour: guests have nothing but a name.
    if (requester.isGuest && key !== 'displayname') {
      throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests can only change their display name', { status: 403 });
    }
    const old = get(userId);
    if (requester.isAdmin) return;
    if (key === 'displayname' && !settings.displayNameChangesAllowed && old.displayName !== undefined) {
      throw forbidden('Display names cannot be changed on this server');
    }
    if (key === 'avatar_url' && !settings.avatarChangesAllowed && old.avatarUrl !== undefined) {
      throw forbidden('Pictures cannot be changed on this server');
    }
  }

  function checkPicture(uri: JsonValue): void {
    const { maxAvatarBytes, avatarMimeTypes } = settings;
    if (typeof uri !== 'string' || uri === '' || (maxAvatarBytes ?? avatarMimeTypes) === undefined) return;
    const picture = media?.find(uri);
    if (picture === undefined) throw forbidden('This picture is not known here');
    if (maxAvatarBytes !== undefined && picture.bytes > maxAvatarBytes) throw forbidden('This picture is too large');
    if (avatarMimeTypes !== undefined && !avatarMimeTypes.includes(picture.mimeType)) {
      throw forbidden('Pictures of this kind are not allowed');
    }
  }

  function get(userId: UserId): StoredProfile {
    const profile = store.find(userId);
    if (profile === undefined) throw notFound(NOBODY);
    return profile;
  }

  function put(tx: WriteTx, userId: UserId, old: StoredProfile, changed: StoredProfile): void {
    if (old.displayName === changed.displayName && old.avatarUrl === changed.avatarUrl) {
      store.putFields(tx, userId, changed.fields);
    } else {
      store.put(tx, userId, changed);
      for (const tell of onFaceChanged) tell(tx, userId);
    }
  }

  function set(tx: WriteTx, userId: UserId, key: string, value: JsonValue): void {
    checkFieldValue(key, value);
    const old = get(userId);
    const changed = withField(old, key, value);
    checkProfileSize(describe(changed));
    put(tx, userId, old, changed);
  }

  return {
    find: (userId) => {
      const face = store.findFace(userId);
      if (face === undefined) return undefined;
      return {
        ...(face.displayName === undefined ? {} : { displayName: face.displayName }),
        ...(face.avatarUrl === undefined ? {} : { avatarUrl: face.avatarUrl }),
      };
    },
    describe: (userId) => {
      const profile = store.find(userId);
      return profile === undefined ? undefined : describe(profile);
    },
    read: async (requester, userId, key) => {
      checkReader(requester, userId);
      const isLocal = serverNameOf(userId) === settings.serverName;
      if (!isLocal && remote === undefined) throw notFound(NOBODY);
      if (isLocal && store.findFace(userId) === undefined) await needs.summon?.(userId);
      const profile = isLocal || remote === undefined ? describe(get(userId)) : await remote.fetch(userId, key);
      return key === undefined ? profile : pick(profile, key);
    },
    change: (requester, userId, key, value) => {
      checkWriter(requester, userId, key);
      checkFieldValue(key, value);
      if (key === 'avatar_url') checkPicture(value);
      limit.checkFor(requester, userId);
      db.write((tx) => set(tx, userId, key, value));
    },
    clear: (requester, userId, key) => {
      checkWriter(requester, userId, key);
      limit.checkFor(requester, userId);
      db.write((tx) => {
        const old = get(userId);
        put(tx, userId, old, withoutField(old, key));
      });
    },
    set,
    initialise: (tx, userId, displayName) => {
      if (store.findFace(userId) !== undefined) return;
      store.put(tx, userId, { displayName, avatarUrl: undefined, fields: {} });
    },
    erase: (tx, userId) => store.remove(tx, userId),
  };
}

function describe({ displayName, avatarUrl, fields }: StoredProfile): JsonObject {
  return {
    ...fields,
    ...(displayName === undefined ? {} : { displayname: displayName }),
    ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
  };
}

function pick(profile: JsonObject, key: string): JsonObject {
  const value = Object.hasOwn(profile, key) ? profile[key] : undefined;
  if (value !== undefined) return { [key]: value };
  // NOT-SPEC: these two were an empty object long before a field that is not set became M_NOT_FOUND, and clients ask
  // for them without minding errors.
  if (key === 'displayname' || key === 'avatar_url') return {};
  throw notFound('The profile has no such field');
}

/** The value of the one field a request is about. @throws MatrixError M_MISSING_PARAM */
export function valueIn(body: unknown, key: string): JsonValue {
  const value = isJsonObject(body) && Object.hasOwn(body, key) ? body[key] : undefined;
  if (value === undefined) throw new MatrixError('M_MISSING_PARAM', `The body has no ${key}`);
  return value;
}

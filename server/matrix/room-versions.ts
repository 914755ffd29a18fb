/** The rule sets of rooms (spec: rooms/v1 … v12). What differs between versions is a field here, never an `if (version > 5)`. */
export interface RoomVersion {
  readonly id: string;
  /** Event IDs: given by the sending server (1, 2), or the reference hash in base64 (3) or URL-safe base64 (4 on). */
  readonly eventIds: 'given' | 'hash-base64' | 'hash-url-safe';
  /** How prev_events and auth_events are written: `[id, hashes]` pairs (1, 2) or plain IDs (3 on). */
  readonly references: 'pairs' | 'ids';
  readonly stateResolution: 'v1' | 'v2' | 'v2.1';
  /** Which keys survive a redaction; named after the first version with that list. */
  readonly redaction: 'v1' | 'v6' | 'v8' | 'v9' | 'v11';
  /** Where m.room.redaction names its target: a top-level key, or `content` (11 on). */
  readonly redactsIn: 'top-level' | 'content';
  /** The auth rules themselves judge redactions by server or power level (1, 2); later versions judge when applying them. */
  readonly redactionsInAuthRules: boolean;
  /** m.room.aliases has its own auth rule (1 to 5). */
  readonly aliasesAuthRule: boolean;
  /** Signing keys must be valid at the event's origin_server_ts (5 on). */
  readonly enforceKeyValidity: boolean;
  /** Floats, integers out of range etc. make an event invalid (6 on). */
  readonly strictCanonicalJson: boolean;
  /** Power levels must be integers, not strings that look like one (10 on). */
  readonly integerPowerLevels: boolean;
  /** `notifications` in power levels is protected like `events` (6 on). */
  readonly notificationPowerLevels: boolean;
  readonly knocking: boolean;
  readonly restrictedJoins: boolean;
  readonly knockRestrictedJoins: boolean;
  /** The creator is the create event's sender, not `content.creator` (11 on). */
  readonly creatorIsSender: boolean;
  /** The room ID is the create event's hash, and the create event is implied in auth_events (12 on). */
  readonly roomIdIsCreateHash: boolean;
  /** Creators (sender and additional_creators) outrank every power level (12 on). */
  readonly privilegedCreators: boolean;
  /** State keys that begin with a user ID are that user's, and those of higher power may write them too (MSC3757). */
  readonly ownedState: boolean;
}

const v1: RoomVersion = {
  id: '1',
  eventIds: 'given',
  references: 'pairs',
  stateResolution: 'v1',
  redaction: 'v1',
  redactsIn: 'top-level',
  redactionsInAuthRules: true,
  aliasesAuthRule: true,
  enforceKeyValidity: false,
  strictCanonicalJson: false,
  integerPowerLevels: false,
  notificationPowerLevels: false,
  knocking: false,
  restrictedJoins: false,
  knockRestrictedJoins: false,
  creatorIsSender: false,
  roomIdIsCreateHash: false,
  privilegedCreators: false,
  ownedState: false,
};
const v2: RoomVersion = { ...v1, id: '2', stateResolution: 'v2' };
const v3: RoomVersion = { ...v2, id: '3', eventIds: 'hash-base64', references: 'ids', redactionsInAuthRules: false };
const v4: RoomVersion = { ...v3, id: '4', eventIds: 'hash-url-safe' };
const v5: RoomVersion = { ...v4, id: '5', enforceKeyValidity: true };
const v6: RoomVersion = {
  ...v5,
  id: '6',
  redaction: 'v6',
  aliasesAuthRule: false,
  strictCanonicalJson: true,
  notificationPowerLevels: true,
};
const v7: RoomVersion = { ...v6, id: '7', knocking: true };
const v8: RoomVersion = { ...v7, id: '8', redaction: 'v8', restrictedJoins: true };
const v9: RoomVersion = { ...v8, id: '9', redaction: 'v9' };
const v10: RoomVersion = { ...v9, id: '10', knockRestrictedJoins: true, integerPowerLevels: true };
const v11: RoomVersion = { ...v10, id: '11', redaction: 'v11', redactsIn: 'content', creatorIsSender: true };
const v12: RoomVersion = {
  ...v11,
  id: '12',
  stateResolution: 'v2.1',
  roomIdIsCreateHash: true,
  privilegedCreators: true,
};

/** The room versions of the spec, all of which this server speaks. */
export const roomVersions: ReadonlyMap<string, RoomVersion> = new Map(
  [v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12].map((version) => [version.id, version]),
);

/** Versions beyond the spec: to be had by name only, for rooms that try something out. */
export const unstableRoomVersions: ReadonlyMap<string, RoomVersion> = new Map(
  [
    { ...v10, id: 'org.matrix.msc3757.10', ownedState: true },
    { ...v11, id: 'org.matrix.msc3757.11', ownedState: true },
  ].map((version) => [version.id, version]),
);

/** Any room version this server speaks. */
export function findRoomVersion(id: string): RoomVersion | undefined {
  return roomVersions.get(id) ?? unstableRoomVersions.get(id);
}

/** The spec's recommended default (spec: rooms, "Room versions"). */
export const DEFAULT_ROOM_VERSION = '12';

import { badJson, forbidden, MatrixError } from '../../../matrix/errors.ts';
import { isRoomId, isUserId, type RoomId, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { findRoomVersion, type RoomVersion } from '../../../matrix/room-versions.ts';
import type { AddressInvite } from './needs.ts';
import { type Preset, type StateDraft, trustsInvitees } from './presets.ts';

/** A room as somebody wants it (spec: `POST /createRoom`). */
export interface RoomOrder {
  /** `public` lists it in the room directory. */
  readonly visibility?: 'public' | 'private' | undefined;
  /** What stands between `#` and the colon. */
  readonly aliasLocalpart?: string | undefined;
  readonly name?: string | undefined;
  readonly topic?: string | undefined;
  readonly invite?: readonly UserId[] | undefined;
  readonly inviteByAddress?: readonly AddressInvite[] | undefined;
  readonly version?: string | undefined;
  /** Keys of the m.room.create content. */
  readonly creationContent?: JsonObject | undefined;
  readonly initialState?: readonly StateDraft[] | undefined;
  readonly preset?: Preset | undefined;
  readonly isDirect?: boolean | undefined;
  readonly powerLevels?: JsonObject | undefined;
}

/** @throws MatrixError M_UNSUPPORTED_ROOM_VERSION */
export function requireVersion(id: string): RoomVersion {
  const version = findRoomVersion(id);
  if (version === undefined) {
    throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', `This server does not know room version ${id}`);
  }
  return version;
}

/** Each once; nobody invites themselves. */
export function inviteesOf({ invite = [] }: RoomOrder, creator: UserId): readonly UserId[] {
  if (invite.includes(creator)) throw forbidden('You are in the room already, and cannot be invited to it');
  return [...new Set(invite)];
}

/**
 * The content of the m.room.create event, as far as the user decides it.
 * @throws MatrixError M_BAD_JSON for keys of a wrong type
 */
export function createContentOf(
  { creationContent = {} }: RoomOrder,
  {
    version,
    preset,
    creator,
    invitees,
  }: { version: RoomVersion; preset: Preset; creator: UserId; invitees: readonly UserId[] },
): JsonObject {
  // The server answers for these itself.
  const { creator: _creator, room_version: _version, ...content } = creationContent;
  const { 'm.federate': federate, type, predecessor } = content;
  if (federate !== undefined && typeof federate !== 'boolean') {
    throw badJson('creation_content: m.federate must be true or false');
  }
  if (type !== undefined && typeof type !== 'string') throw badJson('creation_content: type must be text');
  if (predecessor !== undefined) checkPredecessor(predecessor);
  if (!version.privilegedCreators) return content;

  const { additional_creators: given = [], ...rest } = content;
  const isUser = (user: JsonValue): user is UserId => typeof user === 'string' && isUserId(user);
  if (!Array.isArray(given) || !given.every(isUser)) {
    throw badJson('creation_content: additional_creators must be a list of user IDs');
  }
  const creators = new Set([...given, ...(trustsInvitees(preset) ? invitees : [])]);
  creators.delete(creator);
  return creators.size === 0 ? rest : { ...rest, additional_creators: [...creators] };
}

function checkPredecessor(predecessor: JsonValue): asserts predecessor is JsonObject & { room_id: RoomId } {
  const roomId = isJsonObject(predecessor) ? predecessor['room_id'] : undefined;
  if (typeof roomId !== 'string' || !isRoomId(roomId)) {
    throw badJson('creation_content: predecessor must be an object with a room_id');
  }
}

/** The state a user wants set, the last of each kind only. @throws MatrixError M_BAD_JSON for what cannot be set so */
export function initialStateOf({ initialState = [] }: RoomOrder): StateDraft[] {
  const state = new Map<string, StateDraft>();
  for (const draft of initialState) {
    const { type, stateKey, content } = draft;
    if (type === 'm.room.create') throw badJson('initial_state: keys of m.room.create belong to creation_content');
    if (type === 'm.room.member' && content['membership'] === 'invite') {
      throw badJson('initial_state: whoever is to be invited belongs to invite');
    }
    const key = `${type}\0${stateKey}`;
    state.delete(key);
    state.set(key, draft);
  }
  return [...state.values()];
}

/** Whether any of the users is of another server. */
export function hasOthers(users: readonly UserId[], serverName: string): boolean {
  return users.some((user) => serverNameOf(user) !== serverName);
}

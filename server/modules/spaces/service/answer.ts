import { isRoomAlias, isRoomId, isUserId, type RoomId, type ServerName } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { type ChildLink, inOrder, MAX_CHILDREN, MAX_LINKS, readLink } from './children.ts';

/** Longest text of a summary, UTF-16 units: what an event may hold at the very most. */
const MAX_TEXT = 65_536;
/** Longest of what is a name for machines. */
const MAX_NAME = 255;
/** Rooms whose members may join another one, as far as they are looked at. */
const MAX_ALLOWED = 100;

/** A room this server is not in, as another server describes it. */
export interface OutsideRoom {
  readonly roomId: RoomId;
  /** For clients (spec: room summary): nothing is in it that was not checked. */
  readonly summary: JsonObject;
  readonly joinRule: string;
  readonly worldReadable: boolean;
  /** Older servers do not tell. */
  readonly roomVersion: string | undefined;
  /** The rooms whose members may join it. */
  readonly allowedRooms: readonly RoomId[];
  readonly isSpace: boolean;
}

/** A room this server is not in, and its children if it is a space. */
export interface OutsideSpace {
  /** Who says so. */
  readonly server: ServerName;
  readonly room: OutsideRoom;
  /** In their order. */
  readonly links: readonly ChildLink[];
  /** The children that the server knows: of these it does not tell the children. */
  readonly children: ReadonlyMap<RoomId, OutsideRoom>;
  /** Children nobody on this server could join or read. */
  readonly inaccessible: ReadonlySet<RoomId>;
  /** Roughly how many bytes it takes to keep. */
  readonly weight: number;
}

/**
 * Reads another server's answer to `GET /hierarchy/{roomId}`. What does not fit is left out, and so is what is said of rooms
 * that are no children of this one. Undefined where it is no answer about the room that was asked for.
 */
export function readHierarchy(server: ServerName, asked: RoomId, answer: JsonValue): OutsideSpace | undefined {
  if (!isJsonObject(answer) || !isJsonObject(answer['room'])) return undefined;
  const room = readRoom(answer['room']);
  if (room === undefined || room.roomId !== asked) return undefined;
  const links = room.isSpace ? readLinks(answer['room']['children_state']) : [];
  const linked = new Set(links.map(({ roomId }) => roomId));
  linked.delete(asked);
  const children = new Map<RoomId, OutsideRoom>();
  for (const entry of listOf(answer['children'], MAX_CHILDREN)) {
    const child = readRoom(entry);
    if (child !== undefined && linked.has(child.roomId)) children.set(child.roomId, child);
  }
  const inaccessible = new Set<RoomId>();
  for (const roomId of listOf(answer['inaccessible_children'], MAX_LINKS)) {
    if (typeof roomId === 'string' && isRoomId(roomId) && linked.has(roomId)) inaccessible.add(roomId);
  }
  const weight = [room, ...children.values()].reduce((sum, { summary }) => sum + weightOf(summary), 0);
  return {
    server,
    room,
    links,
    children,
    inaccessible,
    weight: links.reduce((sum, { stripped }) => sum + weightOf(stripped), weight + 100 * inaccessible.size),
  };
}

function readLinks(given: JsonValue | undefined): ChildLink[] {
  const links = new Map<RoomId, ChildLink>();
  for (const event of listOf(given, MAX_LINKS)) {
    if (!isJsonObject(event) || event['type'] !== 'm.space.child') continue;
    const { state_key: stateKey, sender, content, origin_server_ts: ts } = event;
    if (typeof stateKey !== 'string' || typeof sender !== 'string' || !isUserId(sender)) continue;
    if (!isJsonObject(content) || !isCount(ts)) continue;
    const link = readLink({ stateKey, sender, content, originServerTs: ts });
    if (link !== undefined) links.set(link.roomId, link);
  }
  return inOrder([...links.values()]);
}

function readRoom(entry: JsonValue): OutsideRoom | undefined {
  if (!isJsonObject(entry)) return undefined;
  const { room_id: roomId, num_joined_members: joinedMembers } = entry;
  if (typeof roomId !== 'string' || !isRoomId(roomId) || !isCount(joinedMembers)) return undefined;
  const text = (key: string, longest: number): string | undefined => {
    const value = entry[key];
    return typeof value === 'string' && value !== '' && value.length <= longest ? value : undefined;
  };
  const avatarUrl = text('avatar_url', MAX_NAME * 2);
  const alias = text('canonical_alias', MAX_NAME);
  // Spec: room summary: without one, the rule is taken to be this.
  const joinRule = entry['join_rule'] === undefined ? 'public' : (text('join_rule', MAX_NAME) ?? 'invite');
  const roomVersion = text('room_version', MAX_NAME);
  const roomType = text('room_type', MAX_NAME);
  const allowedRooms = listOf(entry['allowed_room_ids'], MAX_ALLOWED).filter(
    (id): id is RoomId => typeof id === 'string' && isRoomId(id),
  );
  const worldReadable = entry['world_readable'] === true;
  return {
    roomId,
    joinRule,
    worldReadable,
    roomVersion,
    allowedRooms,
    isSpace: roomType === 'm.space',
    summary: {
      room_id: roomId,
      num_joined_members: joinedMembers,
      world_readable: worldReadable,
      guest_can_join: entry['guest_can_join'] === true,
      join_rule: joinRule,
      ...given('room_version', roomVersion),
      ...given('name', text('name', MAX_TEXT)),
      ...given('topic', text('topic', MAX_TEXT)),
      ...given('avatar_url', avatarUrl?.startsWith('mxc://') === true ? avatarUrl : undefined),
      ...given('canonical_alias', alias !== undefined && isRoomAlias(alias) ? alias : undefined),
      ...given('room_type', roomType),
      ...given('encryption', text('encryption', MAX_NAME)),
      ...(allowedRooms.length === 0 ? {} : { allowed_room_ids: allowedRooms }),
    },
  };
}

const given = (key: string, value: string | undefined): JsonObject => (value === undefined ? {} : { [key]: value });

function listOf(value: JsonValue | undefined, longest: number): readonly JsonValue[] {
  return Array.isArray(value) ? value.slice(0, longest) : [];
}

function isCount(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** A UTF-16 unit may take two bytes; objects around the text take some more. */
const weightOf = (json: JsonObject): number => 2 * JSON.stringify(json).length + 500;

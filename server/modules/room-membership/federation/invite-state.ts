import { invalidParam } from '../../../matrix/errors.ts';
import { checkContentHash } from '../../../matrix/events/hash.ts';
import type { RoomEvent } from '../../../matrix/events/event.ts';
import { parsePdu } from '../../../matrix/events/parse.ts';
import { redactEvent } from '../../../matrix/events/redact.ts';
import { stripStateEvent } from '../../../matrix/events/strip.ts';
import { isUserId, type RoomId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';
import type { KeyRing } from '../../../federation/types.ts';

/** Far more than any room shows of itself; each may make us fetch the keys of a server. */
const MAX_ENTRIES = 100;
/** UTF-16 units of an entry that is no event, as JSON: an event could hold no more. */
const MAX_ENTRY = 65_536;

/** What an invite told of the room's state. */
export interface InviteState {
  /** Ready for clients (spec: client-server API, "Stripped state"). */
  readonly stripped: readonly JsonObject[];
  /** Why the spec would not have it so, if it would not. */
  readonly fault: string | undefined;
}

/**
 * Reads `invite_room_state` (spec: server-server API, PUT /invite). The spec asks for events of the room's version, with
 * m.room.create among them, signed and of this very room: a claim that can be checked is checked, and what is false is left
 * out, or from room version 12 on refused, along with the invite.
 *
 * NOT-SPEC: from room version 12 on, entries in the stripped form of clients ought to be refused as well, and so ought a
 * lack of m.room.create. Unless `strict`, they are taken and `fault` says what is amiss: the servers most people are on
 * send nothing else yet, and their invites would all be lost. (The spec has servers consider just that.)
 * @throws MatrixError M_INVALID_PARAM
 */
export async function readInviteState(
  list: JsonValue | undefined,
  room: { readonly roomId: RoomId; readonly version: RoomVersion },
  { keyRing, strict }: { readonly keyRing: Pick<KeyRing, 'checkEvents'>; readonly strict: boolean },
): Promise<InviteState> {
  const { roomId, version } = room;
  // Version 12 is where the rules became binding.
  const isBinding = version.roomIdIsCreateHash;
  if (list !== undefined && !Array.isArray(list)) throw invalidParam('invite_room_state is not a list');
  const entries: readonly JsonValue[] = list ?? [];
  if (entries.length > MAX_ENTRIES) throw invalidParam(`invite_room_state has more than ${MAX_ENTRIES} entries`);

  let fault: string | undefined;
  const falter = (reason: string, isLie: boolean): void => {
    if (isBinding && (isLie || strict)) throw invalidParam(`invite_room_state: ${reason}`);
    fault ??= reason;
  };
  const shown: { readonly stripped: JsonObject; readonly event: RoomEvent | undefined }[] = [];
  for (const entry of entries) {
    if (isOfOtherRoom(entry, roomId)) {
      falter('an entry is of another room', true);
      continue;
    }
    const event = isSigned(entry) ? readStateEvent(entry, room) : undefined;
    if (typeof event === 'string') falter(event, true);
    const stripped = typeof event === 'object' ? stripEvent(event) : readStripped(entry);
    if (stripped === undefined) falter('an entry is no state event', true);
    else if (typeof event !== 'object') falter('an entry is not an event of the room version', false);
    if (stripped !== undefined) shown.push({ stripped, event: typeof event === 'object' ? event : undefined });
  }

  // Before version 12 nothing rests on them, and nobody should have us fetch keys for nothing.
  const events = isBinding ? shown.map(({ event }) => event).filter((event) => event !== undefined) : [];
  const verdicts = await keyRing.checkEvents(events);
  if (verdicts.includes(false)) falter('an event is not signed as it must be', true);
  const stripped = shown.map((entry) => entry.stripped);
  if (!stripped.some(({ type, state_key: key }) => type === 'm.room.create' && key === '')) {
    falter('m.room.create is missing', false);
  }
  return { stripped, fault };
}

function isOfOtherRoom(entry: JsonValue, roomId: RoomId): boolean {
  return isJsonObject(entry) && typeof entry['room_id'] === 'string' && entry['room_id'] !== roomId;
}

/** Whether an entry claims to be an event rather than the stripped form of one. */
function isSigned(entry: JsonValue): entry is JsonObject {
  return isJsonObject(entry) && (Object.hasOwn(entry, 'signatures') || Object.hasOwn(entry, 'hashes'));
}

/** What an event whose content was tampered with says is not believed. */
function stripEvent(event: RoomEvent): JsonObject {
  return stripStateEvent(checkContentHash(event.pdu, event.version) ? event : redactEvent(event));
}

/** The state event, or what is wrong with it. In room version 12 the room of a create event is the one that it makes. */
function readStateEvent(
  entry: JsonObject,
  { roomId, version }: { readonly roomId: RoomId; readonly version: RoomVersion },
): RoomEvent | string {
  const parsed = parsePdu(entry, version);
  if (!parsed.ok) return parsed.reason;
  const { event } = parsed;
  if (event.roomId !== roomId) return 'an event is of another room';
  if (event.stateKey === undefined) return 'an event is no state event';
  return event;
}

function readStripped(entry: JsonValue): JsonObject | undefined {
  if (!isJsonObject(entry)) return undefined;
  const { type, state_key: stateKey, sender, content } = entry;
  if (typeof type !== 'string' || typeof stateKey !== 'string' || !isJsonObject(content)) return undefined;
  if (typeof sender !== 'string' || !isUserId(sender)) return undefined;
  const stripped = { type, state_key: stateKey, sender, content };
  return JSON.stringify(stripped).length > MAX_ENTRY ? undefined : stripped;
}

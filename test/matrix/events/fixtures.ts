import type { EventDraft } from '../../../server/matrix/events/build.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  isServerName,
  isUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../../server/matrix/identifiers.ts';
import { type RoomVersion, roomVersions } from '../../../server/matrix/room-versions.ts';
import { signingKeyFromSeed } from '../../../server/matrix/signing.ts';

function checked<Id extends string>(text: string, check: (text: string) => text is string & Id): Id {
  if (!check(text)) throw new Error(`not an identifier: ${text}`);
  return text;
}

export const userId = (text: string): UserId => checked<UserId>(text, isUserId);
export const roomId = (text: string): RoomId => checked<RoomId>(text, isRoomId);
export const eventId = (text: string): EventId => checked<EventId>(text, isEventId);
export const serverName = (text: string): ServerName => checked<ServerName>(text, isServerName);

export const aliceKey = signingKeyFromSeed(Buffer.alloc(32, 1), 'alice');
export const bobKey = signingKeyFromSeed(Buffer.alloc(32, 2), 'bob');
export const alice = userId('@alice:alice.example');
export const bob = userId('@bob:bob.example');
export const aliceServer = serverName('alice.example');
export const bobServer = serverName('bob.example');

export function version(id: string): RoomVersion {
  const found = roomVersions.get(id);
  if (found === undefined) throw new Error(`no room version ${id}`);
  return found;
}

export const allVersions: readonly RoomVersion[] = [...roomVersions.values()];

/** A room ID that rooms of this version may have. */
export function someRoomId({ roomIdIsCreateHash }: RoomVersion): RoomId {
  return roomId(roomIdIsCreateHash ? `!${'r'.repeat(43)}` : '!room:alice.example');
}

/** A message of Alice's, as her server would draft it. */
export function draft(roomVersion: RoomVersion, changes: Partial<EventDraft> = {}): EventDraft {
  const reference = (name: string) => ({ eventId: eventId(`$${name}:alice.example`), sha256: 'c2hhMjU2' });
  return {
    version: roomVersion,
    roomId: someRoomId(roomVersion),
    type: 'm.room.message',
    sender: alice,
    content: { msgtype: 'm.text', body: 'Dinner is ready' },
    originServerTs: 1_700_000_000_000,
    depth: 7,
    prevEvents: [reference('prev')],
    authEvents: [reference('create'), reference('member')],
    serverName: aliceServer,
    signingKey: aliceKey,
    eventIdLocalpart: 'local',
    ...changes,
  };
}

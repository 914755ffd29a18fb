import type { Answer, Json, TestClient } from '../kit/test-client.ts';
import { expectOk } from '../kit/test-client.ts';

/** Asks for a page of a space. */
export const walk = (who: TestClient, roomId: string, query: Json = {}): Promise<Answer> =>
  who.get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/hierarchy`, query);

/** The IDs of the rooms of one page, which must be the last. */
export async function roomsOf(who: TestClient, roomId: string, query: Json = {}): Promise<string[]> {
  const page = expectOk(await walk(who, roomId, query));
  if (page.next_batch !== undefined) throw new Error('there is more');
  return idsOf(page);
}

export const idsOf = (page: Json): string[] => page.rooms.map(({ room_id: id }: Json) => id);

export const newSpace = (who: TestClient, options: Json = {}): Promise<string> =>
  who.createRoom({ preset: 'public_chat', creation_content: { type: 'm.space' }, ...options });

export const newRoom = (who: TestClient, options: Json = {}): Promise<string> =>
  who.createRoom({ preset: 'public_chat', ...options });

/** Makes a room the child of a space. */
export const link = (who: TestClient, space: string, child: string, content: Json = {}): Promise<string> =>
  who.setState(space, 'm.space.child', { via: ['hearth.test'], ...content }, child);

export const joinRule = (rule: string, allow: readonly string[] = []): Json => ({
  type: 'm.room.join_rules',
  state_key: '',
  content: {
    join_rule: rule,
    ...(allow.length === 0 ? {} : { allow: allow.map((id) => ({ type: 'm.room_membership', room_id: id })) }),
  },
});

/** A link as another server's answer has it. */
export const linkTo = (roomId: string, content: Json = {}, ts = 1): Json => ({
  type: 'm.space.child',
  state_key: roomId,
  sender: '@mallory:away.test',
  origin_server_ts: ts,
  content: { via: ['away.test'], ...content },
});

/** A room as another server's answer has it. */
export const outside = (roomId: string, more: Json = {}): Json => ({
  room_id: roomId,
  num_joined_members: 3,
  world_readable: false,
  guest_can_join: false,
  join_rule: 'public',
  ...more,
});

export const outsideSpace = (roomId: string, links: readonly Json[], more: Json = {}): Json =>
  outside(roomId, { room_type: 'm.space', children_state: links, ...more });

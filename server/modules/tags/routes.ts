import { route, type Route } from '../../http/route.ts';
import { nonEmptyText, roomId, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden, MatrixError } from '../../matrix/errors.ts';
import type { UserId } from '../../matrix/identifiers.ts';
import type { Database } from '../../storage/types.ts';
import type { TagStore } from './store.ts';

/** Tag names have at most this many bytes (spec: "Room Tagging", "Events"). */
const MAX_TAG_BYTES = 255;
/** More than anybody sorts rooms by; keeps one m.tag from growing without end. */
const MAX_TAGS = 100;

function checkOwn(requester: { userId: UserId }, of: UserId): void {
  if (requester.userId !== of) throw forbidden('Tags can only be read and set by the user they belong to');
}

export function tagRoutes({ db, store }: { db: Database; store: TagStore }): Route[] {
  const params = Type.Object({ userId, roomId });
  const tagParams = Type.Object({ userId, roomId, tag: nonEmptyText(MAX_TAG_BYTES) });
  const path = '/_matrix/client/v3/user/:userId/rooms/:roomId/tags';
  // The order may be absent; where it is given it is a number from 0 to 1.
  const body = Type.Object({ order: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })) });
  return [
    route({
      method: 'GET',
      path,
      auth: 'user',
      params,
      handle: ({ requester, params: { userId: owner, roomId: room } }) => {
        checkOwn(requester, owner);
        return { tags: store.get(owner, room) };
      },
    }),
    route({
      method: 'PUT',
      path: `${path}/:tag`,
      auth: 'user',
      params: tagParams,
      body,
      handle: ({ requester, params: { userId: owner, roomId: room, tag }, body: content }) => {
        checkOwn(requester, owner);
        db.write((tx) => {
          const tags = new Map(Object.entries(store.get(owner, room)));
          if (!tags.has(tag) && tags.size >= MAX_TAGS) {
            throw new MatrixError('M_LIMIT_EXCEEDED', `A room has at most ${MAX_TAGS} tags`, { status: 400 });
          }
          tags.set(tag, content);
          store.put(tx, owner, room, Object.fromEntries(tags));
        });
        return {};
      },
    }),
    route({
      method: 'DELETE',
      path: `${path}/:tag`,
      auth: 'user',
      params: tagParams,
      handle: ({ requester, params: { userId: owner, roomId: room, tag } }) => {
        checkOwn(requester, owner);
        db.write((tx) => {
          const tags = new Map(Object.entries(store.get(owner, room)));
          if (tags.delete(tag)) store.put(tx, owner, room, Object.fromEntries(tags));
        });
        return {};
      },
    }),
  ];
}

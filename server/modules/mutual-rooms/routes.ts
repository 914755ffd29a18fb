import type { RateLimit } from '../../http/rate-limit.ts';
import { route, type Route } from '../../http/route.ts';
import { userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { invalidParam } from '../../matrix/errors.ts';
import { isRoomId } from '../../matrix/identifiers.ts';
import type { MembershipReader } from '../../rooms/types.ts';

const PAGE_SIZE = 100;

interface Needs {
  readonly rooms: Pick<MembershipReader, 'listMutualRooms'>;
  readonly limit: RateLimit;
}

/** A token is the last room of the page before, wrapped so that nobody takes it for more. */
function readToken(token: string): string {
  const last = Buffer.from(token, 'base64url').toString('utf8');
  if (!isRoomId(last)) throw invalidParam('from: not a token this server gave out');
  return last;
}

export function mutualRoomRoutes({ rooms, limit }: Needs): Route[] {
  return [
    route({
      method: 'GET',
      path: [
        '/_matrix/client/v1/mutual_rooms',
        // MSC2666, which clients ask for under this name until they know the spec's.
        '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms',
      ],
      auth: 'user',
      query: Type.Object({
        user_id: userId,
        from: Type.Optional(Type.String()),
        batch_token: Type.Optional(Type.String()),
      }),
      handle: ({ requester, query }) => {
        if (query.user_id === requester.userId) throw invalidParam('user_id: you share every room with yourself');
        limit.checkFor(requester, requester.userId);
        const token = query.from ?? query.batch_token;
        const after = token === undefined ? '' : readToken(token);
        const all = rooms.listMutualRooms(requester.userId, query.user_id).sort();
        const left = all.filter((room) => room > after);
        const page = left.slice(0, PAGE_SIZE);
        const last = page.at(-1);
        const next =
          left.length > page.length && last !== undefined ? Buffer.from(last, 'utf8').toString('base64url') : undefined;
        return {
          joined: page,
          count: all.length,
          // The second is its name in the proposal, which clients of the unstable path look for.
          ...(next === undefined ? {} : { next_batch: next, next_batch_token: next }),
        };
      },
    }),
  ];
}

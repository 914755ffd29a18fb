import { route, type Route } from '../../http/route.ts';
import { limit } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { Search } from './service/search.ts';

const DEFAULT_LIMIT = 10;

export function userDirectoryRoutes(search: Search): Route[] {
  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/user_directory/search',
      auth: 'user',
      body: Type.Object({ search_term: Type.String(), limit: Type.Optional(limit) }),
      handle: ({ requester, body }) => search(requester, body.search_term, body.limit ?? DEFAULT_LIMIT),
    }),
  ];
}

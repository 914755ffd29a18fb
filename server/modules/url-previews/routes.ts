import { route, type Route } from '../../http/route.ts';
import { nonEmptyText, timestampMs } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import type { Previews } from './service/previews.ts';

const MAX_URL_BYTES = 8192;

const previewQuery = Type.Object({ url: nonEmptyText(MAX_URL_BYTES), ts: Type.Optional(timestampMs) });

/** How clients learn what is behind a link (spec: "Content repository", GET /media/preview_url). */
export function previewRoutes(previews: Previews): Route[] {
  return [
    route({
      method: 'GET',
      path: ['/_matrix/client/v1/media/preview_url', '/_matrix/media/v3/preview_url'],
      auth: 'user',
      query: previewQuery,
      handle: ({ requester, query }) => previews.get(requester, query.url, query.ts),
    }),
  ];
}

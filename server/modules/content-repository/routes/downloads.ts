import { route, type Route } from '../../../http/route.ts';
import type { Delivery } from './delivery.ts';
import {
  downloadQuery,
  mediaParams,
  namedMediaParams,
  oldDownloadQuery,
  oldThumbnailQuery,
  ownMediaParams,
  thumbnailQuery,
  waitOf,
  wishOf,
} from './schemas.ts';

const MEDIA = ':serverName/:mediaId';

/** How clients get media and thumbnails. */
export function downloadRoutes(delivery: Delivery): Route[] {
  return [
    route({
      method: 'GET',
      path: `/_matrix/client/v1/media/download/${MEDIA}`,
      auth: 'user',
      guests: true,
      params: mediaParams,
      query: downloadQuery,
      handle: (request) =>
        delivery.download({ ...asksOf(request), timeoutMs: waitOf(request.query), allowRemote: true }),
    }),
    route({
      method: 'GET',
      path: `/_matrix/client/v1/media/download/${MEDIA}/:fileName`,
      auth: 'user',
      guests: true,
      params: namedMediaParams,
      query: downloadQuery,
      handle: (request) =>
        delivery.download(
          { ...asksOf(request), timeoutMs: waitOf(request.query), allowRemote: true },
          request.params.fileName,
        ),
    }),
    route({
      method: 'GET',
      path: `/_matrix/client/v1/media/thumbnail/${MEDIA}`,
      auth: 'user',
      guests: true,
      params: mediaParams,
      query: thumbnailQuery,
      handle: (request) =>
        delivery.thumbnail(
          { ...asksOf(request), timeoutMs: waitOf(request.query), allowRemote: true },
          wishOf(request.query),
        ),
    }),
  ];
}

/** The same without a token: deprecated, and frozen where the server says so. */
export function oldDownloadRoutes(delivery: Delivery): Route[] {
  return [
    route({
      method: 'GET',
      path: `/_matrix/media/v3/download/${MEDIA}`,
      auth: 'none',
      params: mediaParams,
      query: oldDownloadQuery,
      handle: (request) => delivery.download({ ...asksOf(request), ...oldOptions(request.query) }),
    }),
    route({
      method: 'GET',
      path: `/_matrix/media/v3/download/${MEDIA}/:fileName`,
      auth: 'none',
      params: namedMediaParams,
      query: oldDownloadQuery,
      handle: (request) =>
        delivery.download({ ...asksOf(request), ...oldOptions(request.query) }, request.params.fileName),
    }),
    route({
      method: 'GET',
      path: `/_matrix/media/v3/thumbnail/${MEDIA}`,
      auth: 'none',
      params: mediaParams,
      query: oldThumbnailQuery,
      handle: (request) =>
        delivery.thumbnail({ ...asksOf(request), ...oldOptions(request.query) }, wishOf(request.query)),
    }),
  ];
}

/** How other servers get this one's media (spec: server-server API, "Content Repository"). */
export function federationRoutes(delivery: Delivery): Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/media/download/:mediaId',
      auth: 'server',
      params: ownMediaParams,
      query: downloadQuery,
      handle: ({ params, query, signal }) =>
        delivery.downloadToServer({ mediaId: params.mediaId, timeoutMs: waitOf(query), signal }),
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/media/thumbnail/:mediaId',
      auth: 'server',
      params: ownMediaParams,
      query: thumbnailQuery,
      handle: ({ params, query, signal }) =>
        delivery.thumbnailToServer({ mediaId: params.mediaId, timeoutMs: waitOf(query), signal }, wishOf(query)),
    }),
  ];
}

// The properties of a request that are made when they are asked for do not survive a spread: they are named.
function asksOf<
  Asks extends Pick<Parameters<Delivery['download']>[0], 'params' | 'ip' | 'headers' | 'signal' | 'requester'>,
>({ params, requester, ip, headers, signal }: Asks): Pick<Asks, 'params' | 'requester' | 'ip' | 'headers' | 'signal'> {
  return { params, requester, ip, headers, signal };
}

function oldOptions(query: { readonly timeout_ms?: number; readonly allow_remote?: boolean }): {
  readonly timeoutMs: number;
  readonly allowRemote: boolean;
} {
  return { timeoutMs: waitOf(query), allowRemote: query.allow_remote ?? true };
}

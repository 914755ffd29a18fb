import type { RouteRequest } from '../../../http/route.ts';

/**
 * The access token that a request shows, on routes where a user's would not count: only an application service has use
 * for it there, and whose it is is not known yet.
 */
export function shownToken({
  headers,
  url,
}: Pick<RouteRequest<unknown, unknown, unknown, 'none'>, 'headers' | 'url'>): string | undefined {
  const bearer = /^bearer +(\S+) *$/i.exec(headers['authorization'] ?? '');
  if (bearer?.[1] !== undefined) return bearer[1];
  const query = url.indexOf('?');
  return query === -1 ? undefined : (new URLSearchParams(url.slice(query)).get('access_token') ?? undefined);
}

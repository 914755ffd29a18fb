import { Reply } from '../../../http/route.ts';

/** Sends the browser on. */
export function redirect(location: string): Reply {
  // As a header knows nothing but ASCII, and the parser has escaped all else.
  return new Reply({
    status: 302,
    headers: { location: new URL(location).href, 'cache-control': 'no-store' },
    body: '',
  });
}

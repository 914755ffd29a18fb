import { Reply } from '../../../http/route.ts';

/** Of administrators' own making, too: they may show pictures, but run nothing. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "style-src 'self' 'unsafe-inline' https:",
  "img-src 'self' https: data:",
  "font-src 'self' https:",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** A page made from a template. */
export function templatePage(html: string, status = 200): Reply {
  return new Reply({
    status,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': CONTENT_SECURITY_POLICY,
      'cache-control': 'no-store',
    },
    body: html,
  });
}

/** Sends the browser on. */
export function redirect(location: string): Reply {
  // As a header knows nothing but ASCII, and the parser has escaped all else.
  return new Reply({
    status: 302,
    headers: { location: new URL(location).href, 'cache-control': 'no-store' },
    body: '',
  });
}

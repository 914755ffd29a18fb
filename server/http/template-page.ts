import { Reply } from './route.ts';

/** What a page made from a template may do. Administrators bring templates of their own: those may show pictures, but run nothing. */
const POLICY = [
  "default-src 'none'",
  "style-src 'self' 'unsafe-inline' https:",
  "img-src 'self' https: data:",
  "font-src 'self' https:",
  "base-uri 'none'",
  "frame-ancestors 'none'",
];

/** A reply that is a page made from a template. `allowed`: further directives of its Content-Security-Policy. */
export function templatePage(html: string, status = 200, allowed: readonly string[] = []): Reply {
  return new Reply({
    status,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': [...POLICY, ...allowed].join('; '),
      'cache-control': 'no-store',
    },
    body: html,
  });
}

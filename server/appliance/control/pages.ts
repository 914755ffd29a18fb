import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { Reply, route, type Route } from '../../http/route.ts';
import { htmlReply } from '../../http/route.ts';
import { Type } from '../../http/type.ts';
import { notFound } from '../../matrix/errors.ts';

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
};

/** The interface's files, as they were built into `directory`: `index.html`, and all else under `assets/`. */
export function pageRoutes(directory: string): Route[] {
  const assets = new Map<string, Buffer>();
  const readAssets = (): void => {
    try {
      for (const name of readdirSync(join(directory, 'assets'))) {
        if (assets.has(name) || TYPES[extname(name)] === undefined) continue;
        assets.set(name, readFileSync(join(directory, 'assets', name)));
      }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  };
  readAssets();
  const index = (): Reply => {
    try {
      const page = readFileSync(join(directory, 'index.html'));
      const headers = {
        'content-type': TYPES['.html'] ?? '',
        'cache-control': 'no-cache',
        'content-security-policy': CSP,
      };
      return new Reply({ headers, body: page });
    } catch {
      return htmlReply(
        '<!doctype html><title>Hearth</title><p>The interface has not been built: run <code>npm run build</code>.',
        503,
      );
    }
  };
  return [
    route({ method: 'GET', path: '/', auth: 'none', resource: 'control', handle: index }),
    route({
      method: 'GET',
      path: '/assets/:name',
      auth: 'none',
      resource: 'control',
      params: Type.Object({ name: Type.String() }),
      handle: ({ params: { name } }) => {
        // An interface that was built anew since has other files; a page opened before still asks for the former ones.
        if (!assets.has(name)) readAssets();
        const body = assets.get(name);
        if (body === undefined) throw notFound('There is no such file');
        // Their names change with what is in them.
        const headers = {
          'content-type': TYPES[extname(name)] ?? 'application/octet-stream',
          'cache-control': 'private, max-age=31536000, immutable',
          'content-security-policy': CSP,
        };
        return new Reply({ headers, body });
      },
    }),
  ];
}

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { buildRouter, type Router } from '../../server/http/router.ts';
import { calledElsewhere, served } from './operations.ts';
import { listRoutes } from './routes.ts';

interface Operation {
  readonly method: string;
  readonly path: string;
}

const operations: readonly Operation[] = Object.entries(served).flatMap(([path, methods]) =>
  methods.map((method) => ({ method, path })),
);

let router: Router;
before(async () => {
  router = buildRouter(await listRoutes({ url_preview_enabled: true, url_preview_ip_range_blacklist: [] }));
});

const nameOf = ({ method, path }: Operation): string => `${method} ${path}`;

/** The path as a client writes it, with something in the place of each parameter. */
const filledIn = (path: string): string => path.replaceAll(/:\w+/g, 'x');

test('every operation that the specification wants of a homeserver is served', () => {
  const lacking = operations.filter(({ method, path }) => router.find(method, filledIn(path)) === undefined);
  assert.deepEqual(lacking.map(nameOf), []);
});

test('what others serve for homeservers is not served here', () => {
  const here = Object.entries(calledElsewhere).flatMap(([path, methods]) =>
    methods
      .map((method) => ({ method, path }))
      .filter((one) => router.find(one.method, filledIn(one.path)) !== undefined),
  );
  assert.deepEqual(here.map(nameOf), []);
});

test('every operation is named in a test that makes requests with its method', () => {
  const tests = listTests(join(import.meta.dirname, '..'));
  const lacking = operations.filter((operation) => !tests.some((text) => isNamed(operation, text)));
  assert.deepEqual(lacking.map(nameOf), []);
});

test('an operation that no test names is found lacking', () => {
  const text = withConstants(`
    const KEYS = '/_matrix/client/v3/room_keys/keys';
    await alice.get(inRoom(roomId, 'members'));
    await alice.put(\`\${KEYS}/\${roomId}\`);
    await alice.get(\`\${ROOMS}/\${roomId}/state/m.room.name\`);`);
  const isFound = (method: string, path: string): boolean => isNamed({ method, path }, text);
  assert.ok(isFound('GET', '/_matrix/client/v3/rooms/:roomId/members'));
  assert.ok(isFound('PUT', '/_matrix/client/v3/room_keys/keys/:roomId'));
  assert.ok(isFound('GET', '/_matrix/client/v3/rooms/:roomId/state/:eventType'));
  assert.ok(!isFound('DELETE', '/_matrix/client/v3/room_keys/keys/:roomId'));
  assert.ok(!isFound('GET', '/_matrix/client/v3/rooms/:roomId/joined_members'));
  assert.ok(!isFound('GET', '/_matrix/client/v3/rooms/:roomId/context/:eventId'));
  assert.ok(!isFound('GET', '/_matrix/client/v3/room_keys/version'));
});

/** The text of each test, with that of the helpers it imports; not of this folder, which names every operation. */
function listTests(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(?:test|story)\.ts$/.test(file) && !file.startsWith('spec'))
    .map((file) => {
      const text = readFileSync(join(folder, file), 'utf8');
      const helpers = [...text.matchAll(/^(?:import .*|\}) from '(\.[^']*)';$/gm)].map(([, path = '']) =>
        join(folder, dirname(file), path),
      );
      const own = helpers.filter((path) => path.startsWith(folder)).map((path) => readFileSync(path, 'utf8'));
      return withConstants([text, ...own].join('\n'));
    });
}

/** A text with the values of its constants in the places where they are put together with something else. */
function withConstants(text: string): string {
  const constants = new Map(
    [...text.matchAll(/const (\w+) = ['`](\/[^'`]*)['`]/g)].map(([, name, value]) => [name, value]),
  );
  return text.replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => constants.get(name) ?? whole);
}

/**
 * Whether a test has all that is fixed in the path, and makes a request with the method. That is less than to say that it
 * makes the very request: paths are put together in many ways. What comes before the parameters of a room may be left to
 * a helper.
 */
function isNamed({ method, path }: Operation, text: string): boolean {
  const fixed = path
    .replace(/^\/_matrix\/client\/v\d\/(?:rooms\/:roomId\/)?/, '')
    .split(/\/?:\w+\/?/)
    .filter((part) => part !== '');
  const isRequested = new RegExp(`\\.${method.toLowerCase()}\\(|['"]${method}['"]`).test(text);
  return isRequested && fixed.every((part) => hasPart(text, part));
}

/** A part of a path stands there as it is, with a variable for its version, or in two: `${ADD}/email/requestToken`. */
function hasPart(text: string, part: string): boolean {
  const pattern = part
    .replace(/\/$/, '')
    .replaceAll('.', '\\.')
    .replace(/\/v\d\//, (version) => `/(?:${version.slice(1, -1)}|\\$\\{\\w+\\})/`);
  if (new RegExp(`(?<![\\w.])${pattern}(?![\\w.])`).test(text)) return true;
  return [...part.matchAll(/\//g)].some(({ index }) => {
    const [head, tail] = [part.slice(0, index), part.slice(index)];
    return head !== '' && text.includes(`${head}'`) && text.includes(`}${tail}`);
  });
}

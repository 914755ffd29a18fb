import assert from 'node:assert/strict';
import { test } from 'node:test';
import Type from 'typebox';

import type { AuthenticationContext, SignedRequest } from '../../server/http/authenticate.ts';
import { route } from '../../server/http/route.ts';
import { MatrixError } from '../../server/matrix/errors.ts';
import { isServerName } from '../../server/matrix/identifiers.ts';
import { ask, asAnn, readAll, refusal, requester, serve, tokens } from './harness.ts';

const whoami = '/_matrix/client/v3/account/whoami';
const whoamiRoute = route({
  method: 'GET',
  path: whoami,
  auth: 'user',
  handle: ({ requester: { userId } }) => ({ user_id: userId }),
});

test('a token is taken from the header or the query, and its lack and its falsehood have errcodes of their own', async (t) => {
  const { origin } = await serve(t, [whoamiRoute]);
  assert.deepEqual((await ask(origin + whoami, { headers: asAnn })).body, { user_id: '@ann:home' });
  assert.deepEqual((await ask(`${origin}${whoami}?access_token=ann`)).body, { user_id: '@ann:home' });
  assert.deepEqual((await ask(origin + whoami, { headers: { authorization: 'bearer  ann' } })).status, 200);
  assert.deepEqual(await refusal(origin + whoami), [401, 'M_MISSING_TOKEN']);
  assert.deepEqual(await refusal(`${origin}${whoami}?access_token=`), [401, 'M_MISSING_TOKEN']);
  assert.deepEqual(await refusal(origin + whoami, { headers: { authorization: 'Basic ann' } }), [
    401,
    'M_MISSING_TOKEN',
  ]);
  const unknown = await ask(origin + whoami, { headers: { authorization: 'Bearer bob' } });
  assert.equal(unknown.status, 401);
  assert.deepEqual(unknown.body, { errcode: 'M_UNKNOWN_TOKEN', error: 'This access token is not known' });
});

test('an expired token, a locked, a deactivated and a guest account are told apart', async (t) => {
  const ann = requester('@ann:home');
  const authenticator = tokens({
    expired: { kind: 'soft-logged-out' },
    locked: { kind: 'locked', requester: ann },
    gone: { kind: 'deactivated' },
    guest: { kind: 'ok', requester: requester('@1:home', { isGuest: true }) },
    foreign: { kind: 'refused', error: new MatrixError('M_EXCLUSIVE', 'Not yours') },
  });
  const handle = (): object => ({});
  const { origin } = await serve(
    t,
    [
      whoamiRoute,
      route({ method: 'POST', path: '/_matrix/client/v3/logout', auth: 'user', locked: true, handle }),
      route({ method: 'GET', path: '/_matrix/client/v3/sync', auth: 'user', guests: true, handle }),
      route({ method: 'GET', path: '/_matrix/client/v3/open', auth: 'optional', handle }),
    ],
    { authenticator },
  );
  const as = async (token: string, path: string, method = 'GET'): Promise<unknown[]> => {
    const { status, body } = await ask(origin + path, { method, headers: { authorization: `Bearer ${token}` } });
    const { errcode, soft_logout } = body as { errcode?: string; soft_logout?: boolean };
    return [status, errcode, soft_logout];
  };
  assert.deepEqual(await as('expired', whoami), [401, 'M_UNKNOWN_TOKEN', true]);
  assert.deepEqual(await as('locked', whoami), [401, 'M_USER_LOCKED', true]);
  assert.deepEqual(await as('locked', '/_matrix/client/v3/logout', 'POST'), [200, undefined, undefined]);
  assert.deepEqual(await as('gone', whoami), [403, 'M_USER_DEACTIVATED', undefined]);
  assert.deepEqual(await as('guest', whoami), [403, 'M_GUEST_ACCESS_FORBIDDEN', undefined]);
  assert.deepEqual(await as('guest', '/_matrix/client/v3/sync'), [200, undefined, undefined]);
  assert.deepEqual(await as('guest', '/_matrix/client/v3/open'), [200, undefined, undefined]);
  assert.deepEqual(await as('foreign', whoami), [400, 'M_EXCLUSIVE', undefined]);
});

test('where a token is optional, none is fine and a false one is not', async (t) => {
  const path = '/_matrix/client/v3/publicRooms';
  const { origin } = await serve(t, [
    route({ method: 'GET', path, auth: 'optional', handle: ({ requester: who }) => ({ who: who?.userId ?? null }) }),
  ]);
  assert.deepEqual((await ask(origin + path)).body, { who: null });
  assert.deepEqual((await ask(origin + path, { headers: asAnn })).body, { who: '@ann:home' });
  assert.deepEqual(await refusal(`${origin}${path}?access_token=x`), [401, 'M_UNKNOWN_TOKEN']);
});

test('an application service’s wish to act as somebody reaches the authenticator, with where it comes from', async (t) => {
  const seen: AuthenticationContext[] = [];
  const authenticator = {
    authenticate: (_token: string, context: AuthenticationContext) => {
      seen.push(context);
      return { kind: 'ok', requester: requester('@ann:home') } as const;
    },
  };
  const { origin } = await serve(t, [whoamiRoute], { authenticator });
  const headers = { ...asAnn, 'user-agent': 'bridge/1' };
  await ask(`${origin}${whoami}?user_id=%40irc_bob%3Ahome&device_id=D`, { headers });
  assert.deepEqual(seen, [
    { ip: '127.0.0.1', userAgent: 'bridge/1', userIdOverride: '@irc_bob:home', deviceIdOverride: 'D' },
  ]);
});

test('authentication comes before the body is looked at', async (t) => {
  const path = '/_matrix/client/v3/createRoom';
  const { origin } = await serve(t, [
    route({ method: 'POST', path, auth: 'user', body: Type.Object({}), handle: () => ({}) }),
  ]);
  assert.deepEqual(await refusal(origin + path, { method: 'POST', body: 'garbage' }), [401, 'M_MISSING_TOKEN']);
});

test('a federation request is known by its signature over exactly what was sent', async (t) => {
  const seen: Omit<SignedRequest, 'onFinished'>[] = [];
  const finished = Promise.withResolvers<void>();
  const path = '/_matrix/federation/v1/send/:txnId';
  const handle = ({ origin, body }: { origin: string; body: object }): object => ({ origin, body });
  const routes = [route({ method: 'PUT', path, auth: 'server', body: Type.Object({}), handle })];
  const { open } = await serve(t, routes, {
    federationAuthenticator: async ({ onFinished, ...request }) => {
      seen.push(request);
      onFinished?.(() => finished.resolve());
      const name = 'other.example';
      if (!isServerName(name) || request.content === undefined) throw new MatrixError('M_UNAUTHORIZED', 'unsigned');
      return name;
    },
  });
  const socket = await open();
  const body = '{"pdus":[]}';
  socket.write(
    `PUT /_matrix/federation/v1/send/a%2Fb?x=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n` +
      `authorization: X-Matrix one\r\nauthorization: X-Matrix two\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  assert.match(await readAll(socket), /200 OK[^]*\{"origin":"other\.example","body":\{"pdus":\[\]\}\}/);
  assert.deepEqual(seen, [
    {
      method: 'PUT',
      uri: '/_matrix/federation/v1/send/a%2Fb?x=1',
      authorization: ['X-Matrix one', 'X-Matrix two'],
      content: { pdus: [] },
      body: Buffer.from(body),
      ip: '127.0.0.1',
    },
  ]);
  await finished.promise;
});

test('without a signature, or anyone to check it, a federation request is 401 M_UNAUTHORIZED', async (t) => {
  const routes = [
    route({ method: 'GET', path: '/_matrix/federation/v1/event/:id', auth: 'server', handle: () => ({}) }),
  ];
  const path = '/_matrix/federation/v1/event/x';
  const alone = await serve(t, routes);
  const signed = { headers: { authorization: 'X-Matrix x' } };
  assert.deepEqual(await refusal(alone.origin + path, signed), [401, 'M_UNAUTHORIZED']);
  const checked = await serve(t, routes, { federationAuthenticator: () => Promise.reject(new Error('never asked')) });
  assert.deepEqual(await refusal(checked.origin + path), [401, 'M_UNAUTHORIZED']);
});

test('a reported address is believed only behind a proxy, and only the one the proxy saw', async (t) => {
  const path = '/_matrix/client/v3/ip';
  const routes = [route({ method: 'GET', path, auth: 'none', handle: ({ ip }) => ({ ip }) })];
  const direct = await serve(t, routes);
  const proxied = await serve(t, routes, {
    listeners: [{ port: 0, bindAddresses: ['127.0.0.1'], tls: undefined, xForwarded: true, resources: ['client'] }],
  });
  const from = async (origin: string, forwarded: string): Promise<unknown> =>
    (await ask(origin + path, { headers: { 'x-forwarded-for': forwarded } })).body;
  assert.deepEqual(await from(direct.origin, '203.0.113.9'), { ip: '127.0.0.1' });
  assert.deepEqual(await from(proxied.origin, '203.0.113.9'), { ip: '203.0.113.9' });
  assert.deepEqual(await from(proxied.origin, '10.0.0.1, 2001:db8::1'), { ip: '2001:db8::1' });
  assert.deepEqual(await from(proxied.origin, '203.0.113.9:4711'), { ip: '203.0.113.9' });
  assert.deepEqual(await from(proxied.origin, '[2001:db8::1]:443'), { ip: '2001:db8::1' });
  assert.deepEqual(await from(proxied.origin, 'unknown'), { ip: '127.0.0.1' });
});

test('tokens stand in no log line, whatever the request was', async (t) => {
  const { origin, lines } = await serve(t, [
    whoamiRoute,
    route({
      method: 'GET',
      path: '/_matrix/client/v3/broken',
      auth: 'none',
      handle: () => Promise.reject(new Error('oh')),
    }),
  ]);
  for (const path of [whoami, '/_matrix/client/v3/broken', '/nothing/here']) {
    await ask(`${origin}${path}?access_token=seCret`);
    await ask(origin + path, { headers: { authorization: 'Bearer seCret' } });
  }
  assert.equal(lines.filter(({ sentence }) => sentence === 'request done').length, 6);
  assert.doesNotMatch(JSON.stringify(lines), /seCret/);
});

test('the log has one line for each request, with the path as declared and who it was', async (t) => {
  const { origin, lines } = await serve(t, [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/rooms/:roomId/aliases',
      auth: 'user',
      handle: () => ({ aliases: [] }),
    }),
  ]);
  await ask(`${origin}/_matrix/client/r0/rooms/!private:home/aliases?x=1`, { headers: asAnn });
  const [line] = lines;
  assert.equal(lines.length, 1);
  assert.equal(line?.level, 'info');
  const { ms, bytes, requestId, listener, ...rest } = line?.data ?? {};
  assert.deepEqual(rest, {
    method: 'GET',
    path: '/_matrix/client/v3/rooms/:roomId/aliases',
    status: 200,
    requester: '@ann:home',
    ip: '127.0.0.1',
    aborted: false,
  });
  assert.equal(typeof ms, 'number');
  assert.ok(Number(bytes) > '{"aliases":[]}'.length);
  assert.equal(typeof requestId, 'string');
  assert.match(String(listener), /^\d+$/);
});

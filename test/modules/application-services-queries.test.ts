import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { ScriptedAppService } from '../kit/scripted-app-service.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const thirdParty = '/_matrix/client/v3/thirdparty';
const ping = '/_matrix/client/v1/appservice/bridge/ping';
const fields = { user_fields: ['nick'], location_fields: ['channel'], icon: 'mxc://hearth.test/icon' };

test('what several services say of one network is joined, and remembered', async () => {
  await using one = await ScriptedAppService.start({ id: 'one', protocols: ['irc'] });
  await using two = await ScriptedAppService.start({ id: 'two', protocols: ['irc', 'xmpp'] });
  await using dumb = await ScriptedAppService.start({ id: 'dumb', protocols: ['irc', 'smoke'] });
  const at = '/_matrix/app/v1/thirdparty/protocol/irc';
  one.on(({ path }) =>
    path === at ? { json: { ...fields, instances: [{ desc: 'A', network_id: 'a', fields: {} }] } } : undefined,
  );
  two.on(({ path }) => (path === at ? { json: { ...fields, instances: [{ desc: 'B' }, 'no instance'] } } : undefined));
  dumb.on(({ path }) => (path.includes('thirdparty') ? { json: ['not', 'an', 'object'] } : undefined));
  const files = [one.file, two.file, dumb.file];
  await using server = await TestServer.start({ config: { app_service_config_files: files } });
  const alice = await server.register('alice');
  expectError(await server.anonymous().get(`${thirdParty}/protocols`), 401, 'M_MISSING_TOKEN');
  const irc = {
    ...fields,
    instances: [{ desc: 'A', network_id: 'a', instance_id: 'one|a', fields: {} }, { desc: 'B' }],
  };
  assert.deepEqual(expectOk(await alice.get(`${thirdParty}/protocols`)), { irc });
  await two.hangUp();
  assert.deepEqual(expectOk(await alice.get(`${thirdParty}/protocol/irc`)), irc);
  assert.equal(one.heard.filter(({ path }) => path === at).length, 1);
  expectError(await alice.get(`${thirdParty}/protocol/smoke`), 404, 'M_NOT_FOUND');
  expectError(await alice.get(`${thirdParty}/protocol/icq`), 404, 'M_NOT_FOUND');
});

test('places and people of another network are found, both ways, and a dead service is left out', async () => {
  await using one = await ScriptedAppService.start({ id: 'one', protocols: ['irc'] });
  await using dead = await ScriptedAppService.start({ id: 'dead', protocols: ['irc'] });
  await dead.hangUp();
  const location = { alias: '#tea:hearth.test', protocol: 'irc', fields: { channel: '#tea' } };
  const user = { userid: '@_one_bob:hearth.test', protocol: 'irc', fields: { nick: 'bob' } };
  one.on(({ path, query }) => {
    if (!path.startsWith('/_matrix/app/v1/thirdparty/')) return undefined;
    const rest = path.slice('/_matrix/app/v1/thirdparty/'.length);
    const isAsked = query.get('channel') === '#tea' && query.getAll('network').join() === 'a,b';
    if (rest === 'location/irc') return { json: isAsked && query.get('access_token') === null ? [location] : [] };
    if (rest === 'user/irc') return { json: [user, { userid: 7 }] };
    if (rest === 'location') return { json: query.get('alias') === location.alias ? [location] : [] };
    if (rest === 'user') return { json: query.get('userid') === user.userid ? [user] : [] };
    return undefined;
  });
  await using server = await TestServer.start({ config: { app_service_config_files: [one.file, dead.file] } });
  const alice = await server.register('alice');
  const asked = `${thirdParty}/location/irc?channel=%23tea&network=a&network=b`;
  assert.deepEqual(expectOk(await alice.get(asked)), [location]);
  expectError(await alice.get(`${thirdParty}/location/irc`, { channel: 'other' }), 404, 'M_NOT_FOUND');
  assert.deepEqual(expectOk(await alice.get(`${thirdParty}/user/irc`, { nick: 'bob' })), [user]);
  expectError(await alice.get(`${thirdParty}/user/icq`), 404, 'M_NOT_FOUND');
  assert.deepEqual(expectOk(await alice.get(`${thirdParty}/location`, { alias: location.alias })), [location]);
  assert.deepEqual(expectOk(await alice.get(`${thirdParty}/user`, { userid: user.userid })), [user]);
  expectError(await alice.get(`${thirdParty}/user`, { userid: alice.userId }), 404, 'M_NOT_FOUND');
  expectError(await alice.get(`${thirdParty}/user`, {}), 400, 'M_MISSING_PARAM');
});

test('a service that asks to be pinged learns what is wrong', async () => {
  await using bridge = await ScriptedAppService.start();
  await using quiet = await ScriptedAppService.start({ id: 'quiet', url: null });
  const config = { app_service_config_files: [bridge.file, quiet.file] };
  await using server = await TestServer.start({ config });
  const bot = bridge.as(server);
  const done = expectOk(await bot.post(ping, { transaction_id: 'meow' }));
  assert.ok(Number.isInteger(done.duration_ms) && done.duration_ms >= 0);
  const heard = await bridge.until(({ path }) => path === '/_matrix/app/v1/ping');
  assert.deepEqual([heard.method, heard.body], ['POST', { transaction_id: 'meow' }]);
  assert.equal(heard.authorization, 'Bearer hs-token-of-bridge');
  const unstable = '/_matrix/client/unstable/fi.mau.msc2659/appservice/bridge/ping';
  expectOk(await bot.post(unstable, {}));

  expectError(await quiet.as(server).post(ping, {}), 403, 'M_FORBIDDEN');
  const alice = await server.register('alice');
  expectError(await alice.post(ping, {}), 403, 'M_FORBIDDEN');
  expectError(await server.anonymous().post(ping, {}), 401, 'M_MISSING_TOKEN');
  expectError(await quiet.as(server).post(ping.replace('bridge', 'quiet'), {}), 400, 'M_URL_NOT_SET');
  expectError(await bot.post(ping, { transaction_id: 7 }), 400, 'M_BAD_JSON');

  bridge.on(({ path }) => (path === '/_matrix/app/v1/ping' ? { status: 403, text: 'no, thanks' } : undefined));
  const refused = expectError(await bot.post(ping, {}), 502, 'M_BAD_STATUS');
  assert.deepEqual([refused.status, refused.body], [403, 'no, thanks']);
  await bridge.hangUp();
  expectError(await bot.post(ping, {}), 502, 'M_CONNECTION_FAILED');
});

test('a ping that is not answered ends in time', async () => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  // Takes the request and says nothing.
  const silent = createServer((request) => {
    if (request.url === '/_matrix/app/v1/ping') resolve();
  });
  await new Promise<void>((listening) => silent.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  try {
    await using bridge = await ScriptedAppService.start({ url });
    const clock = new ManualClock();
    await using server = await TestServer.start({ clock, config: { app_service_config_files: [bridge.file] } });
    const pinged = bridge.as(server).post(ping, {});
    await asked;
    await clock.advance(60_000);
    expectError(await pinged, 504, 'M_CONNECTION_TIMEOUT');
  } finally {
    silent.closeAllConnections();
    silent.close();
  }
});

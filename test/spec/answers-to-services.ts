import assert from 'node:assert/strict';
import type { Json } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { registerAdmin } from '../modules/room-directory-people.ts';
import { type Story, v1, v3 } from './answers-house.ts';
import { calledElsewhere } from './operations.ts';

/** What application services ask, and others ask of them. */
export async function appservices({ ex, bridge, server, alice, roomId }: Story): Promise<void> {
  const place = { alias: '#_bridge_tea:hearth.test', protocol: 'irc', fields: { channel: '#tea' } };
  const person = { userid: '@_bridge_bob:hearth.test', protocol: 'irc', fields: { nick: 'bob' } };
  bridge.on(({ path, query }) => {
    const [, what = ''] = /\/thirdparty\/(\w+)/.exec(path) ?? [];
    if (path.endsWith('/none') || query.has('nick', 'none')) return undefined;
    if ([...query.values()].some((value) => value.includes('none'))) return undefined;
    const instances = [{ desc: 'IRC', network_id: 'irc', fields: {} }];
    const network = {
      user_fields: ['nick'],
      location_fields: ['channel'],
      icon: 'mxc://a/b',
      field_types: {},
      instances,
    };
    const answers: Record<string, Json> = { protocol: network, location: [place], user: [person] };
    return answers[what] === undefined ? undefined : { json: answers[what] };
  });
  const bot = bridge.as(server);
  const ping = `POST ${v1}/appservice/:appserviceId/ping`;
  await ex.ok(bot, ping, { at: { appserviceId: 'bridge' }, body: { transaction_id: 'p1' } }, ['duration_ms']);
  await ex.no(alice, ping, { at: { appserviceId: 'bridge' } }, 403, 'M_FORBIDDEN');
  const listing = { at: { networkId: 'irc' }, body: { visibility: 'public' } };
  await ex.ok(bot, `PUT ${v3}/directory/list/appservice/:networkId/:roomId`, listing);
  await ex.no(alice, `PUT ${v3}/directory/list/appservice/:networkId/:roomId`, listing, 403, 'M_FORBIDDEN');
  const { chunk } = await ex.ok(alice, `POST ${v3}/publicRooms`, { body: { third_party_instance_id: 'bridge|irc' } });
  assert.equal(chunk[0].room_id, roomId);

  const lookups = `${v3}/thirdparty`;
  assert.deepEqual(Object.keys(await ex.ok(alice, `GET ${lookups}/protocols`)), ['irc']);
  await ex.no(server.anonymous(), `GET ${lookups}/protocols`, {}, 401, 'M_MISSING_TOKEN');
  const irc = { at: { protocol: 'irc' } };
  await ex.ok(alice, `GET ${lookups}/protocol/:protocol`, irc, ['user_fields', 'location_fields', 'icon', 'instances']);
  await ex.no(alice, `GET ${lookups}/protocol/:protocol`, { at: { protocol: 'none' } }, 404, 'M_NOT_FOUND');
  for (const [what, name, found] of [
    ['location', 'alias', place],
    ['user', 'userid', person],
  ] as const) {
    const asked = { query: { [name]: name === 'alias' ? place.alias : person.userid } };
    const sigil = name === 'alias' ? '#' : '@';
    assert.deepEqual(await ex.ok(alice, `GET ${lookups}/${what}`, asked), [found]);
    const none = { query: { [name]: `${sigil}none:hearth.test` } };
    await ex.no(alice, `GET ${lookups}/${what}`, none, 404, 'M_NOT_FOUND');
    assert.deepEqual(await ex.ok(alice, `GET ${lookups}/${what}/:protocol`, { ...irc, query: { nick: 'bob' } }), [
      found,
    ]);
    await ex.no(alice, `GET ${lookups}/${what}/:protocol`, { ...irc, query: { nick: 'none' } }, 404, 'M_NOT_FOUND');
  }
}

/** The other way round: what a homeserver asks of application services. */
export async function appservicesAreAsked({ ex, bridge, server, alice, nobody }: Story): Promise<void> {
  const missing = { at: { roomAlias: '#_bridge_none:hearth.test', userId: '@_bridge_none:hearth.test' } };
  await ex.no(nobody, `GET ${v3}/directory/room/:roomAlias`, missing, 404, 'M_NOT_FOUND');
  await ex.no(nobody, `GET ${v3}/profile/:userId`, missing, 404, 'M_NOT_FOUND');
  const roomId = await bridge.as(server).createRoom({ preset: 'public_chat' });
  await alice.join(roomId);
  await bridge.untilEvent(({ state_key: key }) => key === alice.userId);
  const operations = Object.entries(calledElsewhere)
    .filter(([path]) => path.startsWith('/_matrix/app/'))
    .flatMap(([path, methods]) => methods.map((method) => ({ method, path })));
  const lacking = operations.filter(({ method, path }) => {
    const pattern = new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`);
    return !bridge.heard.some((heard) => heard.method === method && pattern.test(heard.path));
  });
  assert.deepEqual(lacking, []);
  assert.ok(bridge.heard.every(({ authorization }) => authorization === `Bearer ${bridge.registration.hs_token}`));
}

/** Administration, and what a server says of itself. */
export async function others({ ex, server, bob, nobody }: Story): Promise<void> {
  const chief = await registerAdmin(server, 'chief');
  for (const [what, key] of [
    ['suspend', 'suspended'],
    ['lock', 'locked'],
  ] as const) {
    const path = `${v1}/admin/${what}/:userId`;
    await ex.ok(chief, `PUT ${path}`, { body: { [key]: true } });
    assert.deepEqual(await ex.ok(chief, `GET ${path}`), { [key]: true });
    await ex.ok(chief, `PUT ${path}`, { body: { [key]: false } });
    await ex.no(bob, `PUT ${path}`, { body: { [key]: true } }, 403, 'M_FORBIDDEN');
    await ex.no(bob, `GET ${path}`, {}, 403, 'M_FORBIDDEN');
  }
  await ex.ok(chief, `GET ${v3}/admin/whois/:userId`, {}, ['user_id', 'devices']);
  await ex.no(bob, `GET ${v3}/admin/whois/:userId`, {}, 403, 'M_FORBIDDEN');
  await ex.ok(bob, `GET ${v3}/capabilities`, {}, ['capabilities']);
  await ex.no(nobody, `GET ${v3}/capabilities`, {}, 401, 'M_MISSING_TOKEN');
  await ex.ok(bob, `GET ${v3}/voip/turnServer`, {}, ['username', 'password', 'uris', 'ttl']);
  await ex.no(nobody, `GET ${v3}/voip/turnServer`, {}, 401, 'M_MISSING_TOKEN');
  await ex.ok(nobody, 'GET /_matrix/client/versions', {}, ['versions', 'unstable_features']);
  await ex.ok(nobody, 'GET /.well-known/matrix/client', {}, ['m.homeserver']);
  await ex.ok(nobody, 'GET /.well-known/matrix/support', {}, ['contacts']);
  await ex.no(nobody, 'GET /.well-known/matrix/policy_server', {}, 404, 'M_NOT_FOUND');
  // One that has nothing to say of itself.
  await using plain = await TestServer.start();
  await ex.raw(plain.anonymous(), 'GET /.well-known/matrix/client', 404);
  await ex.raw(plain.anonymous(), 'GET /.well-known/matrix/support', 404);
}

import assert from 'node:assert/strict';
import type { Json } from '../kit/test-client.ts';
import { addEmail } from '../modules/mail-house.ts';
import { type Story, v1, v3 } from './answers-house.ts';

const dummy = { type: 'm.login.dummy' };
const passwordOf = (name: string): Json => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: name },
  password: `password of ${name}`,
});

/** Accounts, sessions and devices. */
export async function accounts({ ex, server, alice, nobody }: Story): Promise<void> {
  await ex.ok(nobody, `GET ${v3}/register/available`, { query: { username: 'carol' } }, ['available']);
  await ex.no(nobody, `GET ${v3}/register/available`, { query: { username: 'alice' } }, 400, 'M_USER_IN_USE');
  const carol = { username: 'carol', password: 'password of carol', auth: dummy };
  await ex.ok(nobody, `POST ${v3}/register`, { body: { ...carol, refresh_token: true } }, [
    'user_id',
    'access_token',
    'device_id',
    'refresh_token',
    'expires_in_ms',
  ]);
  await ex.no(nobody, `POST ${v3}/register`, { body: carol }, 400, 'M_USER_IN_USE');
  const validity = `GET ${v1}/register/m.login.registration_token/validity`;
  assert.equal((await ex.ok(nobody, validity, { query: { token: 'none' } }, ['valid'])).valid, false);
  await ex.no(nobody, validity, {}, 400, 'M_MISSING_PARAM');

  await ex.ok(nobody, `GET ${v3}/login`, {}, ['flows']);
  const session = await ex.ok(nobody, `POST ${v3}/login`, { body: { ...passwordOf('carol'), refresh_token: true } }, [
    'user_id',
    'access_token',
    'device_id',
    'refresh_token',
    'expires_in_ms',
  ]);
  await ex.no(nobody, `POST ${v3}/login`, { body: { ...passwordOf('carol'), password: 'x' } }, 403, 'M_FORBIDDEN');
  await ex.ok(nobody, `POST ${v3}/refresh`, { body: { refresh_token: session.refresh_token } }, ['access_token']);
  await ex.no(nobody, `POST ${v3}/refresh`, { body: { refresh_token: 'none' } }, 401, 'M_UNKNOWN_TOKEN');
  await ex.ok(alice, `POST ${v1}/login/get_token`, {}, ['login_token', 'expires_in_ms']);
  await ex.no(nobody, `POST ${v1}/login/get_token`, {}, 401, 'M_MISSING_TOKEN');
  for (const path of ['/login/sso/redirect', '/login/sso/redirect/:idpId']) {
    const asked = { at: { idpId: 'none' }, query: { redirectUrl: 'https://client.example/' } };
    await ex.raw(nobody, `GET ${v3}${path}`, 404, asked);
  }
  await ex.no(nobody, `GET ${v1}/auth_metadata`, {}, 404, 'M_UNRECOGNIZED');

  await ex.ok(alice, `GET ${v3}/account/whoami`, {}, ['user_id', 'device_id', 'is_guest']);
  await ex.no(nobody, `GET ${v3}/account/whoami`, {}, 401, 'M_MISSING_TOKEN');
  await ex.ok(alice, `GET ${v3}/devices`, {}, ['devices']);
  await ex.no(nobody, `GET ${v3}/devices`, {}, 401, 'M_MISSING_TOKEN');
  const here = { at: { deviceId: alice.deviceId } };
  const away = { at: { deviceId: 'NONE' } };
  const name = { body: { display_name: 'kitchen' } };
  await ex.ok(alice, `PUT ${v3}/devices/:deviceId`, { ...here, ...name });
  await ex.no(alice, `PUT ${v3}/devices/:deviceId`, { ...away, ...name }, 404, 'M_NOT_FOUND');
  assert.equal((await ex.ok(alice, `GET ${v3}/devices/:deviceId`, here, ['device_id'])).display_name, 'kitchen');
  await ex.no(alice, `GET ${v3}/devices/:deviceId`, away, 404, 'M_NOT_FOUND');

  const dave = await server.register('dave');
  const other = { deviceId: (await server.login('dave')).deviceId };
  const proof = { auth: passwordOf('dave') };
  await ex.raw(dave, `DELETE ${v3}/devices/:deviceId`, 401, { at: other });
  assert.equal((await dave.delete(`${v3}/devices/${other.deviceId}`, proof)).status, 200);
  ex.succeeded.add(`DELETE ${v3}/devices/:deviceId`);
  await ex.ok(dave, `POST ${v3}/delete_devices`, { body: { devices: ['NONE'], ...proof } });
  await ex.no(dave, `POST ${v3}/delete_devices`, { body: { devices: 'NONE' } }, 400, 'M_BAD_JSON');
  const weak = { new_password: '', ...proof };
  await ex.raw(dave, `POST ${v3}/account/password`, 400, { body: weak });
  await ex.ok(dave, `POST ${v3}/account/password`, { body: { new_password: 'password of dave', ...proof } });
  await ex.ok(await server.login('dave'), `POST ${v3}/logout`);
  await ex.no(nobody, `POST ${v3}/logout`, {}, 401, 'M_MISSING_TOKEN');
  await ex.ok(await server.login('dave'), `POST ${v3}/logout/all`);
  await ex.no(dave, `POST ${v3}/logout/all`, {}, 401, 'M_UNKNOWN_TOKEN');
  const again = await server.login('dave');
  await ex.raw(again, `POST ${v3}/account/deactivate`, 401);
  await ex.ok(again, `POST ${v3}/account/deactivate`, { body: proof }, ['id_server_unbind_result']);
  await ex.no(nobody, `POST ${v3}/login`, { body: passwordOf('dave') }, 403, 'M_USER_DEACTIVATED');
}

/** E-mail addresses and phone numbers. */
export async function addresses({ ex, server, sink, identity, alice, nobody }: Story): Promise<void> {
  const account = `${v3}/account/3pid`;
  const secret = { client_secret: 'secret', send_attempt: 1 };
  const phone = { ...secret, country: 'GB', phone_number: '07700900001' };
  await ex.ok(alice, `GET ${account}`, {}, ['threepids']);
  await ex.no(nobody, `GET ${account}`, {}, 401, 'M_MISSING_TOKEN');
  for (const path of [account, `${v3}/register`]) {
    await ex.ok(nobody, `POST ${path}/email/requestToken`, { body: { ...secret, email: 'new@example.org' } }, ['sid']);
    await ex.ok(nobody, `POST ${path}/msisdn/requestToken`, { body: phone }, ['sid']);
  }
  const unproved = { sid: 'none', client_secret: 'secret' };
  await ex.raw(alice, `POST ${account}`, 400, { body: { three_pid_creds: unproved } });
  await ex.ok(alice, `POST ${account}`, { body: { three_pid_creds: { ...unproved, sid: 'text' } } });
  await addEmail(server, sink, alice, 'alice@example.org');
  ex.succeeded.add(`POST ${account}/add`);
  await ex.raw(alice, `POST ${account}/add`, 401, { body: unproved });
  // A number in its national form means nothing here; only who sends the messages knows whose it is.
  const abroad = { ...phone, phone_number: '+447700900001' };
  const { threepids } = await ex.ok(alice, `GET ${account}`);
  assert.deepEqual(threepids.map(({ address }: Json) => address).sort(), ['447700900001', 'alice@example.org']);
  for (const path of [account, `${v3}/register`]) {
    const mail = { ...secret, email: 'alice@example.org' };
    await ex.no(nobody, `POST ${path}/email/requestToken`, { body: mail }, 400, 'M_THREEPID_IN_USE');
    await ex.no(nobody, `POST ${path}/msisdn/requestToken`, { body: abroad }, 400, 'M_THREEPID_IN_USE');
  }
  const forgotten = `${v3}/account/password`;
  const known = { ...secret, email: 'alice@example.org' };
  const strange = { ...secret, email: 'none@example.org' };
  await ex.ok(nobody, `POST ${forgotten}/email/requestToken`, { body: known }, ['sid']);
  await ex.no(nobody, `POST ${forgotten}/email/requestToken`, { body: strange }, 400, 'M_THREEPID_NOT_FOUND');
  await ex.ok(nobody, `POST ${forgotten}/msisdn/requestToken`, { body: abroad }, ['sid']);
  await ex.no(nobody, `POST ${forgotten}/msisdn/requestToken`, { body: secret }, 400, 'M_BAD_JSON');

  identity.validated.set('s1', { medium: 'email', address: 'alice@example.org' });
  const bound = { sid: 's1', client_secret: 'secret', id_server: identity.name, id_access_token: identity.token };
  await ex.ok(alice, `POST ${account}/bind`, { body: bound });
  await ex.no(alice, `POST ${account}/bind`, { body: { ...bound, sid: 'none' } }, 404, 'M_NO_VALID_SESSION');
  const address = { medium: 'email', address: 'alice@example.org' };
  for (const path of ['unbind', 'delete']) {
    await ex.no(alice, `POST ${account}/${path}`, { body: { medium: 'email' } }, 400, 'M_BAD_JSON');
    await ex.ok(alice, `POST ${account}/${path}`, { body: address }, ['id_server_unbind_result']);
  }
}

/** What users keep on their server, and show of themselves. */
export async function belongings({ ex, alice, bob, nobody }: Story): Promise<void> {
  for (const path of [`${v3}/user/:userId/account_data/:type`, `${v3}/user/:userId/rooms/:roomId/account_data/:type`]) {
    const at = { type: 'org.example.cup' };
    await ex.no(alice, `GET ${path}`, { at }, 404, 'M_NOT_FOUND');
    await ex.ok(alice, `PUT ${path}`, { at, body: { full: true } });
    assert.deepEqual(await ex.ok(alice, `GET ${path}`, { at }), { full: true });
    await ex.no(bob, `PUT ${path}`, { at, body: {} }, 403, 'M_FORBIDDEN');
    await ex.no(bob, `GET ${path}`, { at }, 403, 'M_FORBIDDEN');
  }
  const tags = `${v3}/user/:userId/rooms/:roomId/tags`;
  const tag = { at: { tag: 'm.favourite' } };
  await ex.ok(alice, `PUT ${tags}/:tag`, { ...tag, body: { order: 0.5 } });
  assert.deepEqual((await ex.ok(alice, `GET ${tags}`)).tags, { 'm.favourite': { order: 0.5 } });
  await ex.ok(alice, `DELETE ${tags}/:tag`, tag);
  await ex.no(bob, `PUT ${tags}/:tag`, tag, 403, 'M_FORBIDDEN');
  await ex.no(bob, `GET ${tags}`, {}, 403, 'M_FORBIDDEN');
  await ex.no(bob, `DELETE ${tags}/:tag`, tag, 403, 'M_FORBIDDEN');
  const filter = { room: { timeline: { limit: 3 } } };
  const { filter_id: filterId } = await ex.ok(alice, `POST ${v3}/user/:userId/filter`, { body: filter }, ['filter_id']);
  await ex.no(bob, `POST ${v3}/user/:userId/filter`, { body: filter }, 403, 'M_FORBIDDEN');
  assert.deepEqual(await ex.ok(alice, `GET ${v3}/user/:userId/filter/:filterId`, { at: { filterId } }), filter);
  await ex.no(alice, `GET ${v3}/user/:userId/filter/:filterId`, { at: { filterId: '77' } }, 404, 'M_NOT_FOUND');
  await ex.ok(alice, `POST ${v3}/user/:userId/openid/request_token`, {}, [
    'access_token',
    'token_type',
    'matrix_server_name',
    'expires_in',
  ]);
  await ex.no(bob, `POST ${v3}/user/:userId/openid/request_token`, {}, 403, 'M_FORBIDDEN');

  const profile = `${v3}/profile/:userId`;
  const key = { at: { keyName: 'displayname' } };
  await ex.ok(alice, `PUT ${profile}/:keyName`, { ...key, body: { displayname: 'Alice' } });
  await ex.no(bob, `PUT ${profile}/:keyName`, { ...key, body: { displayname: 'Mallory' } }, 403, 'M_FORBIDDEN');
  assert.deepEqual(await ex.ok(nobody, `GET ${profile}/:keyName`, key), { displayname: 'Alice' });
  assert.equal((await ex.ok(nobody, `GET ${profile}`)).displayname, 'Alice');
  const stranger = { at: { userId: '@none:hearth.test', keyName: 'displayname' } };
  await ex.no(nobody, `GET ${profile}`, stranger, 404, 'M_NOT_FOUND');
  await ex.no(nobody, `GET ${profile}/:keyName`, stranger, 404, 'M_NOT_FOUND');
  await ex.no(bob, `DELETE ${profile}/:keyName`, key, 403, 'M_FORBIDDEN');
  await ex.ok(alice, `DELETE ${profile}/:keyName`, key);
  const presence = `${v3}/presence/:userId/status`;
  await ex.ok(alice, `PUT ${presence}`, { body: { presence: 'unavailable', status_msg: 'tea' } });
  assert.equal((await ex.ok(bob, `GET ${presence}`)).status_msg, 'tea');
  await ex.no(bob, `PUT ${presence}`, { body: { presence: 'online' } }, 403, 'M_FORBIDDEN');
  await ex.no(bob, `GET ${presence}`, stranger, 403, 'M_FORBIDDEN');

  const rule = `${v3}/pushrules/global/:kind/:ruleId`;
  const at = { kind: 'content', ruleId: 'tea' };
  const none = { at: { ...at, ruleId: 'none' } };
  await ex.ok(alice, `PUT ${rule}`, { at, body: { actions: ['notify'], pattern: 'tea' } });
  await ex.no(alice, `PUT ${rule}`, { at, body: { actions: ['notify'] } }, 400, 'M_BAD_JSON');
  assert.equal((await ex.ok(alice, `GET ${rule}`, { at }, ['actions', 'default', 'enabled'])).pattern, 'tea');
  await ex.no(alice, `GET ${rule}`, none, 404, 'M_NOT_FOUND');
  for (const [part, value] of [
    ['enabled', false],
    ['actions', []],
  ] as const) {
    await ex.ok(alice, `PUT ${rule}/${part}`, { at, body: { [part]: value } });
    assert.deepEqual(await ex.ok(alice, `GET ${rule}/${part}`, { at }), { [part]: value });
    await ex.no(alice, `PUT ${rule}/${part}`, { ...none, body: { [part]: value } }, 404, 'M_NOT_FOUND');
    await ex.no(alice, `GET ${rule}/${part}`, none, 404, 'M_NOT_FOUND');
  }
  assert.equal(
    (await ex.ok(alice, `GET ${v3}/pushrules/global/`, {}, ['override', 'underride'])).content[0].rule_id,
    'tea',
  );
  await ex.ok(alice, `GET ${v3}/pushrules/`, {}, ['global']);
  for (const path of ['/pushrules/', '/pushrules/global/', '/pushers', '/notifications']) {
    await ex.no(nobody, `GET ${v3}${path}`, {}, 401, 'M_MISSING_TOKEN');
  }
  await ex.ok(alice, `DELETE ${rule}`, { at });
  await ex.no(alice, `DELETE ${rule}`, { at }, 404, 'M_NOT_FOUND');
  const pusher = {
    kind: 'http',
    app_id: 'org.example',
    pushkey: 'key',
    app_display_name: 'App',
    device_display_name: 'Phone',
    lang: 'en',
    data: { url: 'https://push.example/_matrix/push/v1/notify' },
  };
  await ex.ok(alice, `POST ${v3}/pushers/set`, { body: pusher });
  await ex.no(alice, `POST ${v3}/pushers/set`, { body: { ...pusher, data: {} } }, 400, 'M_MISSING_PARAM');
  assert.equal((await ex.ok(alice, `GET ${v3}/pushers`)).pushers[0].pushkey, 'key');
  await alice.post(`${v3}/pushers/set`, { ...pusher, kind: null });
  await ex.ok(bob, `GET ${v3}/notifications`, {}, ['notifications']);
}

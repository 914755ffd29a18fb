import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PushGateway, REACHES_GATEWAYS } from '../kit/push-gateway.ts';
import { type Answer, expectError, expectOk, type Json } from '../kit/test-client.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { TestServer } from '../kit/test-server.ts';
import { keysOf, listPushers, pair, setPusher } from './pushers-kit.ts';

const SET = '/_matrix/client/v3/pushers/set';

function pusher(pushkey: string, more: Json = {}): Json {
  return {
    kind: 'http',
    app_id: 'org.example.app',
    app_display_name: 'An app',
    device_display_name: 'A phone',
    profile_tag: 'tag',
    pushkey,
    lang: 'de',
    data: { url: 'https://push.example.org/_matrix/push/v1/notify', format: 'event_id_only', custom: 'kept' },
    ...more,
  };
}

test('a pusher is listed as it was set, changed by setting it again, and removed without a kind', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  assert.deepEqual(await listPushers(ann), []);
  await setPusher(ann, pusher('one'));
  await setPusher(ann, pusher('two', { profile_tag: undefined }));
  const enabled = { enabled: true, 'org.matrix.msc3881.enabled': true };
  const device = { device_id: ann.deviceId, 'org.matrix.msc3881.device_id': ann.deviceId };
  assert.deepEqual(await listPushers(ann), [
    { ...pusher('one'), ...enabled, ...device },
    { ...pusher('two', { profile_tag: '' }), ...enabled, ...device },
  ]);
  assert.deepEqual(await listPushers(bob), []);

  await setPusher(ann, pusher('one', { app_display_name: 'Another', lang: 'en' }));
  const [first] = await listPushers(ann);
  assert.deepEqual([first.app_display_name, first.lang], ['Another', 'en']);

  await server.restart();
  expectOk(await ann.post(SET, { kind: null, app_id: 'org.example.app', pushkey: 'one' }));
  expectOk(await ann.post(SET, { kind: null, app_id: 'org.example.app', pushkey: 'never there' }));
  assert.deepEqual(await keysOf(ann), ['two']);
});

test('a pusher that cannot be is refused with what is wrong about it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const refused = async (body: Json, errcode: string): Promise<string> =>
    expectError(await ann.post(SET, body), 400, errcode).error;
  for (const key of ['kind', 'app_id', 'pushkey', 'app_display_name', 'device_display_name', 'lang', 'data']) {
    const { [key]: _, ...rest } = pusher('one');
    assert.match(await refused(rest, 'M_MISSING_PARAM'), new RegExp(`\\b${key}\\b`));
  }
  assert.match(await refused({ kind: 'http', app_id: 'a', pushkey: 'b' }, 'M_MISSING_PARAM'), /lang, data/);
  await refused({ kind: null, app_id: 'a' }, 'M_MISSING_PARAM');
  await refused(pusher('one', { data: {} }), 'M_MISSING_PARAM');
  const url = 'push.example.org/_matrix/push/v1/notify';
  for (const wrong of [
    `http://${url}`,
    `ftp://${url}`,
    `https://${url}/`,
    'https://push.example.org/',
    `https://ann:secret@${url}`,
    'nowhere',
    7,
  ]) {
    await refused(pusher('one', { data: { url: wrong } }), 'M_INVALID_PARAM');
  }
  await refused(pusher('one', { app_id: 'x'.repeat(65) }), 'M_INVALID_PARAM');
  await refused(pusher('ü'.repeat(257)), 'M_INVALID_PARAM');
  await refused(pusher('one', { kind: 'pigeon' }), 'M_INVALID_PARAM');
  await refused(pusher('one', { lang: 7 }), 'M_INVALID_PARAM');
  await refused(pusher('one', { data: 'text' }), 'M_INVALID_PARAM');
  await refused(pusher('one', { append: 'yes' }), 'M_INVALID_PARAM');
  await refused(pusher('one', { enabled: 1 }), 'M_INVALID_PARAM');
  await refused(pusher('one', { data: { url: `https://${url}`, more: 'x'.repeat(20_000) } }), 'M_INVALID_PARAM');
  // Nobody gets mail about missed messages here.
  await refused(pusher('ann@example.org', { kind: 'email', app_id: 'm.email' }), 'M_INVALID_PARAM');
  expectError(await ann.post(SET, '['), 400, 'M_NOT_JSON');
  expectError(await server.anonymous().get('/_matrix/client/v3/pushers'), 401, 'M_MISSING_TOKEN');
  assert.deepEqual(await listPushers(ann), []);
  expectOk(await ann.post(SET, pusher('ü'.repeat(256), { app_id: 'ü'.repeat(64) })));
});

test('whoever logs in on somebody else’s phone takes its pusher over, unless both want theirs', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const cy = await server.register('cy');
  await setPusher(ann, pusher('phone'));
  await setPusher(ann, pusher('phone', { app_id: 'another app' }));
  await setPusher(bob, pusher('phone', { append: true }));
  assert.deepEqual([await keysOf(ann), await keysOf(bob)], [['phone', 'phone'], ['phone']]);
  await setPusher(cy, pusher('phone'));
  assert.deepEqual([await keysOf(ann), await keysOf(bob), await keysOf(cy)], [['phone'], [], ['phone']]);
});

test('nobody has more pushers than can be told of each message', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const ann = await server.register('ann');
  const set = async (pushkey: string): Promise<Answer> => {
    for (;;) {
      const answer = await ann.post(SET, pusher(pushkey));
      if (answer.status !== 429) return answer;
      await clock.advance(answer.body.retry_after_ms);
    }
  };
  for (let made = 0; made < 100; made += 1) expectOk(await set(`key ${made}`));
  expectError(await set('one too many'), 403, 'M_FORBIDDEN');
  // Those that are there can still be changed.
  expectOk(await set('key 7'));
});

test('a pusher goes with the device that made it: by logout, removal, or a new password; not with another', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  await setPusher(ann, pusher('own'));
  const phones = [await server.login('ann'), await server.login('ann'), await server.login('ann')] as const;
  for (const [at, phone] of phones.entries()) await setPusher(phone, pusher(`phone ${at}`));
  // Set from elsewhere, it stays with the device that it is for.
  await setPusher(ann, pusher('phone 2', { 'org.matrix.msc3881.enabled': false }));
  assert.equal((await listPushers(ann)).at(-1).device_id, phones[2].deviceId);

  expectOk(await phones[0].post('/_matrix/client/v3/logout'));
  assert.deepEqual(await keysOf(ann), ['own', 'phone 1', 'phone 2']);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  expectOk(await ann.delete(`/_matrix/client/v3/devices/${phones[1].deviceId}`, { auth }));
  assert.deepEqual(await keysOf(ann), ['own', 'phone 2']);
  expectOk(await ann.post('/_matrix/client/v3/account/password', { auth, new_password: 'another one altogether' }));
  assert.deepEqual(await keysOf(ann), ['own']);
});

test('a pusher can be stilled from another device, and goes on with what is new when it is not any more', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server, gateway);
  const laptop = await server.login('ann');
  await bob.send(room, 'one');
  await gateway.until(1);
  await setPusher(laptop, gateway.pusher('phone', { 'org.matrix.msc3881.enabled': false }));
  assert.deepEqual(
    (await listPushers(ann)).map((each) => [each['org.matrix.msc3881.enabled'], each['org.matrix.msc3881.device_id']]),
    [[false, ann.deviceId]],
  );
  await bob.send(room, 'two');
  await setPusher(laptop, gateway.pusher('phone', { 'org.matrix.msc3881.enabled': true }));
  await bob.send(room, 'three');
  await gateway.until(2);
  assert.deepEqual(gateway.bodies, ['one', 'three']);
});

test('a deactivated account leaves no pusher behind', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server, gateway);
  const cy = await server.register('cy');
  await ann.invite(room, cy.userId);
  await cy.join(room);
  await setPusher(cy, gateway.pusher('other'));
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  expectOk(await ann.post('/_matrix/client/v3/account/deactivate', { auth }));
  await bob.send(room, 'anybody there?');
  await gateway.until(({ content }) => content?.body === 'anybody there?');
  assert.deepEqual([...new Set(gateway.heard.map(({ devices }) => devices[0].pushkey))], ['other']);
});

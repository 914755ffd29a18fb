import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { MailSink } from '../kit/mail-sink.ts';
import { PushGateway, REACHES_GATEWAYS } from '../kit/push-gateway.ts';
import { expectError, expectOk, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { addEmail, linkTo, mailOptions, open } from './mail-house.ts';
import { pair } from './pushers-kit.ts';

const HOUR = 3_600_000;
const WHOAMI = '/_matrix/client/v3/account/whoami';
const SEND_MAIL = '/_matrix/client/unstable/account_validity/send_mail';
const VALIDITY = { account_validity: { enabled: true, period: '30h', renew_at: '7h' } };

async function registerAdmin(server: TestServer, username: string): Promise<TestClient> {
  const path = '/_synapse/admin/v1/register';
  const { nonce } = expectOk(await server.anonymous().get(path));
  const password = `password of ${username}`;
  const mac = createHmac('sha1', 'shared secret of the tests')
    .update([nonce, username, password, 'admin'].join('\0'))
    .digest('hex');
  expectOk(await server.anonymous().post(path, { nonce, username, password, admin: true, mac }));
  return server.login(username);
}

test('an account that has run out may only log out, until it is renewed by the link of a mail', async () => {
  const clock = new ManualClock();
  await using sink = await MailSink.start();
  await using server = await TestServer.start({ clock, config: { ...VALIDITY, ...mailOptions(sink) } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  await addEmail(server, sink, ann, 'ann@example.org');

  await clock.advance(24 * HOUR);
  const mail = await sink.next('ann@example.org');
  assert.match(mail.headers['subject'] ?? '', /Renew your Matrix account/);
  assert.match(mail.text, /Hello ann/);
  expectOk(await ann.get(WHOAMI));

  await clock.advance(7 * HOUR);
  expectError(await ann.get(WHOAMI), 403, 'ORG_MATRIX_EXPIRED_ACCOUNT');
  expectError(await bob.get(WHOAMI), 403, 'ORG_MATRIX_EXPIRED_ACCOUNT');
  expectOk(await bob.post('/_matrix/client/v3/logout'));

  assert.equal(
    (await open(`${server.baseUrl}/_matrix/client/unstable/account_validity/renew?token=wrong`)).status,
    404,
  );
  const renewed = await open(linkTo(server, mail));
  assert.equal(renewed.status, 200);
  assert.match(renewed.html, /is renewed/);
  expectOk(await ann.get(WHOAMI));
  await clock.advance(2 * HOUR);
  assert.match((await open(linkTo(server, mail))).html, /renewed before/);
  await clock.advance(28 * HOUR);
  expectError(await ann.get(WHOAMI), 403, 'ORG_MATRIX_EXPIRED_ACCOUNT');
});

test('what is said while an account has run out is not pushed, and not when it is renewed either', async () => {
  const clock = new ManualClock();
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({
    clock,
    config: { account_validity: { enabled: true, period: '30h' }, ...REACHES_GATEWAYS },
  });
  const root = await registerAdmin(server, 'root');
  const { ann, bob, room } = await pair(server, gateway);
  const renew = (who: TestClient, until: number) =>
    root.post('/_synapse/admin/v1/account_validity/validity', { user_id: who.userId, expiration_ts: until });
  expectOk(await renew(ann, clock.now() - 1));
  await bob.send(room, 'nobody is there');
  expectOk(await renew(ann, clock.now() + HOUR));
  await bob.send(room, 'welcome back');
  await gateway.until(1);
  assert.deepEqual(gateway.bodies, ['welcome back']);
});

test('somebody can ask for the mail themselves, even when it is too late', async () => {
  const clock = new ManualClock();
  await using sink = await MailSink.start();
  await using server = await TestServer.start({ clock, config: { ...VALIDITY, ...mailOptions(sink) } });
  const ann = await server.register('ann');
  expectError(await ann.post(SEND_MAIL), 400, 'M_THREEPID_NOT_FOUND');
  await addEmail(server, sink, ann, 'ann@example.org');
  await clock.advance(24 * HOUR);
  await sink.next('ann@example.org');
  await clock.advance(10 * HOUR);
  expectOk(await ann.post(SEND_MAIL));
  const mail = await sink.next('ann@example.org');
  await open(linkTo(server, mail));
  expectOk(await ann.get(WHOAMI));
});

test('an administrator sets how long an account lasts, and nobody else does', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock, config: VALIDITY });
  const ann = await registerAdmin(server, 'ann');
  const bob = await server.register('bob');
  const path = '/_synapse/admin/v1/account_validity/validity';
  expectError(await bob.post(path, { user_id: bob.userId }), 403, 'M_FORBIDDEN');
  expectError(await ann.post(path, { user_id: '@nobody:hearth.test' }), 404, 'M_NOT_FOUND');
  const until = clock.now() + 90 * HOUR;
  assert.deepEqual(expectOk(await ann.post(path, { user_id: bob.userId, expiration_ts: until })), {
    expiration_ts: until,
  });
  const renewed = expectOk(await ann.post(path, { user_id: ann.userId }));
  assert.equal(renewed.expiration_ts, clock.now() + 30 * HOUR);
  await clock.advance(60 * HOUR);
  expectOk(await bob.get(WHOAMI));
  expectError(await ann.get(WHOAMI), 403, 'ORG_MATRIX_EXPIRED_ACCOUNT');
});

test('accounts that were there before get a whole term', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const ann = await server.register('ann');
  await clock.advance(40 * HOUR);
  await server.restart(VALIDITY);
  expectOk(await ann.get(WHOAMI));
  await clock.advance(31 * HOUR);
  expectError(await ann.get(WHOAMI), 403, 'ORG_MATRIX_EXPIRED_ACCOUNT');
  await server.restart({ account_validity: { enabled: false } });
  expectOk(await ann.get(WHOAMI));
});

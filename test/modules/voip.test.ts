import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const TURN_SERVER = '/_matrix/client/v3/voip/turnServer';
const TRANSPORTS = '/_matrix/client/unstable/org.matrix.msc4143/rtc/transports';
const uris = ['turn:turn.hearth.test?transport=udp', 'turns:turn.hearth.test'];

test('clients get a name and password for the TURN server that it can check, and that expire', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({
    clock,
    config: { turn_uris: uris, turn_shared_secret: 'between us', turn_user_lifetime: '2h' },
  });
  const alice = await server.register('alice');
  const now = Math.floor(clock.now() / 1_000);
  const { username, password, ...rest } = expectOk(await alice.get(TURN_SERVER));
  assert.deepEqual(rest, { uris, ttl: 7_200 });
  assert.match(username, new RegExp(`^\\d+:${alice.userId}$`));
  const expiry = Number.parseInt(username, 10);
  assert.ok(expiry >= now + 7_200 && expiry <= Math.floor(clock.now() / 1_000) + 7_200);
  assert.equal(password, createHmac('sha1', 'between us').update(username).digest('base64'));
  expectError(await server.anonymous().get(TURN_SERVER), 401, 'M_MISSING_TOKEN');
});

test('a TURN server may have one name and password for all, and not be for guests', async () => {
  await using server = await TestServer.start({
    config: {
      turn_uris: uris,
      turn_username: 'house',
      turn_password: 'keys',
      turn_allow_guests: false,
      allow_guest_access: true,
    },
  });
  const alice = await server.register('alice');
  const answer = expectOk(await alice.get(TURN_SERVER));
  assert.deepEqual(answer, { username: 'house', password: 'keys', uris, ttl: 3_600 });
  const guest = await server.guest();
  expectError(await guest.get(TURN_SERVER), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  await server.restart({ turn_allow_guests: true });
  assert.deepEqual(expectOk(await guest.get(TURN_SERVER)), answer);
});

test('who asks again and again for a TURN server is told to wait', async () => {
  await using server = await TestServer.start({
    clock: new ManualClock(),
    config: { turn_uris: uris, turn_shared_secret: 's' },
  });
  const alice = await server.register('alice');
  for (let n = 0; n < 10; n += 1) expectOk(await alice.get(TURN_SERVER));
  expectError(await alice.get(TURN_SERVER), 429, 'M_LIMIT_EXCEEDED');
});

test('where there is no TURN server, or nothing to get in with, clients are told of none', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  assert.deepEqual(expectOk(await alice.get(TURN_SERVER)), {});
  assert.deepEqual(expectOk(await alice.get(TRANSPORTS)), { rtc_transports: [] });
  await server.restart({ turn_uris: uris });
  assert.deepEqual(expectOk(await alice.get(TURN_SERVER)), {});
});

test('clients learn what carries group calls, in the old place too', async () => {
  const transports = [{ type: 'livekit', livekit_service_url: 'https://calls.hearth.test' }];
  const config = { public_baseurl: 'https://hearth.test', matrix_rtc: { transports } };
  await using server = await TestServer.start({ config });
  const alice = await server.register('alice');
  assert.deepEqual(expectOk(await alice.get(TRANSPORTS)), { rtc_transports: transports });
  assert.deepEqual(expectOk(await alice.get('/_matrix/client/v1/rtc/transports')), { rtc_transports: transports });
  expectError(await server.anonymous().get(TRANSPORTS), 401, 'M_MISSING_TOKEN');
  const wellKnown = async () => expectOk(await server.anonymous().get('/.well-known/matrix/client'));
  assert.deepEqual((await wellKnown())['org.matrix.msc4143.rtc_foci'], transports);
  await server.restart({ extra_well_known_client_content: { 'org.matrix.msc4143.rtc_foci': [] } });
  assert.deepEqual((await wellKnown())['org.matrix.msc4143.rtc_foci'], []);
});

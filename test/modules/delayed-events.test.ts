import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const DELAYED = '/_matrix/client/unstable/org.matrix.msc4140/delayed_events';
const DELAY = 'org.matrix.msc4140.delay';

const withDelays = (clock: ManualClock, config: Json = {}): Promise<TestServer> =>
  TestServer.start({ clock, config: { max_event_delay_duration: '24h', ...config } });

const roomPath = (roomId: string, rest: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;

function sendLater(who: TestClient, roomId: string, body: string, delay: number, txn = body): Promise<Answer> {
  const path = roomPath(roomId, `send/m.room.message/${encodeURIComponent(txn)}`);
  return who.put(path, { msgtype: 'm.text', body }, { [DELAY]: delay });
}

function setLater(who: TestClient, roomId: string, key: string, content: Json, delay: number): Promise<Answer> {
  return who.put(roomPath(roomId, `state/org.example.call/${encodeURIComponent(key)}`), content, { [DELAY]: delay });
}

/** What was said in a room, oldest first. */
async function saidIn(who: TestClient, roomId: string): Promise<string[]> {
  const { chunk } = expectOk(await who.get(roomPath(roomId, 'messages'), { dir: 'f', limit: 100 }));
  return chunk.flatMap((event: Json) => (event.type === 'm.room.message' ? [event.content.body] : []));
}

const stateOf = (who: TestClient, roomId: string, key: string): Promise<Answer> =>
  who.get(roomPath(roomId, `state/org.example.call/${encodeURIComponent(key)}`));

test('a message that is to be sent later is sent when its time has come, and not before', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock);
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);

  const { delay_id: delayId } = expectOk(await sendLater(anna, roomId, 'The tea is ready', 240_000));
  assert.deepEqual(expectOk(await sendLater(anna, roomId, 'The tea is ready', 240_000)), { delay_id: delayId });
  const { delayed_events: waiting } = expectOk(await anna.get(DELAYED));
  assert.deepEqual(
    waiting.map(({ delay_id, room_id, type, delay, running_since, content }: Json) => [
      delay_id,
      room_id,
      type,
      delay,
      running_since,
      content.body,
    ]),
    [[delayId, roomId, 'm.room.message', 240_000, clock.now(), 'The tea is ready']],
  );
  assert.deepEqual(expectOk(await bob.get(DELAYED)).delayed_events, []);

  await clock.advance(239_000);
  assert.deepEqual(await saidIn(bob, roomId), []);
  await clock.advance(1_000);
  assert.deepEqual(await saidIn(bob, roomId), ['The tea is ready']);

  const { delayed_events: left, finalised } = expectOk(await anna.get(DELAYED));
  assert.deepEqual(left, []);
  assert.deepEqual(
    finalised.map(({ outcome, reason, delayed_event }: Json) => [outcome, reason, delayed_event.delay_id]),
    [['send', 'delay', delayId]],
  );
  // Only who sent it is told which one it was.
  const eventPath = roomPath(roomId, `event/${encodeURIComponent(finalised[0].event_id)}`);
  assert.equal(expectOk(await anna.get(eventPath)).unsigned['org.matrix.msc4140.delay_id'], delayId);
  assert.equal(expectOk(await bob.get(eventPath)).unsigned['org.matrix.msc4140.delay_id'], undefined);
  assert.equal(expectOk(await anna.get(`${DELAYED}/${delayId}`)).event_id, finalised[0].event_id);
  expectError(await bob.get(`${DELAYED}/${delayId}`), 404, 'M_NOT_FOUND');
});

test('the heartbeat of a call holds back the message that ends it, until the heart stops', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock);
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  const key = `_${anna.userId}_${anna.deviceId}`;
  await anna.setState(roomId, 'org.example.call', { in: true }, key);

  const { delay_id: delayId } = expectOk(await setLater(anna, roomId, key, {}, 8_000));
  for (let beat = 0; beat < 4; beat += 1) {
    await clock.advance(5_000);
    expectOk(await anna.post(`${DELAYED}/${delayId}/restart`));
  }
  assert.deepEqual(expectOk(await stateOf(anna, roomId, key)), { in: true });
  await clock.advance(8_000);
  assert.deepEqual(expectOk(await stateOf(anna, roomId, key)), {});
  expectError(await anna.post(`${DELAYED}/${delayId}/restart`), 404, 'M_NOT_FOUND');
  expectError(await anna.post(`${DELAYED}/${delayId}/cancel`), 404, 'M_NOT_FOUND');
  expectOk(await anna.post(`${DELAYED}/${delayId}/send`));
});

test('whoever knows the delay ID may act on it without an account, at once or never', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock, { rc_delayed_event_mgmt: { per_second: 0.01, burst_count: 6 } });
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  const passerBy = server.anonymous();
  const first = expectOk(await sendLater(anna, roomId, 'first', 60_000)).delay_id;
  const second = expectOk(await sendLater(anna, roomId, 'second', 60_000)).delay_id;

  expectOk(await passerBy.post(`${DELAYED}/${first}`, { action: 'send' }));
  assert.deepEqual(await saidIn(anna, roomId), ['first']);
  expectOk(await passerBy.post(`${DELAYED}/${second}/cancel`));
  expectOk(await passerBy.post(`${DELAYED}/${second}/cancel`));
  expectError(await passerBy.post(`${DELAYED}/${second}/send`), 404, 'M_NOT_FOUND');
  expectError(await passerBy.post(`${DELAYED}/nobody-knows-it/cancel`), 404, 'M_NOT_FOUND');
  expectError(await passerBy.post(`${DELAYED}/${second}`), 400, 'M_MISSING_PARAM');
  expectError(await passerBy.post(`${DELAYED}/${second}`, { action: 'explode' }), 400, 'M_INVALID_PARAM');
  expectError(await passerBy.post(`${DELAYED}/${second}/explode`), 404, 'M_UNRECOGNIZED');
  expectError(await passerBy.get(DELAYED), 401, 'M_MISSING_TOKEN');

  expectOk(await passerBy.post(`${DELAYED}/${first}/send`));
  expectError(await passerBy.post(`${DELAYED}/${first}/send`), 429, 'M_LIMIT_EXCEEDED');
  await clock.advance(120_000);
  assert.deepEqual(await saidIn(anna, roomId), ['first']);
  const { finalised } = expectOk(await anna.get(DELAYED, { status: 'finalised' }));
  assert.deepEqual(
    finalised.map(({ outcome, reason, delayed_event }: Json) => [delayed_event.content.body, outcome, reason]).sort(),
    [
      ['first', 'send', 'action'],
      ['second', 'cancel', 'action'],
    ],
  );
});

test('state that somebody else sets cancels what waits for the same key; one’s own does not', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock);
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat', power_level_content_override: { state_default: 0 } });
  await bob.join(roomId);

  const overtaken = expectOk(await setLater(anna, roomId, 'kitchen', { by: 'anna' }, 60_000)).delay_id;
  expectOk(await setLater(anna, roomId, 'attic', { by: 'anna, late' }, 60_000));
  await anna.setState(roomId, 'org.example.call', { by: 'anna, early' }, 'attic');
  await bob.setState(roomId, 'org.example.call', { by: 'bob' }, 'kitchen');
  await clock.advance(60_000);

  assert.deepEqual(expectOk(await stateOf(anna, roomId, 'kitchen')), { by: 'bob' });
  assert.deepEqual(expectOk(await stateOf(anna, roomId, 'attic')), { by: 'anna, late' });
  const { error } = expectOk(await anna.get(`${DELAYED}/${overtaken}`));
  assert.equal(error['org.matrix.msc4140.errcode'], 'M_CANCELLED_BY_STATE_UPDATE');
});

test('whether the sender may is seen when the time has come, and a refusal is kept for them', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock);
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);

  // Not yet allowed is no hindrance; not any more is one.
  const early = expectOk(await setLater(bob, roomId, 'door', { open: true }, 60_000)).delay_id;
  const late = expectOk(await sendLater(bob, roomId, 'Still here?', 120_000)).delay_id;
  expectError(await bob.post(`${DELAYED}/${early}/send`), 403, 'M_FORBIDDEN');
  const levels = expectOk(await anna.get(roomPath(roomId, 'state/m.room.power_levels/')));
  await anna.setState(roomId, 'm.room.power_levels', { ...levels, users: { ...levels.users, [bob.userId]: 50 } });
  await clock.advance(60_000);
  assert.deepEqual(expectOk(await stateOf(anna, roomId, 'door')), { open: true });

  expectOk(await anna.post(roomPath(roomId, 'kick'), { user_id: bob.userId }));
  await clock.advance(60_000);
  assert.deepEqual(await saidIn(anna, roomId), []);
  const refused = expectOk(await bob.get(`${DELAYED}/${late}`));
  assert.equal(refused.error.errcode, 'M_FORBIDDEN');
  assert.equal(refused.finalised.finalised_ts, clock.now());
});

test('a delay has its bounds, and so has the number of those who wait', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock, {
    max_event_delay_duration: '1h',
    hearth: { max_delayed_events_per_user: 2 },
  });
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom();

  const tooLong = expectError(await sendLater(anna, roomId, 'x', 3_600_001), 400, 'M_UNKNOWN');
  assert.equal(tooLong['org.matrix.msc4140.errcode'], 'M_MAX_DELAY_EXCEEDED');
  assert.equal(tooLong['org.matrix.msc4140.max_delay'], 3_600_000);
  expectError(await sendLater(anna, roomId, 'x', -1), 400, 'M_INVALID_PARAM');
  expectError(await sendLater(bob, roomId, 'x', 1_000), 403, 'M_FORBIDDEN');
  expectError(await anna.put(roomPath(roomId, 'send/m.room.message/y'), {}, { [DELAY]: 5 }), 400, 'M_BAD_JSON');

  expectOk(await sendLater(anna, roomId, 'one', 10_000));
  expectOk(await sendLater(anna, roomId, 'two', 20_000));
  const full = expectError(await sendLater(anna, roomId, 'three', 5_000), 429, 'M_LIMIT_EXCEEDED');
  assert.equal(full.retry_after_ms, 10_000);
  await clock.advance(10_000);
  expectOk(await sendLater(anna, roomId, 'three', 5_000));

  const { capabilities } = expectOk(await anna.get('/_matrix/client/v3/capabilities'));
  assert.deepEqual(capabilities['org.matrix.msc4140.delayed_events'], { max_delay_ms: 3_600_000, max_scheduled: 2 });
  const { unstable_features: features } = expectOk(await anna.get('/_matrix/client/versions'));
  assert.equal(features['org.matrix.msc4140'], true);
});

test('where delays are off nothing is sent later, nor said to be possible', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  expectError(await sendLater(anna, roomId, 'x', 1_000), 403, 'M_FORBIDDEN');
  const { unstable_features: features } = expectOk(await anna.get('/_matrix/client/versions'));
  assert.equal(features['org.matrix.msc4140'], false);
  const { capabilities } = expectOk(await anna.get('/_matrix/client/v3/capabilities'));
  assert.equal(capabilities['org.matrix.msc4140.delayed_events'], undefined);
});

test('what fell due while the server was off, or asleep, is sent once, in the order in which it was due', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock);
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  for (const [body, delay] of [
    ['third', 30_000],
    ['first', 10_000],
    ['second', 20_000],
    ['asleep', 90_000],
  ] as const) {
    expectOk(await sendLater(anna, roomId, body, delay));
  }
  await server.end();
  await clock.advance(45_000);
  await server.begin();
  await clock.advance(0);
  assert.deepEqual(await saidIn(anna, roomId), ['first', 'second', 'third']);
  await server.restart();
  await clock.advance(0);
  assert.deepEqual(await saidIn(anna, roomId), ['first', 'second', 'third']);

  clock.setWallClock(clock.now() + 3_600_000);
  server.wake();
  await clock.advance(0);
  assert.deepEqual(await saidIn(anna, roomId), ['first', 'second', 'third', 'asleep']);
});

test('what falls due all at once is sent, though it is more than somebody may say at once', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock, { rc_message: { per_second: 1, burst_count: 4 } });
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  const bodies = Array.from({ length: 12 }, (_, n) => `message ${n}`);
  for (const [n, body] of bodies.entries()) {
    expectOk(await sendLater(anna, roomId, body, 60_000 - n));
    await clock.advance(1_000);
  }
  await server.end();
  await clock.advance(120_000);
  await server.begin();
  await clock.advance(0);
  assert.deepEqual(await saidIn(anna, roomId), bodies);
});

test('an invitation that comes with too many others waits for its turn', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock, {
    rc_invites: { per_issuer: { per_second: 0.02, burst_count: 2 } },
  });
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  const guests: TestClient[] = [];
  for (const name of ['bob', 'carl', 'dora']) guests.push(await server.register(name));
  for (const { userId } of guests) {
    const path = roomPath(roomId, `state/m.room.member/${encodeURIComponent(userId)}`);
    expectOk(await anna.put(path, { membership: 'invite' }, { [DELAY]: 10_000 }));
  }
  expectOk(await sendLater(anna, roomId, 'Who comes?', 11_000));
  const countInvited = async (): Promise<number> => {
    const answers = await Promise.all(guests.map((guest) => guest.sync()));
    return answers.filter(({ rooms }) => rooms?.invite?.[roomId] !== undefined).length;
  };
  await clock.advance(11_000);
  assert.equal(await countInvited(), 2);
  assert.deepEqual(await saidIn(anna, roomId), ['Who comes?']);
  await clock.advance(60_000);
  assert.equal(await countInvited(), 3);
});

test('redactions, memberships and the proposal’s own operation can be delayed as well', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock);
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const eventId = await anna.send(roomId, 'This goes away');

  const redaction = roomPath(roomId, 'send/m.room.redaction/r1');
  expectOk(await anna.put(redaction, { redacts: eventId }, { [DELAY]: 10_000 }));
  expectError(await anna.put(redaction, {}, { [DELAY]: 10_000 }), 400, 'M_BAD_JSON');
  const membership = roomPath(roomId, `state/m.room.member/${encodeURIComponent(bob.userId)}`);
  expectOk(await bob.put(membership, { membership: 'leave' }, { [DELAY]: 10_000 }));
  const newest = `/_matrix/client/unstable/org.matrix.msc4140/rooms/${encodeURIComponent(roomId)}/delayed_event`;
  const state = { delay_ms: 10_000, state_key: 'k', content: { in: false } };
  const { delay_id: delayId } = expectOk(await anna.put(`${newest}/org.example.call/t`, state));
  assert.equal(expectOk(await anna.get(`${DELAYED}/${delayId}`)).state_key, 'k');
  expectError(await anna.put(`${newest}/org.example.call/u`, { ...state, delay_ms: 0 }), 400, 'M_BAD_JSON');

  await clock.advance(10_000);
  assert.deepEqual(expectOk(await anna.get(roomPath(roomId, `event/${encodeURIComponent(eventId)}`))).content, {});
  const { joined } = expectOk(await anna.get(roomPath(roomId, 'joined_members')));
  assert.deepEqual(Object.keys(joined), [anna.userId]);
  assert.deepEqual(expectOk(await stateOf(anna, roomId, 'k')), { in: false });
});

test('what an account has scheduled goes with the account', async () => {
  const clock = new ManualClock();
  await using server = await withDelays(clock);
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const delayId = expectOk(await sendLater(bob, roomId, 'I was here', 60_000)).delay_id;
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'bob' },
    password: 'password of bob',
  };
  expectOk(await bob.post('/_matrix/client/v3/account/deactivate', { auth }));
  expectError(await server.anonymous().post(`${DELAYED}/${delayId}/send`), 404, 'M_NOT_FOUND');
  await clock.advance(60_000);
  assert.deepEqual(await saidIn(anna, roomId), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { deviceKeysOf, Identity, KEYS, oneTimeKeys, signed, upload } from './encryption-kit.ts';

const NOTHING = { changed: [], left: [] };

/** Somebody's client that remembers where it is in the stream, and says whose devices it was told of. */
class Follower {
  readonly client: TestClient;
  since = '';

  constructor(client: TestClient) {
    this.client = client;
  }

  static async of(client: TestClient): Promise<Follower> {
    const follower = new Follower(client);
    const answer = await client.sync();
    assert.equal(answer.device_lists, undefined, 'who knows nothing is told of no change');
    follower.since = answer.next_batch;
    return follower;
  }

  /** The `device_lists` of the next sync, and, which has to be the same, of /keys/changes for the same time. */
  async next(timeout = 0): Promise<Json> {
    const from = this.since;
    const answer = await this.client.sync({ since: from, timeout, signal: AbortSignal.timeout(20_000) });
    this.since = answer.next_batch;
    const told = sorted(answer.device_lists ?? NOTHING);
    assert.deepEqual(sorted(expectOk(await this.client.get(`${KEYS}/changes`, { from, to: this.since }))), told);
    return told;
  }
}

function sorted({ changed = [], left = [] }: Json): Json {
  return { changed: changed.toSorted(), left: left.toSorted() };
}

async function people(server: TestServer): Promise<{ ann: TestClient; bob: TestClient; carol: TestClient }> {
  const ann = await server.register('ann', { device_id: 'ANNS' });
  const bob = await server.register('bob', { device_id: 'BOBS' });
  return { ann, bob, carol: await server.register('carol') };
}

async function roomOf(host: TestClient, ...others: readonly TestClient[]): Promise<string> {
  const roomId = await host.createRoom({ preset: 'public_chat' });
  for (const other of others) await other.join(roomId);
  return roomId;
}

test('who shares a room hears of each change of a user’s devices and keys, and nobody else does', async () => {
  await using server = await TestServer.start();
  const { ann, bob, carol } = await people(server);
  await roomOf(ann, bob);
  await roomOf(carol);
  const followers = await Promise.all([ann, bob, carol].map((client) => Follower.of(client)));
  const tell = async (what: string, act: () => Promise<unknown>, changed: string[] = [ann.userId]): Promise<void> => {
    await act();
    const [toAnn, toBob, toCarol] = await Promise.all(followers.map((follower) => follower.next()));
    assert.deepEqual(toAnn, { changed, left: [] }, `${what}, to Ann`);
    assert.deepEqual(toBob, { changed, left: [] }, `${what}, to Bob`);
    assert.deepEqual(toCarol, NOTHING, `${what}, to Carol`);
  };
  const keys = deviceKeysOf(ann);
  const identity = new Identity(ann.userId);
  let laptop = ann;
  await tell('a login', async () => {
    laptop = await server.login('ann', { device_id: 'LAPTOP' });
  });
  await tell('device keys', () => upload(ann, { device_keys: keys }));
  await tell('the same device keys', () => upload(ann, { device_keys: keys }), []);
  await tell('one-time keys', () => upload(ann, { one_time_keys: oneTimeKeys(ann, 2) }), []);
  await tell('a name', async () =>
    expectOk(await ann.put('/_matrix/client/v3/devices/LAPTOP', { display_name: 'Laptop' })),
  );
  await tell('cross-signing keys', () => identity.publish(ann));
  await tell('the same cross-signing keys', () => identity.publish(ann), []);
  await tell('a signature of her own', async () => {
    const { publicKeyBase64: name } = identity.selfSigning;
    const body = { [ann.userId]: { ANNS: signed(keys, ann.userId, name, identity.selfSigning) } };
    assert.deepEqual(expectOk(await ann.post(`${KEYS}/signatures/upload`, body)).failures, {});
  });
  await tell('a logout', async () => expectOk(await laptop.post('/_matrix/client/v3/logout')));
});

test('a user-signing key, and what is signed with it, is news for its owner alone', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  await roomOf(ann, bob);
  const anns = new Identity(ann.userId);
  const bobs = new Identity(bob.userId);
  expectOk(
    await ann.post(`${KEYS}/device_signing/upload`, {
      master_key: anns.masterKey,
      self_signing_key: anns.selfSigningKey,
    }),
  );
  await bobs.publish(bob);
  const [toAnn, toBob] = [await Follower.of(ann), await Follower.of(bob)];
  const proof = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  const body = { user_signing_key: anns.userSigningKey, auth: proof };
  expectOk(await ann.post(`${KEYS}/device_signing/upload`, body));
  assert.deepEqual(await toAnn.next(), { changed: [ann.userId], left: [] });
  assert.deepEqual(await toBob.next(), NOTHING);

  const sign = async (): Promise<void> => {
    const { publicKeyBase64: name } = anns.userSigning;
    const byAnn = signed(bobs.masterKey, ann.userId, name, anns.userSigning);
    const signatures = { [bob.userId]: { [bobs.master.publicKeyBase64]: byAnn } };
    assert.deepEqual(expectOk(await ann.post(`${KEYS}/signatures/upload`, signatures)), { failures: {} });
  };
  await sign();
  assert.deepEqual(await toAnn.next(), { changed: [bob.userId], left: [] });
  assert.deepEqual(await toBob.next(), NOTHING);
});

test('a change wakes the waiting clients of those who share a room', async () => {
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { ann, bob, carol } = await people(server);
  await roomOf(ann, bob);
  const [toBob, toCarol] = [await Follower.of(bob), await Follower.of(carol)];
  const timers = clock.pending;
  const bobWaits = toBob.next(30_000);
  const carolWaits = toCarol.next(30_000);
  while (clock.pending < timers + 2) await new Promise((resolve) => setImmediate(resolve));
  await upload(ann, { device_keys: deviceKeysOf(ann) });
  assert.deepEqual(await bobWaits, { changed: [ann.userId], left: [] });
  await clock.advance(30_000);
  assert.deepEqual(await carolWaits, NOTHING);
});

test('who comes to share a room is news to those in it, and they to them; who no longer does has left', async () => {
  await using server = await TestServer.start();
  const { ann, bob, carol } = await people(server);
  const [toAnn, toBob, toCarol] = [await Follower.of(ann), await Follower.of(bob), await Follower.of(carol)];
  const first = await roomOf(ann, bob);
  assert.deepEqual(await toAnn.next(), { changed: [bob.userId], left: [] });
  assert.deepEqual(await toBob.next(), { changed: [ann.userId], left: [] });

  // A second room with the same people changes nothing between them.
  const second = await roomOf(ann, bob);
  assert.deepEqual(await toAnn.next(), NOTHING);
  await carol.join(second);
  assert.deepEqual(await toCarol.next(), { changed: [ann.userId, bob.userId], left: [] });
  assert.deepEqual(await toBob.next(), { changed: [carol.userId], left: [] });
  assert.deepEqual(await toAnn.next(), { changed: [carol.userId], left: [] });

  await bob.leave(second);
  assert.deepEqual(await toAnn.next(), NOTHING, 'they still share the first room');
  assert.deepEqual(await toBob.next(), { changed: [], left: [carol.userId] });
  assert.deepEqual(await toCarol.next(), { changed: [], left: [bob.userId] });
  await bob.leave(first);
  assert.deepEqual(await toAnn.next(), { changed: [], left: [bob.userId] });
  assert.deepEqual(await toBob.next(), { changed: [], left: [ann.userId] });

  // What Bob does now is no longer theirs to know.
  await upload(bob, { device_keys: deviceKeysOf(bob) });
  assert.deepEqual(await toAnn.next(), NOTHING);
  assert.deepEqual(await toBob.next(), { changed: [bob.userId], left: [] });
});

test('an invitation does not make people share a room', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const room = await ann.createRoom({ invite: [bob.userId] });
  const [toAnn, toBob] = [await Follower.of(ann), await Follower.of(bob)];
  await upload(bob, { device_keys: deviceKeysOf(bob) });
  assert.deepEqual(await toAnn.next(), NOTHING);
  assert.deepEqual(await toBob.next(), { changed: [bob.userId], left: [] });
  await bob.join(room);
  assert.deepEqual(await toAnn.next(), { changed: [bob.userId], left: [] });
});

test('a change made while away is told when they meet again', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const room = await roomOf(ann, bob);
  const toAnn = await Follower.of(ann);
  await bob.leave(room);
  await upload(bob, { device_keys: deviceKeysOf(bob) });
  await bob.join(room);
  assert.deepEqual(await toAnn.next(), { changed: [bob.userId], left: [] });

  await bob.leave(room);
  assert.deepEqual(await toAnn.next(), { changed: [], left: [bob.userId] });
  await upload(bob, { device_keys: deviceKeysOf(bob) });
  await bob.join(room);
  assert.deepEqual(await toAnn.next(), { changed: [bob.userId], left: [] });
});

test('what changed while a client was away, it learns with the token it has kept, after a restart too', async () => {
  await using server = await TestServer.start();
  const { ann, bob, carol } = await people(server);
  await roomOf(ann, bob, carol);
  const toAnn = await Follower.of(ann);
  await upload(bob, { device_keys: deviceKeysOf(bob) });
  await server.restart();
  await upload(carol, { device_keys: deviceKeysOf(carol) });
  await upload(bob, { device_keys: deviceKeysOf(bob) });
  assert.deepEqual(await toAnn.next(), { changed: [bob.userId, carol.userId], left: [] });
  assert.deepEqual(await toAnn.next(), NOTHING);
});

test('the account that is closed changes for the last time', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  await roomOf(ann, bob);
  await new Identity(bob.userId).publish(bob);
  const toAnn = await Follower.of(ann);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'bob' },
    password: 'password of bob',
  };
  expectOk(await bob.post('/_matrix/client/v3/account/deactivate', { auth }));
  const { changed, left } = await toAnn.next();
  // He leaves the room in the background, so she may have been told of both already.
  assert.deepEqual([...changed, ...left], [bob.userId]);
});

test('/keys/changes wants two tokens', async () => {
  await using server = await TestServer.start();
  const { ann } = await people(server);
  const { next_batch: token } = await ann.sync();
  const changes = `${KEYS}/changes`;
  expectError(await ann.get(changes, { from: token }), 400, 'M_MISSING_PARAM');
  expectError(await ann.get(changes, { to: token }), 400, 'M_MISSING_PARAM');
  expectError(await ann.get(changes, { from: 'nonsense', to: token }), 400, 'M_INVALID_PARAM');
  expectError(await ann.get(changes, { from: token, to: 'nonsense' }), 400, 'M_INVALID_PARAM');
  expectError(await server.anonymous().get(changes, { from: token, to: token }), 401, 'M_MISSING_TOKEN');
  assert.deepEqual(expectOk(await ann.get(changes, { from: token, to: token })), NOTHING);
});

test('who left and came back before one looked again is met anew, and who took another name is not', async () => {
  await using server = await TestServer.start();
  const { ann, bob, carol } = await people(server);
  const roomId = await roomOf(ann, bob, carol);
  const follower = await Follower.of(ann);
  const profile = `/_matrix/client/v3/profile/${encodeURIComponent(carol.userId)}/displayname`;
  expectOk(await carol.put(profile, { displayname: 'Carola' }));
  assert.deepEqual(await follower.next(), NOTHING);
  expectOk(await bob.post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/leave`, {}));
  await bob.join(roomId);
  assert.deepEqual(await follower.next(), { changed: [bob.userId], left: [] });
});

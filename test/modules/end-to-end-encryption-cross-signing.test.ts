import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../server/matrix/json.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { bare, deviceKeysOf, Identity, KEYS, newKey, query, signed, upload } from './encryption-kit.ts';

const UPLOAD = `${KEYS}/device_signing/upload`;
const SIGNATURES = `${KEYS}/signatures/upload`;

function passwordOf({ userId }: TestClient): Json {
  const user = userId.slice(1, userId.indexOf(':'));
  return { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password: `password of ${user}` };
}

async function people(server: TestServer): Promise<{ ann: TestClient; bob: TestClient }> {
  return {
    ann: await server.register('ann', { device_id: 'ANNS' }),
    bob: await server.register('bob', { device_id: 'BOBS' }),
  };
}

/** What `viewer` gets of somebody's keys. */
async function keysOf(viewer: TestClient, userId: string): Promise<Json> {
  const found = await query(viewer, userId);
  return {
    master: found.master_keys[userId],
    selfSigning: found.self_signing_keys[userId],
    userSigning: found.user_signing_keys[userId],
    devices: found.device_keys[userId],
  };
}

test('the first cross-signing keys need no proof, and the user-signing key is its owner’s alone', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const identity = new Identity(ann.userId);
  expectOk(await ann.post(UPLOAD, identity.keys));
  // The answer was lost, so the same comes once more; some clients say "no proof yet" with null.
  expectOk(await ann.post(UPLOAD, { ...identity.keys, auth: null }));
  expectOk(await ann.post(UPLOAD, { self_signing_key: identity.selfSigningKey }));
  const { masterKey, selfSigningKey, userSigningKey } = identity;
  assert.deepEqual(await keysOf(ann, ann.userId), {
    master: masterKey,
    selfSigning: selfSigningKey,
    userSigning: userSigningKey,
    devices: {},
  });
  assert.deepEqual(await keysOf(bob, ann.userId), {
    master: masterKey,
    selfSigning: selfSigningKey,
    userSigning: undefined,
    devices: {},
  });
});

test('proof that comes with the first keys is not looked at', async () => {
  await using server = await TestServer.start();
  const { ann } = await people(server);
  const { keys } = new Identity(ann.userId);
  expectOk(await ann.post(UPLOAD, { ...keys, auth: { type: 'm.login.dummy' } }));
});

test('other keys in the place of those there are want proof, even right after a login', async () => {
  await using server = await TestServer.start({ config: { ui_auth: { session_timeout: '1h' } } });
  const { ann, bob } = await people(server);
  const old = new Identity(ann.userId);
  await old.publish(ann);
  const next = new Identity(ann.userId);
  const begun = await ann.post(UPLOAD, next.keys);
  assert.equal(begun.status, 401);
  assert.ok(begun.body.flows.some(({ stages }: Json) => stages.includes('m.login.password')));
  assert.deepEqual((await keysOf(bob, ann.userId)).master, old.masterKey);

  const wrong = { ...passwordOf(ann), password: 'guess', session: begun.body.session };
  const refused = await ann.post(UPLOAD, { ...next.keys, auth: wrong });
  assert.deepEqual([refused.status, refused.body.errcode], [401, 'M_FORBIDDEN']);
  expectOk(await ann.post(UPLOAD, { ...next.keys, auth: { ...passwordOf(ann), session: begun.body.session } }));
  assert.deepEqual((await keysOf(bob, ann.userId)).master, next.masterKey);
  // Done before: nothing new is asked for.
  expectOk(await ann.post(UPLOAD, next.keys));
});

test('the proof may come without the keys, which the session remembers', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  await new Identity(ann.userId).publish(ann);
  const next = new Identity(ann.userId);
  const { session } = (await ann.post(UPLOAD, next.keys)).body;
  expectOk(await ann.post(UPLOAD, { auth: { ...passwordOf(ann), session } }));
  assert.deepEqual((await keysOf(bob, ann.userId)).selfSigning, next.selfSigningKey);
});

test('to add a key, or to change one of them, wants proof as well', async () => {
  await using server = await TestServer.start();
  const { ann } = await people(server);
  const identity = new Identity(ann.userId);
  expectOk(await ann.post(UPLOAD, { master_key: identity.masterKey }));
  for (const body of [
    { self_signing_key: identity.selfSigningKey },
    { master_key: identity.masterKey, user_signing_key: identity.userSigningKey },
  ]) {
    assert.equal((await ann.post(UPLOAD, body)).status, 401);
    expectOk(await ann.post(UPLOAD, { ...body, auth: passwordOf(ann) }));
    expectOk(await ann.post(UPLOAD, body));
  }
  const other = new Identity(ann.userId, { master: identity.master });
  const change = { master_key: identity.masterKey, self_signing_key: other.selfSigningKey };
  assert.equal((await ann.post(UPLOAD, change)).status, 401);
  assert.deepEqual((await keysOf(ann, ann.userId)).selfSigning, identity.selfSigningKey);
});

test('keys that are not right are refused before any proof is asked for', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const identity = new Identity(ann.userId);
  const { masterKey, selfSigningKey, keys } = identity;
  const refuse = async (body: Json, errcode: string, status = 400): Promise<void> => {
    expectError(await ann.post(UPLOAD, body), status, errcode);
  };
  await refuse({}, 'M_MISSING_PARAM');
  await refuse({ self_signing_key: selfSigningKey }, 'M_MISSING_PARAM');
  await refuse({ master_key: 'key' }, 'M_INVALID_PARAM');
  await refuse({ master_key: new Identity(bob.userId).masterKey }, 'M_INVALID_PARAM');
  await refuse({ master_key: { ...masterKey, usage: ['self_signing'] } }, 'M_INVALID_PARAM');
  await refuse({ master_key: { ...masterKey, usage: 'master' } }, 'M_INVALID_PARAM');
  await refuse({ master_key: { ...masterKey, keys: {} } }, 'M_INVALID_PARAM');
  await refuse({ master_key: { ...masterKey, keys: { 'ed25519:other': 'name' } } }, 'M_INVALID_PARAM');
  await refuse({ master_key: { ...masterKey, keys: { 'ed25519:short': 'short' } } }, 'M_INVALID_PARAM');
  const { publicKeyBase64: one } = newKey();
  const { publicKeyBase64: two } = newKey();
  const pair = { [`ed25519:${one}`]: one, [`ed25519:${two}`]: two };
  await refuse({ master_key: { ...masterKey, keys: pair } }, 'M_INVALID_PARAM');
  await refuse({ master_key: { ...masterKey, weight: 0.5 } }, 'M_BAD_JSON');
  await refuse({ ...keys, self_signing_key: bare(selfSigningKey) }, 'M_INVALID_SIGNATURE');
  const stranger = newKey();
  const forged = signed(bare(selfSigningKey), ann.userId, identity.master.publicKeyBase64, stranger);
  await refuse({ ...keys, self_signing_key: forged }, 'M_INVALID_SIGNATURE');
  await refuse({ ...keys, user_signing_key: { ...identity.userSigningKey, more: 1 } }, 'M_INVALID_SIGNATURE');
  assert.equal((await keysOf(ann, ann.userId)).master, undefined);

  await identity.publish(ann);
  await refuse({ self_signing_key: new Identity(ann.userId).selfSigningKey }, 'M_INVALID_SIGNATURE');
  await refuse({ master_key: { ...new Identity(ann.userId).masterKey, usage: [] } }, 'M_INVALID_PARAM');
});

test('a device and a cross-signing key of one user cannot have the same name', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const identity = new Identity(ann.userId);
  const name = identity.selfSigning.publicKeyBase64;
  const device = await server.login('ann', { device_id: name });
  expectError(await ann.post(UPLOAD, identity.keys), 403, 'M_FORBIDDEN');
  expectOk(await device.post('/_matrix/client/v3/logout'));
  await identity.publish(ann);
  expectError(
    await server.anonymous().post('/_matrix/client/v3/login', { ...passwordOf(ann), device_id: name }),
    403,
    'M_FORBIDDEN',
  );
  // That of somebody else is no matter.
  await server.login('bob', { device_id: name });
  expectOk(await bob.get(`/_matrix/client/v3/devices/${encodeURIComponent(name)}`));
});

test('signatures are shown to those whom they concern', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const carol = await server.register('carol');
  const annsDevice = newKey();
  const deviceKeys = deviceKeysOf(ann, annsDevice);
  await upload(ann, { device_keys: deviceKeys });
  const anns = new Identity(ann.userId);
  const bobs = new Identity(bob.userId);
  await anns.publish(ann);
  await bobs.publish(bob);

  const byOwner = signed(bare(deviceKeys), ann.userId, anns.selfSigning.publicKeyBase64, anns.selfSigning);
  const byDevice = signed(anns.masterKey, ann.userId, 'ANNS', annsDevice);
  const byAnn = signed(bobs.masterKey, ann.userId, anns.userSigning.publicKeyBase64, anns.userSigning);
  const answer = expectOk(
    await ann.post(SIGNATURES, {
      [ann.userId]: { ANNS: byOwner, [anns.master.publicKeyBase64]: byDevice },
      [bob.userId]: { [bobs.master.publicKeyBase64]: byAnn },
    }),
  );
  assert.deepEqual(answer, { failures: {} });

  // Everybody sees what Ann signed of her own: her device bears its own signature and hers.
  const own = (deviceKeys['signatures'] as Json)[ann.userId];
  const later = (byOwner['signatures'] as Json)[ann.userId];
  for (const viewer of [ann, bob, carol]) {
    const { devices, master } = await keysOf(viewer, ann.userId);
    assert.deepEqual(devices.ANNS.signatures, { [ann.userId]: { ...own, ...later } });
    assert.deepEqual(master, byDevice);
  }
  // Only she sees that she knows Bob.
  assert.deepEqual((await keysOf(ann, bob.userId)).master, byAnn);
  assert.deepEqual((await keysOf(bob, bob.userId)).master, bobs.masterKey);
  assert.deepEqual((await keysOf(carol, bob.userId)).master, bobs.masterKey);

  // The device repeats its upload: what was signed stays.
  await upload(ann, { device_keys: deviceKeys });
  await upload(ann, { device_keys: byOwner });
  assert.deepEqual((await keysOf(bob, ann.userId)).devices.ANNS.signatures[ann.userId], later);
});

test('of several signatures the good ones are kept, and each bad one is named with its error', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const laptop = await server.login('ann', { device_id: 'LAPTOP' });
  const phoneKeys = deviceKeysOf(ann);
  const laptopKeys = deviceKeysOf(laptop);
  await upload(ann, { device_keys: phoneKeys });
  await upload(laptop, { device_keys: laptopKeys });
  const anns = new Identity(ann.userId);
  const bobs = new Identity(bob.userId);
  await anns.publish(ann);
  await bobs.publish(bob);
  const sign = (object: JsonObject, key = anns.selfSigning): JsonObject =>
    signed(bare(object), ann.userId, anns.selfSigning.publicKeyBase64, key);
  const errors = async (body: Json): Promise<Json> => {
    const { failures } = expectOk(await ann.post(SIGNATURES, body));
    return Object.fromEntries(
      Object.entries<Json>(failures).map(([user, byKey]) => [
        user,
        Object.fromEntries(Object.entries<Json>(byKey).map(([key, { errcode }]) => [key, errcode])),
      ]),
    );
  };

  const bobsMaster = bobs.master.publicKeyBase64;
  assert.deepEqual(
    await errors({
      [ann.userId]: {
        ANNS: sign(phoneKeys),
        LAPTOP: sign(laptopKeys, newKey()),
        TABLET: sign(phoneKeys),
      },
      [bob.userId]: {
        [bobsMaster]: signed(bobs.masterKey, ann.userId, anns.selfSigning.publicKeyBase64, anns.selfSigning),
        [bobs.selfSigning.publicKeyBase64]: bobs.selfSigningKey,
        BOBS: {},
      },
      '@nobody:hearth.test': { KEY: {} },
      nobody: { KEY: {} },
    }),
    {
      [ann.userId]: { LAPTOP: 'M_INVALID_SIGNATURE', TABLET: 'M_NOT_FOUND' },
      [bob.userId]: {
        [bobsMaster]: 'M_INVALID_SIGNATURE',
        [bobs.selfSigning.publicKeyBase64]: 'M_NOT_FOUND',
        BOBS: 'M_NOT_FOUND',
      },
      '@nobody:hearth.test': { KEY: 'M_NOT_FOUND' },
      nobody: { KEY: 'M_INVALID_PARAM' },
    },
  );
  const annsName = `ed25519:${anns.selfSigning.publicKeyBase64}`;
  const { devices } = await keysOf(bob, ann.userId);
  assert.ok(annsName in devices.ANNS.signatures[ann.userId]);
  assert.ok(!(annsName in devices.LAPTOP.signatures[ann.userId]));

  // What was signed is not what was uploaded; or nobody signed it; or it is no object, or cannot be signed at all.
  const changed = sign({ ...laptopKeys, algorithms: [] });
  const master = anns.master.publicKeyBase64;
  const byUnknownDevice = signed(anns.masterKey, ann.userId, 'TABLET', newKey());
  const invalid = { LAPTOP: 'M_INVALID_SIGNATURE', [master]: 'M_INVALID_SIGNATURE' };
  assert.deepEqual(await errors({ [ann.userId]: { LAPTOP: changed, [master]: byUnknownDevice } }), {
    [ann.userId]: invalid,
  });
  assert.deepEqual(await errors({ [ann.userId]: { LAPTOP: laptopKeys, [master]: anns.masterKey } }), {
    [ann.userId]: invalid,
  });
  assert.deepEqual(await errors({ [ann.userId]: { LAPTOP: 'text', [master]: { ...anns.masterKey, weight: 0.5 } } }), {
    [ann.userId]: { LAPTOP: 'M_INVALID_PARAM', [master]: 'M_BAD_JSON' },
  });
  expectError(await ann.post(SIGNATURES, { [ann.userId]: 'text' }), 400, 'M_BAD_JSON');
  assert.deepEqual(await errors({}), {});
});

test('who has no keys to sign with cannot sign', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const deviceKeys = deviceKeysOf(ann);
  await upload(ann, { device_keys: deviceKeys });
  const bobs = new Identity(bob.userId);
  await bobs.publish(bob);
  const { failures } = expectOk(
    await ann.post(SIGNATURES, {
      [ann.userId]: { ANNS: deviceKeys },
      [bob.userId]: { [bobs.master.publicKeyBase64]: bobs.masterKey },
    }),
  );
  assert.equal(failures[ann.userId].ANNS.errcode, 'M_NOT_FOUND');
  assert.equal(failures[bob.userId][bobs.master.publicKeyBase64].errcode, 'M_NOT_FOUND');
});

test('signatures go with the keys that made them, and with those they are on', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const device = newKey();
  const deviceKeys = deviceKeysOf(ann, device);
  await upload(ann, { device_keys: deviceKeys });
  const first = new Identity(ann.userId);
  await first.publish(ann);
  const certify = async (identity: Identity, keys: JsonObject): Promise<void> => {
    const byOwner = signed(bare(keys), ann.userId, identity.selfSigning.publicKeyBase64, identity.selfSigning);
    const byDevice = signed(identity.masterKey, ann.userId, 'ANNS', device);
    const body = { [ann.userId]: { ANNS: byOwner, [identity.master.publicKeyBase64]: byDevice } };
    assert.deepEqual(expectOk(await ann.post(SIGNATURES, body)), { failures: {} });
  };
  const signersOfDevice = async (): Promise<string[]> => {
    const { devices } = await keysOf(bob, ann.userId);
    return Object.keys(devices.ANNS.signatures[ann.userId]).sort();
  };
  await certify(first, deviceKeys);
  assert.deepEqual(await signersOfDevice(), ['ed25519:ANNS', `ed25519:${first.selfSigning.publicKeyBase64}`].sort());

  // Another self-signing key: what the old one signed means nothing any more.
  const second = new Identity(ann.userId, { master: first.master });
  expectOk(await ann.post(UPLOAD, { self_signing_key: second.selfSigningKey, auth: passwordOf(ann) }));
  assert.deepEqual(await signersOfDevice(), ['ed25519:ANNS']);
  await certify(second, deviceKeys);
  assert.deepEqual(await signersOfDevice(), ['ed25519:ANNS', `ed25519:${second.selfSigning.publicKeyBase64}`].sort());

  // The device begins anew: its signature is that of a key nobody can look up, and it was another that was signed.
  await upload(ann, { device_keys: deviceKeysOf(ann) });
  assert.deepEqual(await signersOfDevice(), ['ed25519:ANNS']);
  assert.equal((await keysOf(bob, ann.userId)).master.signatures, undefined);
});

test('nothing of a deactivated account’s keys is left', async () => {
  await using server = await TestServer.start();
  const { ann, bob } = await people(server);
  const anns = new Identity(ann.userId);
  await anns.publish(ann);
  await upload(ann, { device_keys: deviceKeysOf(ann) });
  expectOk(await ann.post('/_matrix/client/v3/account/deactivate', { auth: passwordOf(ann) }));
  assert.deepEqual(await keysOf(bob, ann.userId), {
    master: undefined,
    selfSigning: undefined,
    userSigning: undefined,
    devices: {},
  });
});

import assert from 'node:assert/strict';
import sharp from 'sharp';
import type { Json } from '../kit/test-client.ts';
import { deviceKeysOf, Identity, oneTimeKeys } from '../modules/encryption-kit.ts';
import { type Story, v1, v3 } from './answers-house.ts';

/** Keys, their backups, and messages to devices. */
export async function encryption({ ex, alice, bob, nobody }: Story): Promise<void> {
  const keys = { device_keys: deviceKeysOf(bob), one_time_keys: oneTimeKeys(bob, 1) };
  assert.equal((await ex.ok(bob, `POST ${v3}/keys/upload`, { body: keys })).one_time_key_counts.signed_curve25519, 1);
  await ex.no(bob, `POST ${v3}/keys/upload`, { body: { one_time_keys: 7 } }, 400, 'M_BAD_JSON');
  const query = { device_keys: { [bob.userId]: [] } };
  const queried = await ex.ok(alice, `POST ${v3}/keys/query`, { body: query }, ['device_keys', 'failures']);
  assert.ok(queried.device_keys[bob.userId][bob.deviceId]);
  await ex.no(alice, `POST ${v3}/keys/query`, {}, 400, 'M_BAD_JSON');
  const claim = { one_time_keys: { [bob.userId]: { [bob.deviceId]: 'signed_curve25519' } } };
  const claimed = await ex.ok(alice, `POST ${v3}/keys/claim`, { body: claim }, ['one_time_keys', 'failures']);
  assert.ok(claimed.one_time_keys[bob.userId][bob.deviceId]);
  await ex.no(alice, `POST ${v3}/keys/claim`, {}, 400, 'M_BAD_JSON');
  const now = (await alice.sync()).next_batch;
  await ex.ok(alice, `GET ${v3}/keys/changes`, { query: { from: now, to: now } }, ['changed', 'left']);
  await ex.no(alice, `GET ${v3}/keys/changes`, { query: { from: 'none', to: now } }, 400, 'M_INVALID_PARAM');
  const identity = new Identity(bob.userId);
  const signing = `POST ${v3}/keys/device_signing/upload`;
  await ex.ok(bob, signing, { body: identity.keys });
  await ex.raw(bob, signing, 401, { body: new Identity(bob.userId).keys });
  await ex.ok(bob, `POST ${v3}/keys/signatures/upload`, { body: {} }, ['failures']);
  await ex.no(nobody, `POST ${v3}/keys/signatures/upload`, {}, 401, 'M_MISSING_TOKEN');
  const message = { at: { eventType: 'm.dummy', txnId: 'd1' } };
  const messages = { [bob.userId]: { '*': { n: 1 } } };
  await ex.ok(alice, `PUT ${v3}/sendToDevice/:eventType/:txnId`, { ...message, body: { messages } });
  await ex.no(alice, `PUT ${v3}/sendToDevice/:eventType/:txnId`, message, 400, 'M_BAD_JSON');

  const versions = `${v3}/room_keys/version`;
  const backup = {
    algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2',
    auth_data: { public_key: 'abc', signatures: {} },
  };
  await ex.no(alice, `GET ${versions}`, {}, 404, 'M_NOT_FOUND');
  const { version } = await ex.ok(alice, `POST ${versions}`, { body: backup }, ['version']);
  await ex.no(alice, `POST ${versions}`, { body: { algorithm: 7 } }, 400, 'M_BAD_JSON');
  const known = ['algorithm', 'auth_data', 'count', 'etag', 'version'];
  await ex.ok(alice, `GET ${versions}`, {}, known);
  await ex.ok(alice, `GET ${versions}/:version`, { at: { version } }, known);
  await ex.no(alice, `GET ${versions}/:version`, { at: { version: '77' } }, 404, 'M_NOT_FOUND');
  await ex.ok(alice, `PUT ${versions}/:version`, { at: { version }, body: { ...backup, version } });
  await ex.no(alice, `PUT ${versions}/:version`, { at: { version: '77' }, body: backup }, 404, 'M_NOT_FOUND');
  const session = { first_message_index: 0, forwarded_count: 0, is_verified: true, session_data: { cipher: 'x' } };
  const sessions = { sessions: { s1: session } };
  const stored = `${v3}/room_keys/keys`;
  for (const [path, body] of [
    [`${stored}/:roomId/:sessionId`, session],
    [`${stored}/:roomId`, sessions],
    [stored, { rooms: { '!backed:hearth.test': sessions } }],
  ] as const) {
    const at = { roomId: '!backed:hearth.test', sessionId: 's1' };
    await ex.ok(alice, `PUT ${path}`, { at, query: { version }, body }, ['count', 'etag']);
    await ex.no(alice, `PUT ${path}`, { at, query: { version: '77' }, body }, 404, 'M_NOT_FOUND');
    assert.deepEqual(await ex.ok(alice, `GET ${path}`, { at, query: { version } }), body);
    await ex.no(alice, `GET ${path}`, { at, query: { version: '77' } }, 404, 'M_NOT_FOUND');
    assert.equal((await ex.ok(alice, `DELETE ${path}`, { at, query: { version } }, ['etag'])).count, 0);
    await ex.no(alice, `DELETE ${path}`, { at, query: { version: '77' } }, 404, 'M_NOT_FOUND');
  }
  await ex.ok(alice, `DELETE ${versions}/:version`, { at: { version } });
  await ex.no(alice, `DELETE ${versions}/:version`, { at: { version: '77' } }, 404, 'M_NOT_FOUND');
}

/** Files, and previews of pages. */
export async function media({ ex, server, config, alice, nobody, web }: Story): Promise<void> {
  const old = '/_matrix/media/v3';
  const { content_uri: announced } = await ex.ok(alice, 'POST /_matrix/media/v1/create', {}, ['unused_expires_at']);
  await ex.no(nobody, 'POST /_matrix/media/v1/create', {}, 401, 'M_MISSING_TOKEN');
  const png = (
    await sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } })
      .png()
      .toBuffer()
  ).toString('latin1');
  const upload = async (path: string, method: string): Promise<Json> => {
    const answer = await fetch(`${server.baseUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${alice.token}`, 'content-type': 'image/png' },
      body: Buffer.from(png, 'latin1'),
    });
    assert.equal(answer.status, 200);
    return answer.json();
  };
  const uri: string = (await upload(`${old}/upload?filename=red.png`, 'POST')).content_uri;
  ex.succeeded.add(`POST ${old}/upload`);
  await ex.no(nobody, `POST ${old}/upload`, {}, 401, 'M_MISSING_TOKEN');
  const [, serverName = '', id = ''] = /^mxc:\/\/([^/]*)\/(.*)$/.exec(announced) ?? [];
  await upload(`${old}/upload/${serverName}/${id}`, 'PUT');
  ex.succeeded.add(`PUT ${old}/upload/:serverName/:mediaId`);
  await ex.no(
    alice,
    `PUT ${old}/upload/:serverName/:mediaId`,
    { at: { mediaId: id } },
    409,
    'M_CANNOT_OVERWRITE_MEDIA',
  );

  const at = { mediaId: uri.slice(uri.lastIndexOf('/') + 1), fileName: 'cup.png' };
  const none = { at: { mediaId: 'none', fileName: 'cup.png' } };
  const size = { width: 32, height: 32, method: 'crop' };
  for (const base of [old, `${v1}/media`]) {
    await ex.raw(alice, `GET ${base}/download/:serverName/:mediaId`, 200, { at });
    const named = await ex.raw(alice, `GET ${base}/download/:serverName/:mediaId/:fileName`, 200, { at });
    assert.match(named.headers.get('content-disposition') ?? '', /filename="?cup\.png/);
    const small = await ex.raw(alice, `GET ${base}/thumbnail/:serverName/:mediaId`, 200, { at, query: size });
    assert.match(small.headers.get('content-type') ?? '', /^image\/(?:png|jpeg|webp)$/);
    await ex.no(alice, `GET ${base}/download/:serverName/:mediaId`, none, 404, 'M_NOT_FOUND');
    await ex.no(alice, `GET ${base}/download/:serverName/:mediaId/:fileName`, none, 404, 'M_NOT_FOUND');
    await ex.no(alice, `GET ${base}/thumbnail/:serverName/:mediaId`, { ...none, query: size }, 404, 'M_NOT_FOUND');
    const page = await ex.ok(alice, `GET ${base}/preview_url`, { query: { url: `${web.url}/page` } });
    assert.equal(page['og:title'], 'The page');
    await ex.no(nobody, `GET ${base}/preview_url`, { query: { url: web.url } }, 401, 'M_MISSING_TOKEN');
    await ex.ok(alice, `GET ${base}/config`, {}, ['m.upload.size']);
    await ex.no(nobody, `GET ${base}/config`, {}, 401, 'M_MISSING_TOKEN');
  }
  assert.equal(config.enable_authenticated_media, false);
}

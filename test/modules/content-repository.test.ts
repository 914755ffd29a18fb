import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../server/util/clock.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { TestServer } from '../kit/test-server.ts';
import { ask, type Bytes, expectRefusal, HOME, MediaHouse, pathOf, userId } from './content-repository-kit.ts';

const HELLO = 'Hello, hearth!';

function addressOf(path: string): { origin: typeof HOME; mediaId: string } {
  return { origin: HOME, mediaId: path.split('/')[1] ?? '' };
}

function manual(house: MediaHouse): ManualClock {
  assert.ok(house.clock instanceof ManualClock);
  return house.clock;
}

test('a file comes back as it was sent, with the type and name its sender gave it', async (t) => {
  const house = await MediaHouse.open(t);
  const path = await house.upload(HELLO, {
    headers: { 'content-type': 'image/png' },
    query: { filename: 'hello world.png' },
  });
  const answer = await house.download(path);
  assert.equal(answer.status, 200);
  assert.equal(answer.bytes.toString(), HELLO);
  assert.equal(answer.headers.get('content-type'), 'image/png');
  assert.equal(answer.headers.get('content-disposition'), 'inline; filename="hello world.png"');
  assert.equal(answer.headers.get('content-length'), String(HELLO.length));
  assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  assert.equal(answer.headers.get('cross-origin-resource-policy'), 'cross-origin');
  assert.match(answer.headers.get('content-security-policy') ?? '', /^sandbox; default-src 'none'; script-src 'none';/);
  assert.match(answer.headers.get('cache-control') ?? '', /^private, max-age=\d+/);

  const renamed = await house.download(`${path}/other.txt`);
  assert.equal(renamed.headers.get('content-disposition'), 'inline; filename=other.txt');
  const head = await house.download(path, { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), String(HELLO.length));
  assert.equal(head.bytes.length, 0);
  const empty = await house.download(await house.upload(''));
  assert.deepEqual([empty.status, empty.bytes.length], [200, 0]);
});

test('names of files survive whatever they hold', async (t) => {
  const house = await MediaHouse.open(t);
  const expected: Record<string, string> = {
    ascii: 'filename=ascii',
    'name;with;semicolons': 'filename="name;with;semicolons"',
    'say "hi"\\': 'filename="say \\"hi\\"\\\\"',
    '🐔 (1).png': "filename*=utf-8''%F0%9F%90%94%20%281%29.png",
    'two\r\nlines': "filename*=utf-8''two%0D%0Alines",
  };
  for (const [name, parameter] of Object.entries(expected)) {
    const path = await house.upload(HELLO, { query: { filename: name } });
    const { headers } = await house.download(path);
    assert.equal(headers.get('content-disposition'), `attachment; ${parameter}`);
    const renamed = await house.download(`${path}/${encodeURIComponent(name)}`);
    assert.equal(renamed.headers.get('content-disposition'), `attachment; ${parameter}`);
  }
  const unnamed = await house.download(await house.upload(HELLO));
  assert.equal(unnamed.headers.get('content-disposition'), 'attachment');
  const tooLong = await house.ask('/_matrix/media/v3/upload', {
    method: 'POST',
    token: 'ann',
    body: HELLO,
    query: { filename: 'x'.repeat(1025) },
  });
  expectRefusal(tooLong, 400, 'M_INVALID_PARAM');
});

test('only what browsers cannot be harmed by is shown in place', async (t) => {
  const house = await MediaHouse.open(t);
  const expected: [string, string, string][] = [
    ['text/plain', 'inline', 'text/plain; charset=utf-8'],
    ['Text/Plain; charset=iso-8859-1', 'inline', 'Text/Plain; charset=iso-8859-1'],
    ['video/mp4', 'inline', 'video/mp4'],
    ['text/html', 'attachment', 'text/html; charset=utf-8'],
    ['image/svg+xml', 'attachment', 'image/svg+xml'],
    ['application/pdf', 'attachment', 'application/pdf'],
    ['nonsense', 'attachment', 'application/octet-stream'],
  ];
  for (const [type, kind, served] of expected) {
    const path = await house.upload('<script>alert(1)</script>', { headers: { 'content-type': type } });
    const { headers } = await house.download(path);
    assert.deepEqual([headers.get('content-disposition'), headers.get('content-type')], [kind, served]);
  }
});

test('a part of a file can be asked for, and what is known already is not sent again', async (t) => {
  const house = await MediaHouse.open(t);
  const path = await house.upload('0123456789');
  const etag = (await house.download(path)).headers.get('etag') ?? '';
  const get = (headers: Record<string, string>): Promise<Bytes> => house.download(path, { headers });
  const parts: [string, string, string][] = [
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=7-', '789', 'bytes 7-9/10'],
    ['bytes=-2', '89', 'bytes 8-9/10'],
    ['bytes=-99', '0123456789', 'bytes 0-9/10'],
    ['bytes=5-99', '56789', 'bytes 5-9/10'],
  ];
  for (const [range, text, contentRange] of parts) {
    const answer = await get({ range });
    assert.deepEqual(
      [
        answer.status,
        answer.bytes.toString(),
        answer.headers.get('content-range'),
        answer.headers.get('content-length'),
      ],
      [206, text, contentRange, String(text.length)],
    );
  }
  for (const range of ['bytes=10-', 'bytes=-0', 'bytes=99-100']) {
    const answer = await get({ range });
    assert.deepEqual([answer.status, answer.headers.get('content-range')], [416, 'bytes */10']);
  }
  // Not understood, or several at once: all of it.
  for (const range of ['bytes=0-1,3-4', 'lines=1-2', 'bytes=4-2', 'bytes=-']) {
    assert.deepEqual([(await get({ range })).status, (await get({ range })).bytes.length], [200, 10]);
  }
  assert.equal((await get({ range: 'bytes=0-1', 'if-range': etag })).status, 206);
  assert.equal((await get({ range: 'bytes=0-1', 'if-range': '"other"' })).status, 200);
  const unchanged = await get({ 'if-none-match': `"other", W/${etag}` });
  assert.deepEqual([unchanged.status, unchanged.bytes.length, unchanged.headers.get('etag')], [304, 0, etag]);
  assert.equal((await get({ 'if-none-match': '"other"' })).status, 200);
});

test('the same content is kept once, until nobody has it any more', async (t) => {
  const house = await MediaHouse.open(t);
  const first = await house.upload(HELLO, { query: { filename: 'one' } });
  const second = await house.upload(HELLO, { query: { filename: 'two' } });
  assert.notEqual(first, second);
  const hash = createHash('sha256').update(HELLO).digest('hex');
  assert.deepEqual(house.files(), {
    kept: [join(house.dir, 'media', 'content', hash.slice(0, 2), hash.slice(2))],
    incoming: [],
  });

  assert.equal(house.media.remove(addressOf(first)), true);
  assert.equal(house.media.remove(addressOf(first)), false);
  await house.restart();
  expectRefusal(await house.download(first), 404, 'M_NOT_FOUND');
  assert.equal((await house.download(second)).bytes.toString(), HELLO);
  house.media.remove(addressOf(second));
  await house.restart();
  assert.deepEqual(house.files().kept, []);
  // What was deleted can come again.
  assert.equal((await house.download(await house.upload(HELLO))).status, 200);
});

test('what is too large is refused, announced or not, and nothing of it stays', async (t) => {
  const house = await MediaHouse.open(t, { settings: { maxUploadBytes: 1000 } });
  const post = (body: NonNullable<RequestInit['body']>): Promise<Bytes> =>
    house.ask('/_matrix/media/v3/upload', { method: 'POST', token: 'ann', body });
  expectRefusal(await post(Buffer.alloc(1001)), 413, 'M_TOO_LARGE');
  const stream = new ReadableStream({
    pull(controller) {
      controller.enqueue(Buffer.alloc(400));
    },
  });
  await assert.doesNotReject(async () => expectRefusal(await post(stream), 413, 'M_TOO_LARGE'));
  assert.deepEqual(house.files(), { kept: [], incoming: [] });
  assert.equal((await post(Buffer.alloc(1000))).status, 200);
  const config = await house.ask('/_matrix/client/v1/media/config', { token: 'ann' });
  assert.deepEqual(config.json, { 'm.upload.size': 1000 });
  assert.deepEqual((await house.ask('/_matrix/media/v3/config', { token: 'ann' })).json, { 'm.upload.size': 1000 });
});

test('an upload that breaks off leaves nothing', async (t) => {
  const house = await MediaHouse.open(t, { clock: systemClock });
  const url = new URL('/_matrix/media/v3/upload', house.baseUrl);
  const upload = httpRequest(url, {
    method: 'POST',
    headers: { authorization: 'Bearer ann', 'content-length': '1000' },
  });
  upload.on('error', () => {});
  upload.write('the beginning');
  await eventually('the upload has begun', () => house.files().incoming.length === 1);
  upload.destroy();
  await eventually('its beginning is gone', () => house.files().incoming.length === 0);
  assert.deepEqual(house.files().kept, []);
});

test('uploads that come together do not get past the limit together', async (t) => {
  const limit = { periodMs: 60_000, maxBytes: 100, infoUri: undefined, canBeRaised: false };
  const house = await MediaHouse.open(t, { settings: { uploadLimits: [limit] } });
  const answers = await Promise.all(
    Array.from({ length: 4 }, () =>
      house.ask('/_matrix/media/v3/upload', { method: 'POST', token: 'ann', body: randomBytes(60) }),
    ),
  );
  assert.deepEqual(
    answers.map(({ status }) => status).sort((a, b) => a - b),
    [200, 403, 403, 403],
  );
  assert.equal(house.files().kept.length, 1);
});

test('what a crash has left behind is cleared away', async (t) => {
  const house = await MediaHouse.open(t);
  const kept = await house.upload(HELLO);
  await house.end();
  const lost = randomBytes(32);
  const orphan = join(house.dir, 'media', 'content', lost.toString('hex').slice(0, 2), lost.toString('hex').slice(2));
  writeFileSync(join(house.dir, 'media', 'incoming', 'half'), 'half of someth');
  await house.begin();
  assert.deepEqual(house.files().incoming, []);

  // Put in place, but the row it was for never came.
  mkdirSync(join(orphan, '..'), { recursive: true });
  writeFileSync(orphan, 'orphan');
  const insert = house.db.prepareWrite('INSERT INTO media_debris (file) VALUES (?)');
  house.db.write((tx) => {
    insert.run(tx, lost);
    insert.run(tx, createHash('sha256').update(HELLO).digest());
  });
  await house.db.committed();
  await manual(house).advance(60_000);
  await eventually('the orphan is gone', () => !existsSync(orphan));
  assert.equal((await house.download(kept)).bytes.toString(), HELLO);
});

test('a file that is lost is no longer there, and no fault of the server', async (t) => {
  const house = await MediaHouse.open(t);
  const path = await house.upload(HELLO);
  for (const file of house.files().kept) rmSync(file);
  expectRefusal(await house.download(path), 404, 'M_NOT_FOUND');
  // Whoever uploads it again brings it back for all.
  await house.upload(HELLO);
  assert.equal((await house.download(path)).status, 200);
});

test('an address can be had before its content', async (t) => {
  const house = await MediaHouse.open(t, { settings: { maxPendingUploads: 3 } });
  const clock = manual(house);
  const create = async (): Promise<{ path: string; expires: number }> => {
    const { status, json } = await house.ask('/_matrix/media/v1/create', { method: 'POST', token: 'ann' });
    assert.equal(status, 200);
    return { path: pathOf(json.content_uri), expires: json.unused_expires_at };
  };
  const put = (path: string, token = 'ann'): Promise<Bytes> =>
    house.ask(`/_matrix/media/v3/upload/${path}`, {
      method: 'PUT',
      token,
      body: HELLO,
      headers: { 'content-type': 'text/plain' },
      query: { filename: 'late.txt' },
    });
  const { path, expires } = await create();
  assert.equal(expires, clock.now() + 60_000);

  expectRefusal(await house.download(path, { query: { timeout_ms: 0 } }), 504, 'M_NOT_YET_UPLOADED');
  const timers = clock.pending;
  const patient = house.download(path, { query: { timeout_ms: 5_000 } });
  const impatient = house.download(path, { query: { timeout_ms: 1_000 } });
  await eventually('both wait', () => clock.pending >= timers + 2);
  await clock.advance(1_000);
  expectRefusal(await impatient, 504, 'M_NOT_YET_UPLOADED');
  expectRefusal(await put(path, 'bob'), 403, 'M_FORBIDDEN');
  assert.deepEqual((await put(path)).json, {});
  const got = await patient;
  assert.equal(got.bytes.toString(), HELLO);
  assert.equal(got.headers.get('content-disposition'), 'inline; filename=late.txt');
  expectRefusal(await put(path), 409, 'M_CANNOT_OVERWRITE_MEDIA');

  const late = await create();
  await clock.advance(60_000);
  expectRefusal(await put(late.path), 404, 'M_NOT_FOUND');
  expectRefusal(await house.download(late.path), 404, 'M_NOT_FOUND');
  expectRefusal(await put(`${HOME}/neverannounced`), 404, 'M_NOT_FOUND');
  expectRefusal(await put('other.test/neverannounced'), 404, 'M_NOT_FOUND');
  assert.deepEqual(house.files().incoming, []);
});

test('nobody announces more uploads than may be waited for', async (t) => {
  const house = await MediaHouse.open(t, { settings: { maxPendingUploads: 2 } });
  const create = (token: string): Promise<Bytes> => house.ask('/_matrix/media/v1/create', { method: 'POST', token });
  const first = await create('ann');
  await manual(house).advance(10_000);
  await create('ann');
  const refusal = expectRefusal(await create('ann'), 429, 'M_LIMIT_EXCEEDED');
  assert.equal(refusal.retry_after_ms, 50_000);
  assert.equal((await create('bob')).status, 200);
  const path = pathOf(first.json.content_uri);
  await house.ask(`/_matrix/media/v3/upload/${path}`, { method: 'PUT', token: 'ann', body: HELLO });
  assert.equal((await create('ann')).status, 200, 'one has come, so another may be announced');
  await manual(house).advance(60_000);
  assert.equal((await create('ann')).status, 200, 'the others have expired');
});

test('a user may upload so much in some time, and is told where to read why', async (t) => {
  const house = await MediaHouse.open(t, {
    settings: {
      uploadLimits: [
        { periodMs: 60_000, maxBytes: 100, infoUri: undefined, canBeRaised: false },
        { periodMs: 600_000, maxBytes: 150, infoUri: 'https://home.test/why', canBeRaised: true },
      ],
    },
  });
  const post = (bytes: number, token = 'ann'): Promise<Bytes> =>
    house.ask('/_matrix/media/v3/upload', { method: 'POST', token, body: randomBytes(bytes) });
  assert.equal((await post(80)).status, 200);
  expectRefusal(await post(30), 403, 'M_FORBIDDEN');
  assert.equal((await post(30, 'bob')).status, 200);
  await manual(house).advance(60_000);
  const { info_uri, can_upgrade } = expectRefusal(await post(80), 403, 'M_USER_LIMIT_EXCEEDED');
  assert.deepEqual({ info_uri, can_upgrade }, { info_uri: 'https://home.test/why', can_upgrade: true });
  const unannounced = new ReadableStream({
    start(controller) {
      controller.enqueue(randomBytes(80));
      controller.close();
    },
  });
  expectRefusal(
    await house.ask('/_matrix/media/v3/upload', { method: 'POST', token: 'ann', body: unannounced }),
    403,
    'M_USER_LIMIT_EXCEEDED',
  );
  assert.deepEqual(house.files().incoming, []);
  await manual(house).advance(600_000);
  assert.equal((await post(80)).status, 200);
});

test('what was there before the freeze can still be had without a token, what came later cannot', async (t) => {
  const house = await MediaHouse.open(t, { settings: { authenticatedOnly: false } });
  const open = (path: string): Promise<Bytes> => house.ask(`/_matrix/media/v3/download/${path}`);
  const before = await house.upload(HELLO);
  const answer = await open(before);
  assert.equal(answer.bytes.toString(), HELLO);
  assert.match(answer.headers.get('cache-control') ?? '', /^public/);
  for (const version of ['r0', 'v1']) {
    assert.equal((await house.ask(`/_matrix/media/${version}/download/${before}/name`)).status, 200);
  }
  await house.restart({ authenticatedOnly: true });
  const after = await house.upload(HELLO);
  assert.equal((await open(before)).status, 200);
  expectRefusal(await open(after), 404, 'M_NOT_FOUND');
  expectRefusal(
    await house.ask(`/_matrix/media/v3/thumbnail/${after}`, { query: { width: 32, height: 32 } }),
    404,
    'M_NOT_FOUND',
  );
  assert.equal((await house.download(after)).status, 200);
  expectRefusal(await house.ask(`/_matrix/client/v1/media/download/${before}`), 401, 'M_MISSING_TOKEN');
  // Thawed again, nothing is held back.
  await house.restart({ authenticatedOnly: false });
  assert.equal((await open(after)).status, 200);
});

test('guests may look but not upload, and the suspended may not upload', async (t) => {
  const house = await MediaHouse.open(t);
  const path = await house.upload(HELLO);
  assert.equal((await house.download(path, { token: 'guest' })).status, 200);
  const post = (token: string): Promise<Bytes> =>
    house.ask('/_matrix/media/v3/upload', { method: 'POST', token, body: HELLO });
  expectRefusal(await post('guest'), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectRefusal(await post('suspended'), 403, 'M_USER_SUSPENDED');
  expectRefusal(
    await house.ask('/_matrix/media/v1/create', { method: 'POST', token: 'suspended' }),
    403,
    'M_USER_SUSPENDED',
  );
});

test('no address leads out of the store', async (t) => {
  const house = await MediaHouse.open(t);
  await house.upload(HELLO);
  const paths = [
    `${HOME}/..%2F..%2Fhomeserver.db`,
    `${HOME}/..%2f`,
    `..%2F..%2Fetc/passwd`,
    `${HOME}/a%00b`,
    `${HOME}/${'x'.repeat(256)}`,
    `home%20test/abc`,
    `${HOME}/a.b`,
  ];
  for (const path of paths) {
    expectRefusal(await house.download(path), 404, 'M_NOT_FOUND');
    expectRefusal(await house.ask(`/_matrix/media/v3/download/${path}`), 404, 'M_NOT_FOUND');
  }
  expectRefusal(await house.askAsPeer('download/..%2Fx'), 404, 'M_NOT_FOUND');
});

test('what is in quarantine is there for nobody, nor is what looks like it', async (t) => {
  const house = await MediaHouse.open(t);
  const bad = await house.upload(HELLO);
  const alike = await house.upload(HELLO, { token: 'bob' });
  const liked = await house.upload('protected', { token: 'bob' });
  house.media.protect(addressOf(liked), true);
  assert.equal(house.media.quarantine(addressOf(bad), '@root:home.test'), 2);
  assert.equal(house.media.quarantine(addressOf(liked), '@root:home.test'), 0);
  const later = await house.upload(HELLO, { token: 'carol' });
  for (const path of [bad, alike, later]) {
    expectRefusal(await house.download(path), 404, 'M_NOT_FOUND');
    expectRefusal(await house.thumbnail(path, { width: 32, height: 32 }), 404, 'M_NOT_FOUND');
    const [, mediaId] = path.split('/');
    expectRefusal(await house.askAsPeer(`download/${mediaId}`), 404, 'M_NOT_FOUND');
    assert.equal(house.media.describe(`mxc://${path}`), undefined);
  }
  assert.equal((await house.download(liked)).status, 200);
  assert.equal(house.media.unquarantine(addressOf(alike)), 3);
  assert.equal((await house.download(later)).status, 200);
  assert.equal(await house.media.quarantineOfUser(userId('@bob:home.test'), '@root:home.test'), 3);
});

test('what a user has uploaded can be listed and deleted', async (t) => {
  const house = await MediaHouse.open(t);
  const paths: string[] = [];
  for (const text of ['one', 'two', 'three']) {
    paths.push(await house.upload(text));
    await manual(house).advance(1000);
  }
  const ann = userId('@ann:home.test');
  const page = house.media.listOfUser(ann, { limit: 2, offset: 0 });
  assert.deepEqual(
    page.media.map(({ origin, mediaId }) => `${origin}/${mediaId}`),
    [paths[2], paths[1]],
  );
  assert.deepEqual([page.count, page.bytes], [3, 11]);
  assert.equal(await house.media.removeOfUser(ann), 3);
  await house.restart();
  assert.deepEqual(house.files().kept, []);
  assert.deepEqual(house.media.listOfUser(ann, { limit: 2, offset: 0 }).media, []);
});

test('what nobody looks at for long goes, unless it is protected or in quarantine', async (t) => {
  const day = 86_400_000;
  const house = await MediaHouse.open(t, { settings: { localLifetimeMs: 10 * day } });
  const clock = manual(house);
  const [unused, used, guarded, bad] = [
    await house.upload('unused'),
    await house.upload('used'),
    await house.upload('guarded'),
    await house.upload('bad'),
  ];
  house.media.protect(addressOf(guarded), true);
  house.media.quarantine(addressOf(bad), '@root:home.test');
  await clock.advance(9 * day);
  assert.equal((await house.download(used)).status, 200);
  await clock.advance(2 * day);
  await eventually('the unused one is gone', () => house.media.find(addressOf(unused)) === undefined);
  assert.equal((await house.download(used)).status, 200);
  assert.equal((await house.download(guarded)).status, 200);
  assert.notEqual(house.media.find(addressOf(bad)), undefined);
  await eventually('its file is gone', () => house.files().kept.length === 3);
});

test('other servers get our media in two parts, and nothing else', async (t) => {
  const house = await MediaHouse.open(t);
  const path = await house.upload(HELLO, { headers: { 'content-type': 'text/plain' }, query: { filename: 'h.txt' } });
  const get = (mediaId: string): Promise<Bytes> => house.askAsPeer(`download/${mediaId}`);
  const answer = await get(path.split('/')[1] ?? '');
  assert.equal(answer.status, 200);
  const [, boundary] = /^multipart\/mixed; boundary=(\w+)$/.exec(answer.headers.get('content-type') ?? '') ?? [];
  assert.equal(
    answer.bytes.toString(),
    `--${boundary}\r\nContent-Type: application/json\r\n\r\n{}\r\n` +
      `--${boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline; filename=h.txt\r\n\r\n` +
      `${HELLO}\r\n--${boundary}--\r\n`,
  );
  assert.equal(answer.headers.get('content-length'), String(answer.bytes.length));
  expectRefusal(await get('unknown'), 404, 'M_NOT_FOUND');
  expectRefusal(await house.ask(`/_matrix/federation/v1/media/download/${path.split('/')[1]}`), 401, 'M_UNAUTHORIZED');
});

test('a whole server keeps media across a restart, and knows the size of pictures people put on', async () => {
  await using server = await TestServer.start({ config: { max_avatar_size: 20, max_upload_size: '2M' } });
  const ann = await server.register('ann');
  const upload = async (body: Buffer): Promise<string> => {
    const answer = await ask(server.baseUrl, '/_matrix/media/v3/upload', {
      method: 'POST',
      token: ann.token,
      body: new Uint8Array(body),
      headers: { 'content-type': 'image/png' },
    });
    return answer.json.content_uri;
  };
  const content = randomBytes(1_500_000);
  const large = await upload(content);
  const small = await upload(Buffer.from('small'));
  const avatar = `/_matrix/client/v3/profile/${encodeURIComponent(ann.userId)}/avatar_url`;
  expectOk(await ann.put(avatar, { avatar_url: small }));
  expectError(await ann.put(avatar, { avatar_url: large }), 403, 'M_FORBIDDEN');
  expectError(await ann.put(avatar, { avatar_url: 'mxc://hearth.test/unknown' }), 403, 'M_FORBIDDEN');
  await server.restart();
  const answer = await ask(server.baseUrl, `/_matrix/client/v1/media/download/${pathOf(large)}`, { token: ann.token });
  assert.ok(answer.bytes.equals(content));
  await server.restart({ enable_media_repo: false });
  expectError(await ann.get(`/_matrix/client/v1/media/download/${pathOf(large)}`), 404, 'M_UNRECOGNIZED');
});

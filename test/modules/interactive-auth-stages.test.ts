import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import { MailSink } from '../kit/mail-sink.ts';
import { expectError, expectOk, type Json } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { askForMail, linkTo, mailOptions, open, SECRET, startWithMail } from './mail-house.ts';

const REGISTER = '/_matrix/client/v3/register';
const CLOSED = { enable_registration_without_verification: false };

/** The service that checks captchas: right is what it is told to take for right. */
async function startCaptchaService(
  right: string,
): Promise<AsyncDisposable & { url: string; asked: URLSearchParams[] }> {
  const asked: URLSearchParams[] = [];
  const service = createServer((request, response) => {
    void readText(request).then((body) => {
      const form = new URLSearchParams(body);
      asked.push(form);
      response.end(JSON.stringify({ success: form.get('response') === right }));
    });
  });
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  const { port } = service.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/siteverify`,
    asked,
    [Symbol.asyncDispose]: async () => {
      service.closeAllConnections();
      await new Promise((resolve) => service.close(resolve));
    },
  };
}

/** A folder with a policy in two versions. */
function writePolicy(): Disposable & { dir: string } {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-policy-'));
  mkdirSync(join(dir, 'en'));
  const form = `{% if not public_version %}{% if has_consented %}You have agreed to {{ version }}{% else %}
    <form method="post"><input name="v" value="{{ version }}"><input name="u" value="{{ user }}">
    <input name="h" value="{{ userhmac }}"></form>{% endif %}{% endif %}`;
  for (const version of ['1.0', '2.0'])
    writeFileSync(join(dir, 'en', `${version}.html`), `<p>Be kind (${version})</p>${form}`);
  writeFileSync(join(dir, 'en', 'success.html'), '<p>Thank you so much</p>');
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
}

const consentListeners = [
  { type: 'http', port: 0, bind_addresses: ['127.0.0.1'], resources: [{ names: ['client', 'consent'] }] },
];

test('Ann registers with her address, which she can log in with from then on', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const stranger = server.anonymous();
  const order = { username: 'ann', password: 'password of ann' };
  const begun = await stranger.post(REGISTER, order);
  assert.deepEqual(begun.body.flows, [{ stages: ['m.login.dummy'] }, { stages: ['m.login.email.identity'] }]);

  const { sid, mail } = await askForMail(server, sink, REGISTER, 'ann@example.org');
  const auth = {
    type: 'm.login.email.identity',
    session: begun.body.session,
    threepid_creds: { sid, client_secret: SECRET },
  };
  const early = await stranger.post(REGISTER, { ...order, auth });
  assert.equal(early.status, 401);
  assert.equal(early.body.errcode, 'M_UNAUTHORIZED');
  assert.equal((await open(linkTo(server, mail))).status, 200);
  const done = expectOk(await stranger.post(REGISTER, { ...order, auth }));
  assert.equal(done.user_id, '@ann:hearth.test');

  const identifier = { type: 'm.id.thirdparty', medium: 'email', address: 'ann@example.org' };
  expectOk(
    await stranger.post('/_matrix/client/v3/login', {
      type: 'm.login.password',
      identifier,
      password: 'password of ann',
    }),
  );
});

test('the link of a mail may be opened on another device, which ends the registration there', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink, { ...CLOSED, registrations_require_3pid: ['email'] });
  const order = { username: 'ann', password: 'password of ann', initial_device_display_name: 'Desk' };
  const begun = await server.anonymous().post(REGISTER, order);
  const { sid, mail } = await askForMail(server, sink, REGISTER, 'ann@example.org');
  const auth = {
    type: 'm.login.email.identity',
    session: begun.body.session,
    threepid_creds: { sid, client_secret: SECRET },
  };
  await open(linkTo(server, mail));
  const phone = expectOk(await server.anonymous().post(REGISTER, { initial_device_display_name: 'Phone', auth }));
  assert.equal(phone.user_id, '@ann:hearth.test');
  // The desk, which has kept asking, gets in as well.
  const desk = expectOk(await server.anonymous().post(REGISTER, { ...order, auth }));
  assert.equal(desk.user_id, '@ann:hearth.test');
  assert.notEqual(desk.device_id, phone.device_id);
  await server.login('ann');
});

test('two people register with one address at once, and only one gets in', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink, { ...CLOSED, registrations_require_3pid: ['email'] });
  const attempts = [];
  for (const name of ['ann', 'anna']) {
    const order = { username: name, password: 'secret enough' };
    const begun = await server.anonymous().post(REGISTER, order);
    assert.deepEqual(begun.body.flows, [{ stages: ['m.login.email.identity'] }]);
    const { sid, mail } = await askForMail(server, sink, REGISTER, 'ann@example.org', { client_secret: name });
    await open(linkTo(server, mail));
    attempts.push({
      ...order,
      auth: {
        type: 'm.login.email.identity',
        session: begun.body.session,
        threepid_creds: { sid, client_secret: name },
      },
    });
  }
  const answers = await Promise.all(attempts.map((order) => server.anonymous().post(REGISTER, order)));
  assert.deepEqual(
    answers.map(({ status }) => status).sort((a, b) => a - b),
    [200, 400],
  );
  assert.deepEqual(
    answers.map(({ body }) => body.errcode).filter((errcode) => errcode !== undefined),
    ['M_THREEPID_IN_USE'],
  );
});

test('a captcha is asked of newcomers, and checked with the service', async () => {
  await using service = await startCaptchaService('right answer');
  await using server = await TestServer.start({
    config: {
      ...CLOSED,
      enable_registration_captcha: true,
      recaptcha_public_key: 'public',
      recaptcha_private_key: 'private',
      recaptcha_siteverify_api: service.url,
    },
  });
  const stranger = server.anonymous();
  const order = { username: 'ann', password: 'secret enough' };
  const begun = await stranger.post(REGISTER, order);
  assert.deepEqual(begun.body.flows, [{ stages: ['m.login.recaptcha'] }]);
  assert.deepEqual(begun.body.params, { 'm.login.recaptcha': { public_key: 'public' } });
  const answer = (response: unknown): Promise<Json> =>
    stranger.post(REGISTER, { ...order, auth: { type: 'm.login.recaptcha', session: begun.body.session, response } });
  expectError(await answer(undefined), 400, 'M_CAPTCHA_NEEDED');
  assert.equal((await answer('wrong')).body.errcode, 'M_UNAUTHORIZED');
  expectOk(await answer('right answer'));
  const [first] = service.asked;
  assert.equal(first?.get('secret'), 'private');
  assert.equal(first?.get('remoteip'), '127.0.0.1');
});

test('the captcha can be solved on its page, too', async () => {
  await using service = await startCaptchaService('right answer');
  await using server = await TestServer.start({
    config: {
      ...CLOSED,
      enable_registration_captcha: true,
      recaptcha_public_key: 'public"key',
      recaptcha_private_key: 'private',
      recaptcha_siteverify_api: service.url,
    },
  });
  const order = { username: 'ann', password: 'secret enough' };
  const { session } = (await server.anonymous().post(REGISTER, order)).body;
  const url = `${server.baseUrl}/_matrix/client/v3/auth/m.login.recaptcha/fallback/web?session=${session}`;
  const page = await open(url);
  assert.equal(page.status, 200);
  assert.match(page.html, /data-sitekey="public&quot;key"/);
  assert.match(page.headers.get('content-security-policy') ?? '', /frame-ancestors 'none'/);
  const send = (response: string) =>
    open(url, { method: 'POST', body: new URLSearchParams({ session, 'g-recaptcha-response': response }) });
  const wrong = await send('wrong');
  assert.equal(wrong.status, 401);
  assert.match(wrong.html, /class="error"/);
  const right = await send('right answer');
  assert.equal(right.status, 200);
  assert.match(right.html, /authDone/);
  expectOk(await server.anonymous().post(REGISTER, { ...order, auth: { session } }));
});

test('without its service a captcha lets nobody in', async () => {
  await using server = await TestServer.start({
    config: {
      ...CLOSED,
      enable_registration_captcha: true,
      recaptcha_public_key: 'public',
      recaptcha_private_key: 'private',
      recaptcha_siteverify_api: 'http://127.0.0.1:9/siteverify',
    },
  });
  const auth = { type: 'm.login.recaptcha', response: 'x' };
  const answer = await server.anonymous().post(REGISTER, { username: 'ann', password: 'secret enough', auth });
  expectError(answer, 502, 'M_UNKNOWN');
});

test('token, captcha, policy and address are asked for in this order', async () => {
  using policy = writePolicy();
  await using sink = await MailSink.start();
  await using service = await startCaptchaService('right answer');
  await using server = await TestServer.start({
    config: {
      ...CLOSED,
      ...mailOptions(sink),
      listeners: consentListeners,
      registration_requires_token: true,
      enable_registration_captcha: true,
      registrations_require_3pid: ['email'],
      recaptcha_public_key: 'public',
      recaptcha_private_key: 'private',
      recaptcha_siteverify_api: service.url,
      form_secret: 'secret',
      user_consent: {
        template_dir: policy.dir,
        version: '1.0',
        require_at_registration: true,
        policy_name: 'House rules',
      },
    },
  });
  const { body } = await server.anonymous().post(REGISTER, { username: 'ann', password: 'secret enough' });
  assert.deepEqual(body.flows, [
    { stages: ['m.login.registration_token', 'm.login.recaptcha', 'm.login.terms', 'm.login.email.identity'] },
  ]);
  const { privacy_policy: terms } = body.params['m.login.terms'].policies;
  assert.equal(terms.version, '1.0');
  assert.equal(terms.en.name, 'House rules');
  assert.equal(terms.en.url, 'https://hearth.test/_matrix/consent?v=1.0');
});

test('Ann agrees to the policy when she registers, and once more when it changes', async () => {
  using policy = writePolicy();
  const consent = (version: string): Json => ({
    template_dir: policy.dir,
    version,
    require_at_registration: true,
    block_events_error: 'Please read %(consent_uri)s first',
  });
  await using server = await TestServer.start({
    config: { listeners: consentListeners, form_secret: 'secret', user_consent: consent('1.0') },
  });
  const stranger = server.anonymous();
  const order = { username: 'ann', password: 'password of ann' };
  const { session } = (await stranger.post(REGISTER, order)).body;

  const publicPage = await open(`${server.baseUrl}/_matrix/consent?v=1.0`);
  assert.equal(publicPage.status, 200);
  assert.match(publicPage.html, /Be kind \(1\.0\)/);
  assert.doesNotMatch(publicPage.html, /<form/);
  assert.equal((await open(`${server.baseUrl}/_matrix/consent?v=../1.0`)).status, 404);

  const stage = `${server.baseUrl}/_matrix/client/v3/auth/m.login.terms/fallback/web?session=${session}`;
  assert.match((await open(stage)).html, /consent\?v=1\.0/);
  assert.equal((await open(stage, { method: 'POST', body: new URLSearchParams({ session }) })).status, 200);
  expectOk(await stranger.post(REGISTER, { ...order, auth: { session } }));

  const ann = await server.login('ann');
  const { room_id: room } = expectOk(await ann.post('/_matrix/client/v3/createRoom', {}));
  const write = (): Promise<Json> =>
    ann.put(`/_matrix/client/v3/rooms/${room}/send/m.room.message/${Math.random()}`, { msgtype: 'm.text', body: 'hi' });
  expectOk(await write());

  await server.restart({ user_consent: consent('2.0') });
  const refused = await write();
  expectError(refused, 403, 'M_CONSENT_NOT_GIVEN');
  expectError(await ann.post('/_matrix/client/v3/createRoom', {}), 403, 'M_CONSENT_NOT_GIVEN');
  assert.match(refused.body.error, /^Please read https:\/\/hearth\.test\/_matrix\/consent\?/);
  const link = new URL(refused.body.consent_uri);
  const page = await open(`${server.baseUrl}${link.pathname}${link.search}`);
  assert.match(page.html, /<form/);
  const form = { u: link.searchParams.get('u') ?? '', h: link.searchParams.get('h') ?? '', v: '2.0' };
  const agree = (fields: Record<string, string>) =>
    open(`${server.baseUrl}/_matrix/consent`, { method: 'POST', body: new URLSearchParams(fields) });
  assert.equal((await agree({ ...form, h: '0'.repeat(64) })).status, 403);
  assert.equal((await agree({ ...form, u: 'bob' })).status, 403);
  expectError(await write(), 403, 'M_CONSENT_NOT_GIVEN');
  assert.match((await agree(form)).html, /Thank you so much/);
  expectOk(await write());
  assert.match((await open(`${server.baseUrl}${link.pathname}${link.search}`)).html, /You have agreed to 2\.0/);
});

test('who has not agreed may still leave', async () => {
  using policy = writePolicy();
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const { room_id: room } = expectOk(await ann.post('/_matrix/client/v3/createRoom', {}));
  await server.restart({
    form_secret: 'secret',
    user_consent: { template_dir: policy.dir, version: '1.0', block_events_error: 'Not yet' },
  });
  expectError(
    await ann.post(`/_matrix/client/v3/rooms/${room}/invite`, { user_id: '@bob:hearth.test' }),
    403,
    'M_CONSENT_NOT_GIVEN',
  );
  expectOk(await ann.post(`/_matrix/client/v3/rooms/${room}/leave`));
});

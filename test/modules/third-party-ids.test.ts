import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { MailSink } from '../kit/mail-sink.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { ADD, addEmail, askForMail, linkTo, mailOptions, open, SECRET, startWithMail } from './mail-house.ts';

const LOGIN = '/_matrix/client/v3/login';
const PASSWORD = '/_matrix/client/v3/account/password';
const REGISTER = '/_matrix/client/v3/register';

test('Ann adds her address, logs in with it, and takes it away again', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ann = await server.register('ann');
  assert.deepEqual(expectOk(await ann.get(ADD)), { threepids: [] });

  const { sid, mail } = await askForMail(server, sink, ADD, 'Ann@Example.org');
  assert.match(mail.headers['from'] ?? '', /Matrix at home <hearth@home\.example>/);
  assert.deepEqual(mail.to, ['ann@example.org']);
  assert.match(mail.html, /<a class="button" href="https:&#x2f;&#x2f;hearth\.test/);

  const creds = { sid, client_secret: SECRET };
  const begun = await ann.post(`${ADD}/add`, creds);
  assert.equal(begun.status, 401);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
    session: begun.body.session,
  };
  expectError(await ann.post(`${ADD}/add`, { ...creds, auth }), 400, 'M_THREEPID_AUTH_FAILED');

  const page = await open(linkTo(server, mail));
  assert.equal(page.status, 200);
  assert.match(page.html, /is confirmed/);
  expectOk(await ann.post(`${ADD}/add`, { ...creds, auth }));

  const { threepids } = expectOk(await ann.get(ADD));
  assert.equal(threepids.length, 1);
  assert.equal(threepids[0].address, 'ann@example.org');
  assert.equal(threepids[0].medium, 'email');
  assert.ok(threepids[0].added_at >= threepids[0].validated_at && threepids[0].validated_at > 0);

  const byMail = {
    type: 'm.login.password',
    identifier: { type: 'm.id.thirdparty', medium: 'email', address: 'ANN@example.org' },
    password: 'password of ann',
  };
  assert.equal(expectOk(await server.anonymous().post(LOGIN, byMail)).user_id, ann.userId);

  const gone = expectOk(await ann.post(`${ADD}/delete`, { medium: 'email', address: 'ann@EXAMPLE.org' }));
  assert.deepEqual(gone, { id_server_unbind_result: 'no-support' });
  assert.deepEqual(expectOk(await ann.get(ADD)), { threepids: [] });
  expectError(await server.anonymous().post(LOGIN, byMail), 403, 'M_FORBIDDEN');
});

test('what one session has proved serves once, for one end, and only with its secret', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const legacy = (creds: object) => ({ three_pid_creds: creds });

  const { sid, mail } = await askForMail(server, sink, ADD, 'ann@example.org');
  await open(linkTo(server, mail));
  // Mail programs follow links, too: the second time is no mishap.
  assert.equal((await open(linkTo(server, mail))).status, 200);
  expectError(await bob.post(ADD, legacy({ sid, client_secret: 'another' })), 400, 'M_THREEPID_AUTH_FAILED');
  expectOk(await ann.post(ADD, legacy({ sid, client_secret: SECRET })));
  expectError(await bob.post(ADD, legacy({ sid, client_secret: SECRET })), 400, 'M_THREEPID_AUTH_FAILED');
  assert.equal((await open(linkTo(server, mail))).status, 400);

  const second = await askForMail(server, sink, REGISTER, 'other@example.org');
  await open(linkTo(server, second.mail));
  expectError(await bob.post(ADD, legacy({ sid: second.sid, client_secret: SECRET })), 400, 'M_THREEPID_AUTH_FAILED');
});

test('an address belongs to one account, and asking tells so unless the server is to keep quiet', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ann = await server.register('ann');
  await addEmail(server, sink, ann, 'ann@example.org');
  const ask = (path: string, email: string) =>
    server.anonymous().post(`${path}/email/requestToken`, { client_secret: SECRET, email, send_attempt: 1 });
  expectError(await ask(ADD, 'ann@example.org'), 400, 'M_THREEPID_IN_USE');
  expectError(await ask(REGISTER, 'Ann@example.org'), 400, 'M_THREEPID_IN_USE');
  expectError(await ask(PASSWORD, 'nobody@example.org'), 400, 'M_THREEPID_NOT_FOUND');
  for (const email of ['', 'ann', 'ann@', '@example.org', 'a@b, c@d', 'a@b\r\nBcc: c@d', '<a@b>', 'a b@c']) {
    expectError(await ask(ADD, email), 400, 'M_INVALID_PARAM');
  }

  await server.restart({ request_token_inhibit_3pid_errors: true });
  assert.equal(typeof expectOk(await ask(PASSWORD, 'nobody@example.org')).sid, 'string');
  assert.equal(typeof expectOk(await ask(REGISTER, 'ann@example.org')).sid, 'string');
  const mail = await sink.next('ann@example.org');
  assert.match(mail.text, /belongs to an account there already/);
});

test('two people prove the same address at once, and the first has it', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const one = await askForMail(server, sink, ADD, 'shared@example.org', { client_secret: 'one' });
  const two = await askForMail(server, sink, ADD, 'shared@example.org', { client_secret: 'two' });
  assert.notEqual(one.sid, two.sid);
  for (const { mail } of [one, two]) assert.equal((await open(linkTo(server, mail))).status, 200);
  expectOk(await ann.post(ADD, { threePidCreds: { sid: one.sid, client_secret: 'one' } }));
  const late = await bob.post(ADD, { three_pid_creds: { sid: two.sid, client_secret: 'two' } });
  expectError(late, 400, 'M_THREEPID_IN_USE');
});

test('another mail goes out for another attempt only, and the newest link counts', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ask = (attempt: number) =>
    server.anonymous().post(`${ADD}/email/requestToken`, {
      client_secret: SECRET,
      email: 'ann@example.org',
      send_attempt: attempt,
    });
  const first = expectOk(await ask(1));
  const old = await sink.next('ann@example.org');
  assert.equal(expectOk(await ask(1)).sid, first.sid);
  assert.equal(sink.received.length, 0);
  assert.equal(expectOk(await ask(2)).sid, first.sid);
  const fresh = await sink.next('ann@example.org');
  assert.equal((await open(linkTo(server, old))).status, 400);
  assert.equal((await open(linkTo(server, fresh))).status, 200);
});

test('a link that is followed while another mail is on its way has proved the address all the same', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ann = await server.register('ann');
  const { sid, mail } = await askForMail(server, sink, ADD, 'ann@example.org');
  sink.beforeThanks = async () => assert.equal((await open(linkTo(server, mail))).status, 200);
  const again = await askForMail(server, sink, ADD, 'ann@example.org', { send_attempt: 2 });
  assert.equal(again.sid, sid);
  expectOk(await ann.post(ADD, { three_pid_creds: { sid, client_secret: SECRET } }));
});

test('links grow old, and so does what they have proved', async () => {
  const clock = new ManualClock();
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink, {}, { clock });
  const ann = await server.register('ann');
  const late = await askForMail(server, sink, ADD, 'late@example.org');
  await clock.advance(3_600_000);
  const page = await open(linkTo(server, late.mail));
  assert.equal(page.status, 400);
  assert.match(page.html, /too old|not known/);

  const { sid, mail } = await askForMail(server, sink, ADD, 'ann@example.org');
  await open(linkTo(server, mail));
  await clock.advance(25 * 3_600_000);
  expectError(await ann.post(ADD, { three_pid_creds: { sid, client_secret: SECRET } }), 400, 'M_THREEPID_AUTH_FAILED');
});

test('a link may lead on, but only to web pages on the list', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink, { next_link_domain_whitelist: ['app.example'] });
  const { mail } = await askForMail(server, sink, ADD, 'ann@example.org', {
    next_link: 'https://app.example/#/done?a=b',
  });
  const page = await open(linkTo(server, mail));
  assert.equal(page.status, 302);
  assert.equal(page.headers.get('location'), 'https://app.example/#/done?a=b');
  for (const link of [
    'https://evil.example/',
    'javascript:alert(1)',
    'file:///etc/passwd',
    'https://a:b@app.example/',
    'x',
  ]) {
    const answer = await server.anonymous().post(`${ADD}/email/requestToken`, {
      client_secret: SECRET,
      email: 'bob@example.org',
      send_attempt: 1,
      next_link: link,
    });
    expectError(answer, 400, 'M_INVALID_PARAM');
  }
});

test('Ann has forgotten her password and sets a new one by mail', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ann = await server.register('ann');
  await addEmail(server, sink, ann, 'ann@example.org');

  const { sid, mail } = await askForMail(server, sink, PASSWORD, 'Ann@example.org');
  assert.match(mail.headers['subject'] ?? '', /new password .* hearth\.test/);
  const stranger = server.anonymous();
  const begun = await stranger.post(PASSWORD, { new_password: 'another one' });
  assert.equal(begun.status, 401);
  assert.deepEqual(begun.body.flows, [{ stages: ['m.login.password'] }, { stages: ['m.login.email.identity'] }]);
  const order = {
    new_password: 'another one',
    auth: {
      type: 'm.login.email.identity',
      session: begun.body.session,
      threepid_creds: { sid, client_secret: SECRET },
    },
  };
  const early = await stranger.post(PASSWORD, order);
  assert.equal(early.status, 401);
  assert.equal(early.body.errcode, 'M_UNAUTHORIZED');

  const link = linkTo(server, mail);
  const page = await open(link);
  assert.equal(page.status, 200);
  assert.match(page.html, /<form method="post">/);
  // Opening the page, as mail programs do, confirms nothing yet.
  assert.equal((await stranger.post(PASSWORD, order)).status, 401);
  const form = new URLSearchParams(new URL(link).search);
  const done = await open(link.slice(0, link.indexOf('?')), { method: 'POST', body: form });
  assert.equal(done.status, 200);
  expectOk(await stranger.post(PASSWORD, order));

  expectError(await ann.get('/_matrix/client/v3/account/whoami'), 401, 'M_UNKNOWN_TOKEN');
  await server.login('ann', { password: 'another one' });
  const again = await stranger.post(PASSWORD, {
    new_password: 'third',
    auth: { type: 'm.login.email.identity', threepid_creds: { sid, client_secret: SECRET } },
  });
  assert.equal(again.status, 401);
});

test('a client may ask every other second whether the mail about a new password was read', async () => {
  await using sink = await MailSink.start();
  const clock = new ManualClock();
  // As servers are by default.
  await using server = await startWithMail(
    sink,
    { rc_login: { address: { per_second: 0.003, burst_count: 5 } } },
    { clock },
  );
  const ann = await server.register('ann');
  await addEmail(server, sink, ann, 'ann@example.org');
  const { sid, mail } = await askForMail(server, sink, PASSWORD, 'ann@example.org');
  const auth = { type: 'm.login.email.identity', threepid_creds: { sid, client_secret: SECRET } };
  const reset = () => server.anonymous().post(PASSWORD, { new_password: 'another one', auth });
  for (let times = 0; times < 40; times += 1) {
    expectError(await reset(), 401, 'M_UNAUTHORIZED');
    await clock.advance(2_000);
  }
  const link = linkTo(server, mail);
  const body = new URLSearchParams(new URL(link).search);
  assert.equal((await open(link.slice(0, link.indexOf('?')), { method: 'POST', body })).status, 200);
  expectOk(await reset());

  // Whoever guesses at passwords has to wait soon, and whoever asks without a pause in the end.
  const guess = { type: 'm.login.password', user: 'ann', password: 'a guess' };
  const guesses = await Promise.all(
    Array.from({ length: 6 }, () => server.anonymous().post(PASSWORD, { new_password: 'theirs', auth: guess })),
  );
  assert.ok(guesses.some(({ status }) => status === 429));
  const asked = await Promise.all(
    Array.from({ length: 40 }, () => server.anonymous().post(PASSWORD, { new_password: 'theirs' })),
  );
  assert.ok(asked.some(({ status }) => status === 429));
});

test('an address serves no more once its account is closed', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink);
  const ann = await server.register('ann');
  await addEmail(server, sink, ann, 'ann@example.org');
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ann' },
    password: 'password of ann',
  };
  const closed = expectOk(await ann.post('/_matrix/client/v3/account/deactivate', { auth }));
  assert.equal(closed.id_server_unbind_result, 'success');
  await askForMail(server, sink, ADD, 'ann@example.org');
});

test('only allowed addresses come to accounts, and changes can be forbidden altogether', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink, {
    allowed_local_3pids: [{ medium: 'email', pattern: '.*@home\\.example$' }],
  });
  const ask = (email: string) =>
    server.anonymous().post(`${ADD}/email/requestToken`, { client_secret: SECRET, email, send_attempt: 1 });
  expectError(await ask('ann@elsewhere.example'), 403, 'M_THREEPID_DENIED');
  expectOk(await ask('ann@home.example'));

  await server.restart({ enable_3pid_changes: false });
  expectError(await ask('ann@home.example'), 403, 'M_FORBIDDEN');
  const ann = await server.register('ann');
  expectError(await ann.post(`${ADD}/add`, { sid: 'x', client_secret: SECRET }), 403, 'M_FORBIDDEN');
  expectError(await ann.post(`${ADD}/delete`, { medium: 'email', address: 'a@b' }), 403, 'M_FORBIDDEN');
  const { capabilities } = expectOk(await ann.get('/_matrix/client/v3/capabilities'));
  assert.deepEqual(capabilities['m.3pid_changes'], { enabled: false });
});

test('mails to verify an address are limited for each of them', async () => {
  const clock = new ManualClock();
  await using sink = await MailSink.start();
  await using server = await startWithMail(
    sink,
    { rc_3pid_validation: { per_second: 0.001, burst_count: 2 } },
    { clock },
  );
  const ask = (attempt: number) =>
    server.anonymous().post(`${ADD}/email/requestToken`, {
      client_secret: SECRET,
      email: 'ann@example.org',
      send_attempt: attempt,
    });
  expectOk(await ask(1));
  expectOk(await ask(2));
  expectError(await ask(3), 429, 'M_LIMIT_EXCEEDED');
  await clock.advance(1_000_000);
  expectOk(await ask(3));
});

test('a server without mail says that it cannot verify addresses', async () => {
  await using server = await TestServer.start();
  for (const path of [ADD, PASSWORD, REGISTER]) {
    const request = { client_secret: SECRET, send_attempt: 1 };
    expectError(
      await server.anonymous().post(`${path}/email/requestToken`, { ...request, email: 'ann@example.org' }),
      400,
      'M_THREEPID_MEDIUM_NOT_SUPPORTED',
    );
    expectError(
      await server
        .anonymous()
        .post(`${path}/msisdn/requestToken`, { ...request, country: 'GB', phone_number: '07700900001' }),
      400,
      'M_THREEPID_MEDIUM_NOT_SUPPORTED',
    );
  }
});

test('whoever waits for a mail hears at once that it could not be sent', async () => {
  await using sink = await MailSink.start();
  await using server = await TestServer.start({ config: mailOptions(sink) });
  sink.refuse = { code: 550, message: 'no such mailbox' };
  const request = { client_secret: SECRET, email: 'ann@example.org', send_attempt: 1 };
  expectError(await server.anonymous().post(`${ADD}/email/requestToken`, request), 500, 'M_UNKNOWN');
  sink.refuse = undefined;
  expectOk(await server.anonymous().post(`${ADD}/email/requestToken`, request));
});

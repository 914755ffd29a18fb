import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MailSink, type ReceivedMail } from '../kit/mail-sink.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import type { TestServer } from '../kit/test-server.ts';
import { ADD, addEmail, askForMail, linkTo, mailOptions, open, SECRET, startWithMail } from './mail-house.ts';
import { keysOf, pair, passUntil, read, setPusher } from './pushers-kit.ts';

const ANN = 'ann@example.org';
const MINUTE_MS = 60_000;

function byMail(address: string, more: Json = {}): Json {
  return {
    kind: 'email',
    app_id: 'm.email',
    app_display_name: 'Email Notifications',
    device_display_name: address,
    pushkey: address,
    lang: 'en',
    data: {},
    ...more,
  };
}

interface MailHouse {
  readonly server: TestServer;
  readonly clock: ManualClock;
  readonly sink: MailSink;
  readonly ann: TestClient;
  readonly bob: TestClient;
  readonly room: string;
  /** Lets time pass until the next mail to Ann is there; gives it, and how long that took, ms. */
  readonly mail: (stepMs?: number) => Promise<{ readonly mail: ReceivedMail; readonly tookMs: number }>;
}

/** Ann gets mail about what she misses in a room with Bob. */
async function house(sink: MailSink, more: Json = {}): Promise<MailHouse & AsyncDisposable> {
  const clock = new ManualClock();
  const email = { enable_notifs: true, ...more };
  const server = await startWithMail(sink, mailOptions(sink, email), { clock });
  const { ann, bob, room } = await pair(server);
  await addEmail(server, sink, ann, ANN);
  await setPusher(ann, byMail(ANN, { data: { brand: 'Our House' } }));
  return {
    server,
    clock,
    sink,
    ann,
    bob,
    room,
    mail: async (stepMs = MINUTE_MS / 4) => {
      const start = clock.now();
      await passUntil(clock, () => sink.received.length > 0, stepMs);
      return { mail: await sink.next(ANN), tookMs: clock.now() - start };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

test('who does not read a message within ten minutes gets mail about it, with nothing in it that could do harm', async () => {
  await using sink = await MailSink.start();
  await using home = await house(sink);
  const { ann, bob, room } = home;
  await ann.setState(room, 'm.room.name', { name: 'Kitchen' });
  const seen = await bob.send(room, 'already seen');
  await read(ann, room, seen);
  await bob.send(room, {
    msgtype: 'm.text',
    body: 'see https://example.org/a?b=1&c=2 <b>now</b>',
  });
  await bob.send(room, {
    msgtype: 'm.text',
    body: 'plain & simple',
    format: 'org.matrix.custom.html',
    formatted_body:
      '<mx-reply>old talk</mx-reply><strong onclick="steal()">plain</strong> &amp; <script>alert(1)</script>simple' +
      '<a href="javascript:alert(1)">bad</a><a href="https://example.org/x">good</a><img src="https://spy.example/p.png">',
  });
  const { mail, tookMs } = await home.mail();
  assert.ok(tookMs >= 9 * MINUTE_MS && tookMs <= 20 * MINUTE_MS, `after ${tookMs} ms`);
  assert.deepEqual(mail.to, [ANN]);
  assert.match(mail.headers['from'] ?? '', /Our House at home/);
  assert.match(mail.headers['subject'] ?? '', /Kitchen/);
  assert.match(mail.text, /plain & simple/);
  assert.match(mail.html, /<a href="https:\/\/example\.org\/a\?b=1&amp;c=2">/);
  assert.match(mail.html, /&lt;b&gt;now&lt;\/b&gt;/);
  assert.match(mail.html, /<strong>plain<\/strong> &amp; simple/);
  assert.match(mail.html, /<a href="https:\/\/example\.org\/x">good<\/a>/);
  assert.doesNotMatch(mail.html, /javascript:|onclick|alert|old talk|spy\.example/);
  // The message before is shown for what it was about, seen as it is.
  assert.match(mail.text, /already seen/);
});

test('the link in a mail asks first, then puts an end to such mails; a link that was changed does nothing', async () => {
  await using sink = await MailSink.start();
  await using home = await house(sink);
  const { ann, bob, room, server, clock } = home;
  await bob.send(room, 'one');
  const { mail } = await home.mail();
  const link = new URL(/<(.*)>/.exec(mail.headers['list-unsubscribe'] ?? '')?.[1] ?? '');
  assert.equal(link.pathname, '/_synapse/client/unsubscribe');
  assert.match(mail.headers['list-unsubscribe-post'] ?? '', /One-Click/);
  assert.ok(mail.text.includes(link.href), 'people see it too');
  const url = `${server.baseUrl}${link.pathname}${link.search}`;
  const page = await open(url);
  assert.deepEqual([page.status, /<form method="post">/.test(page.html)], [200, true]);
  const forged = new URL(url);
  forged.searchParams.set('user_id', bob.userId);
  assert.equal((await open(forged.href, { method: 'POST' })).status, 400);
  assert.equal((await open(`${url}x`, { method: 'POST' })).status, 400);
  assert.deepEqual(await keysOf(ann), [ANN]);

  await server.restart();
  const again = `${server.baseUrl}${link.pathname}${link.search}`;
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const done = await open(again, { method: 'POST', headers: form, body: 'List-Unsubscribe=One-Click' });
  assert.equal(done.status, 200);
  assert.deepEqual(await keysOf(ann), []);
  await bob.send(room, 'two');
  await clock.advance(30 * MINUTE_MS);
  assert.equal(sink.received.length, 0);
});

test('a room that does not fall silent gets one mail after ten minutes, one more, and then one a day', async () => {
  await using sink = await MailSink.start();
  await using home = await house(sink);
  const { bob, room } = home;
  const spent: number[] = [];
  for (const [body, stepMs] of [['one'], ['two'], ['three', 10 * MINUTE_MS]] as const) {
    await bob.send(room, body);
    const { mail, tookMs } = await home.mail(stepMs);
    assert.match(mail.text, new RegExp(body));
    spent.push(Math.round(tookMs / MINUTE_MS));
  }
  const [first = 0, second = 0, third = 0] = spent;
  assert.ok(first >= 9 && first <= 20 && second >= 9 && second <= 20, spent.join());
  assert.ok(third >= 23 * 60 && third <= 28 * 60, spent.join());
});

test('what was read meanwhile needs no mail, and invites say who wants to see one where', async () => {
  await using sink = await MailSink.start();
  await using home = await house(sink);
  const { ann, bob, room, clock } = home;
  const eventId = await bob.send(room, 'one');
  await clock.advance(5 * MINUTE_MS);
  await read(ann, room, eventId);
  await clock.advance(30 * MINUTE_MS);
  assert.equal(sink.received.length, 0);
  await bob.createRoom({ preset: 'private_chat', name: 'Shed', invite: [ann.userId] });
  const { mail } = await home.mail();
  assert.match(mail.headers['subject'] ?? '', /bob.*Shed/);
});

test('only one’s own address can be mailed to, and not when it is one’s own no longer', async () => {
  await using sink = await MailSink.start();
  await using home = await house(sink);
  const { ann, bob, room, clock } = home;
  const set = (who: TestClient, pusher: Json) => who.post('/_matrix/client/v3/pushers/set', pusher);
  expectError(await set(bob, byMail(ANN)), 400, 'M_THREEPID_NOT_FOUND');
  expectError(await set(ann, byMail('else@example.org')), 400, 'M_THREEPID_NOT_FOUND');
  expectError(await set(ann, byMail(ANN, { app_id: 'org.example.app' })), 400, 'M_INVALID_PARAM');
  await bob.send(room, 'one');
  expectOk(await ann.post(`${ADD}/delete`, { medium: 'email', address: ANN }));
  assert.deepEqual(await keysOf(ann), []);
  await clock.advance(30 * MINUTE_MS);
  assert.equal(sink.received.length, 0);
});

test('who registers with an address gets such mails from the start, unless an administrator thinks better of it', async () => {
  for (const wanted of [true, false]) {
    await using sink = await MailSink.start();
    const email = { enable_notifs: true, notif_for_new_users: wanted };
    const config = { ...mailOptions(sink, email), registrations_require_3pid: ['email'] };
    await using server = await startWithMail(sink, config);
    const path = '/_matrix/client/v3/register';
    const { sid, mail } = await askForMail(server, sink, path, ANN);
    await open(linkTo(server, mail));
    const creds = { sid, client_secret: SECRET };
    const body = { username: 'ann', password: 'password of ann' };
    const first = await server.anonymous().post(path, body);
    const auth = { type: 'm.login.email.identity', threepid_creds: creds, session: first.body.session };
    expectOk(await server.anonymous().post(path, { ...body, auth }));
    const ann = await server.login('ann');
    assert.deepEqual(await keysOf(ann), wanted ? [ANN] : []);
  }
});

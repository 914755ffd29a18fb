import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { test } from 'node:test';
import { createMail } from '../../server/mail/mail.ts';
import { type Mail, MailError, SafeHtml } from '../../server/mail/index.ts';
import type { RunningMailer } from '../../server/mail/mailer.ts';
import { mailMigrations } from '../../server/mail/queue.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { silentLogger, type Logger } from '../../server/util/log.ts';
import { makeAuthority } from '../kit/certificates.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { MailSink, type MailSinkOptions } from '../kit/mail-sink.ts';
import { expectOk } from '../kit/test-client.ts';
import { ADD, askForMail, startWithMail } from './mail-house.ts';

const LETTER: Mail = {
  to: 'ann@example.org',
  template: 'password_reset',
  subject: 'Hello',
  vars: { link: 'https://x/?a&b' },
};

interface PostOfficeOptions {
  readonly port: number;
  readonly smtp?: Partial<NonNullable<Parameters<typeof createMail>[0]['settings']['email']>>;
  readonly templateDirectories?: readonly string[];
  readonly log?: Logger;
}

/** The mail part of a server on a database of its own, which can be stopped and started again. */
class PostOffice implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'hearth-mail-'));
  readonly clock = new ManualClock();
  readonly #options: PostOfficeOptions;
  #stop: () => Promise<void> = async () => {};
  mailer: RunningMailer;
  templates: ReturnType<typeof createMail>['templates'];

  constructor(options: PostOfficeOptions) {
    this.#options = options;
    const made = this.#open();
    this.mailer = made.mailer;
    this.templates = made.templates;
  }

  #open(): ReturnType<typeof createMail> {
    const log = this.#options.log ?? silentLogger;
    const db = openDatabase({ path: join(this.dir, 'mail.db'), migrations: [mailMigrations], log });
    const made = createMail({
      db,
      clock: this.clock,
      log,
      settings: {
        serverName: 'hearth.test',
        publicBaseUrl: 'https://hearth.test/',
        templateDirectories: this.#options.templateDirectories ?? [],
        email: {
          host: '127.0.0.1',
          port: this.#options.port,
          user: undefined,
          password: undefined,
          tls: 'off',
          tlsName: undefined,
          from: 'Hearth <hearth@home.example>',
          appName: 'Matrix',
          subjects: {},
          ...this.#options.smtp,
        },
      },
    });
    made.mailer.start();
    this.#stop = async () => {
      await made.mailer.stop();
      await db.close();
    };
    return made;
  }

  async restart(): Promise<void> {
    await this.#stop();
    ({ mailer: this.mailer, templates: this.templates } = this.#open());
  }

  /** Lets time pass until something real has come of it. */
  async passUntil(isDone: () => boolean, stepMs = 60_000): Promise<void> {
    for (let steps = 0; !isDone(); steps += 1) {
      assert.ok(steps < 3_000, 'it happens at last');
      await this.clock.advance(stepMs);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

let authority: ReturnType<typeof makeAuthority> | undefined;

async function secureSink(name: string, options: MailSinkOptions = {}): Promise<MailSink> {
  authority ??= makeAuthority().then((made) => {
    setDefaultCACertificates([...getCACertificates(), made.cert]);
    return made;
  });
  return MailSink.start({ ...options, tls: await (await authority).issue({ dnsNames: [name] }) });
}

test('a mail that was accepted survives a restart, and arrives once the mail server is well again', async () => {
  await using sink = await MailSink.start();
  await using office = new PostOffice({ port: sink.port });
  sink.refuse = { code: 451, message: 'not now' };
  office.mailer.send(LETTER);
  await office.passUntil(() => sink.attempts > 0);
  await office.restart();
  sink.refuse = undefined;
  await office.passUntil(() => sink.received.length > 0);
  const mail = await sink.next('ann@example.org');
  assert.equal(mail.headers['subject'], 'Hello');
  assert.match(mail.text, /https:\/\/x\/\?a&b/);
  await office.passUntil(() => true);
  await office.restart();
  await office.clock.advance(86_400_000);
  assert.equal(sink.received.length, 0);
});

test('a mail waits longer from one try to the next, and is given up after days with a line in the log', async () => {
  const lines: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_data, sentence) => lines.push(sentence) };
  await using sink = await MailSink.start();
  await using office = new PostOffice({ port: sink.port, log });
  sink.refuse = { code: 451, message: 'not now' };
  office.mailer.send(LETTER);
  await office.passUntil(() => lines.length > 0, 30 * 60_000);
  assert.match(lines[0] ?? '', /given up/);
  assert.ok(sink.attempts > 4 && sink.attempts < 60, `${sink.attempts} tries`);
  const tries = sink.attempts;
  await office.clock.advance(10 * 86_400_000);
  assert.equal(sink.attempts, tries);
});

test('what the mail server refuses for good is not tried again, and the next mail goes out', async () => {
  await using sink = await MailSink.start();
  await using office = new PostOffice({ port: sink.port });
  sink.refuse = { code: 550, message: 'no such mailbox' };
  office.mailer.send(LETTER);
  await office.passUntil(() => sink.attempts > 0);
  sink.refuse = undefined;
  office.mailer.send({ ...LETTER, to: 'bob@example.org' });
  await office.passUntil(() => sink.received.length > 0);
  assert.deepEqual(sink.received[0]?.to, ['bob@example.org']);
  await office.clock.advance(86_400_000);
  assert.equal(sink.attempts, 2);
});

test('when the machine wakes up, what waits is tried at once', async () => {
  await using sink = await MailSink.start();
  await using office = new PostOffice({ port: sink.port });
  sink.refuse = { code: 451, message: 'not now' };
  office.mailer.send(LETTER);
  // Minute by minute: in longer steps the mail could be given up while one attempt is under way.
  await office.passUntil(() => sink.attempts > 3);
  sink.refuse = undefined;
  office.mailer.wake();
  await sink.next('ann@example.org');
});

test('neither addresses nor subjects nor names can bring headers or recipients with them', async () => {
  await using sink = await MailSink.start();
  await using office = new PostOffice({ port: sink.port, smtp: { from: '%(app)s <hearth@home.example>' } });
  for (const to of [
    'a@b\r\nBcc: c@d',
    'a@b,c@d',
    'a@b c@d',
    '<a@b>',
    'A <a@b>',
    'a@b\0',
    '',
    'a',
    `${'a'.repeat(300)}@b`,
  ]) {
    await assert.rejects(office.mailer.sendNow({ ...LETTER, to }), MailError);
    assert.throws(() => office.mailer.send({ ...LETTER, to }), MailError);
  }
  await office.mailer.sendNow({
    ...LETTER,
    subject: 'Hello\r\nBcc: eve@evil.example\r\n\r\nBody',
    appName: 'App\r\nBcc: eve@evil.example <eve@evil.example>',
  });
  const mail = await sink.next('ann@example.org');
  assert.deepEqual(mail.to, ['ann@example.org']);
  assert.equal(mail.from, 'hearth@home.example');
  assert.equal(mail.headers['bcc'], undefined);
  assert.match(mail.headers['from'] ?? '', /<hearth@home\.example>$/);
  assert.equal(mail.headers['auto-submitted'], 'auto-generated');
});

test('mails go out over TLS with a certificate that counts, and the mail server knows who sends', async () => {
  const login = { user: 'hearth', password: 'secret' };
  await using sink = await secureSink('mail.example', { login });
  const smtp = { tls: 'required', tlsName: 'mail.example', ...login } as const;
  await using office = new PostOffice({ port: sink.port, smtp });
  await office.mailer.sendNow(LETTER);
  const mail = await sink.next('ann@example.org');
  assert.equal(mail.secure, true);
  assert.equal(mail.user, 'hearth');

  await using wrongName = new PostOffice({ port: sink.port, smtp: { ...smtp, tlsName: 'other.example' } });
  await assert.rejects(wrongName.mailer.sendNow(LETTER), MailError);
  await using wrongPassword = new PostOffice({ port: sink.port, smtp: { ...smtp, password: 'wrong' } });
  await assert.rejects(wrongPassword.mailer.sendNow(LETTER), (error) => error instanceof MailError && !error.permanent);
  assert.equal(sink.received.length, 0);
});

test('where TLS is required, a mail server without it gets nothing', async () => {
  await using sink = await MailSink.start();
  await using strict = new PostOffice({ port: sink.port, smtp: { tls: 'required' } });
  await assert.rejects(strict.mailer.sendNow(LETTER), MailError);
  assert.equal(sink.attempts, 0);
  await using easy = new PostOffice({ port: sink.port, smtp: { tls: 'opportunistic' } });
  await easy.mailer.sendNow(LETTER);
  await using implicit = await secureSink('mail.example', { implicitTls: true });
  await using modern = new PostOffice({ port: implicit.port, smtp: { tls: 'implicit', tlsName: 'mail.example' } });
  await modern.mailer.sendNow(LETTER);
  assert.equal((await implicit.next('ann@example.org')).secure, true);
});

test('templates of the administrator go before the built-in ones, file by file', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-templates-'));
  try {
    writeFileSync(join(dir, 'password_reset.txt'), 'Own words for {{ server_name }}: {{ link }}');
    writeFileSync(
      join(dir, 'registration.html'),
      `{% extends "_base.html" %}{% block title %}x{% endblock %}{% block body %}{{ "%s of %.1f" % (app_name, 2) }}{%
        include "missing-%s.css" % app_name ignore missing without context %}{{ link }} {{ safe }} {{ 0|format_ts("%Y-%d") }}
        {{ "mxc://a.example/b"|mxc_to_http(32, 48) }} {{ "ann@x.example"|localpart_from_email }}{% endblock %}`,
    );
    writeFileSync(join(dir, 'add_threepid.html'), '{% if %}');
    const errors: string[] = [];
    const log: Logger = { ...silentLogger, error: (_data, sentence) => errors.push(sentence) };
    await using office = new PostOffice({ port: 9, templateDirectories: [dir], log });
    const { templates } = office;
    assert.equal(templates.render('password_reset.txt', { link: 'a&b' }), 'Own words for hearth.test: a&b');
    assert.match(templates.render('password_reset.html', { link: 'a&b' }), /new password/);
    const html = templates.render('registration.html', {
      app_name: 'Hearth',
      link: '<b>&"',
      safe: new SafeHtml('<i>safe</i>'),
    });
    assert.match(html, /Hearth of 2\.0/);
    assert.match(html, /&lt;b&gt;&amp;&quot; <i>safe<\/i> (1969|1970)-\d\d/);
    assert.match(html, /thumbnail&#x2f;a\.example&#x2f;b\?width=32&amp;height=48&amp;method=crop ann/);
    assert.deepEqual(errors, ['a template cannot be used']);
    assert.match(templates.render('add_threepid.html', { link: 'x' }), /Confirm/);
    assert.throws(() => templates.render('../package.json', {}), /no template/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a server mails by the words of its configuration', async () => {
  await using sink = await MailSink.start();
  await using server = await startWithMail(sink, {
    email: {
      smtp_host: '127.0.0.1',
      smtp_port: sink.port,
      enable_tls: false,
      app_name: 'Löwe',
      notif_from: '%(app)s <l@home.example>',
      subjects: { email_validation: '%(app)s asks from %(server_name)s' },
    },
  });
  const { mail } = await askForMail(server, sink, ADD, 'ann@example.org');
  assert.equal(mail.from, 'l@home.example');
  assert.match(mail.headers['subject'] ?? '', /=\?UTF-8\?/i);
  expectOk(await server.anonymous().get('/_matrix/client/versions'));
});

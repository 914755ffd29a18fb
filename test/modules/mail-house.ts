import { type Json, type TestClient, expectOk } from '../kit/test-client.ts';
import { linkIn, type MailSink, type ReceivedMail } from '../kit/mail-sink.ts';
import { TestServer, type TestServerOptions } from '../kit/test-server.ts';

export const SECRET = 'a.secret_of-the=client';
export const ADD = '/_matrix/client/v3/account/3pid';

/** Options of a server that sends its mails to a sink. */
export function mailOptions(sink: MailSink, more: Json = {}): Json {
  return {
    email: {
      smtp_host: '127.0.0.1',
      smtp_port: sink.port,
      enable_tls: false,
      notif_from: '%(app)s at home <hearth@home.example>',
      ...more,
    },
  };
}

export async function startWithMail(
  sink: MailSink,
  config: Json = {},
  options: Omit<TestServerOptions, 'config'> = {},
): Promise<TestServer> {
  return TestServer.start({ ...options, config: { ...mailOptions(sink), ...config } });
}

/** The link in a mail, at the port the server has in this test. */
export function linkTo(server: TestServer, mail: ReceivedMail): string {
  const link = linkIn(mail);
  return `${server.baseUrl}${link.pathname}${link.search}`;
}

/** Asks for a mail; returns the session and the mail. */
export async function askForMail(
  server: TestServer,
  sink: MailSink,
  path: string,
  email: string,
  more: Json = {},
): Promise<{ sid: string; mail: ReceivedMail }> {
  const { sid } = expectOk(
    await server
      .anonymous()
      .post(`${path}/email/requestToken`, { client_secret: SECRET, email, send_attempt: 1, ...more }),
  );
  return { sid, mail: await sink.next(email.toLowerCase()) };
}

/** Opens the link of a mail in a browser, so to speak. */
export async function open(
  url: string,
  init: RequestInit = {},
): Promise<{ status: number; html: string; headers: Headers }> {
  const response = await fetch(url, { redirect: 'manual', ...init });
  return { status: response.status, html: await response.text(), headers: response.headers };
}

/** Gives somebody a mail address, all steps included. */
export async function addEmail(server: TestServer, sink: MailSink, who: TestClient, email: string): Promise<void> {
  const { sid, mail } = await askForMail(server, sink, ADD, email);
  await open(linkTo(server, mail));
  const body = { sid, client_secret: SECRET };
  const first = await who.post(`${ADD}/add`, body);
  const localpart = who.userId.slice(1, who.userId.indexOf(':'));
  expectOk(
    await who.post(`${ADD}/add`, {
      ...body,
      auth: {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: localpart },
        password: `password of ${localpart}`,
        session: first.body.session,
      },
    }),
  );
}

import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

/** A mail as it arrived. */
export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** The whole text, headers first. */
  readonly raw: string;
  /** Lower-case names, unfolded values. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly html: string;
  readonly secure: boolean;
  readonly user: string | undefined;
}

export interface MailSinkOptions {
  /** With these, STARTTLS is offered. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** TLS from the first byte on. */
  readonly implicitTls?: boolean;
  /** Whom it lets in; anybody, if left out. */
  readonly login?: { readonly user: string; readonly password: string };
}

/** A mail server on 127.0.0.1 that keeps what it gets. */
export class MailSink implements AsyncDisposable {
  readonly received: ReceivedMail[] = [];
  /** What it answers to a recipient instead of taking the mail. */
  refuse: { readonly code: number; readonly message: string } | undefined;
  /** What happens between a mail's arrival and the sink's word that it has it. */
  beforeThanks: ((mail: ReceivedMail) => Promise<void>) | undefined;
  /** How often somebody tried to hand in a mail, refused ones too. */
  attempts = 0;
  readonly #server: SMTPServer;
  #port = 0;
  #waiting: { readonly to: string; readonly resolve: (mail: ReceivedMail) => void }[] = [];

  private constructor(options: MailSinkOptions) {
    const server: SMTPServerOptions = {
      secure: options.implicitTls === true,
      ...options.tls,
      hideSTARTTLS: options.tls === undefined,
      authOptional: options.login === undefined,
      allowInsecureAuth: true,
      logger: false,
      onAuth: ({ username, password }, _session, callback) => {
        const right = username === options.login?.user && password === options.login?.password;
        callback(right ? null : new Error('wrong password'), right ? { user: username ?? '' } : undefined);
      },
      onRcptTo: (_address, _session, callback) => {
        this.attempts += 1;
        const refusal = this.refuse;
        if (refusal === undefined) callback();
        else callback(Object.assign(new Error(refusal.message), { responseCode: refusal.code }));
      },
      onData: (stream, session, callback) => {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          const { mailFrom, rcptTo } = session.envelope;
          const to = rcptTo.map(({ address }) => address);
          const mail = {
            from: mailFrom === false ? '' : mailFrom.address,
            to,
            ...parse(Buffer.concat(chunks).toString('utf8')),
            secure: session.secure,
            user: typeof session.user === 'string' ? session.user : undefined,
          };
          this.#take(mail);
          void (this.beforeThanks?.(mail) ?? Promise.resolve()).then(() => callback(), callback);
        });
      },
    };
    this.#server = new SMTPServer(server);
    this.#server.on('error', () => {});
  }

  static async start(options: MailSinkOptions = {}, port = 0): Promise<MailSink> {
    const sink = new MailSink(options);
    await new Promise<void>((resolve) => sink.#server.listen(port, '127.0.0.1', resolve));
    sink.#port = (sink.#server.server.address() as AddressInfo).port;
    return sink;
  }

  get port(): number {
    return this.#port;
  }

  /** The next mail to somebody, or one that is there already and was not given out yet. */
  async next(to: string): Promise<ReceivedMail> {
    const at = this.received.findIndex((mail) => mail.to.includes(to));
    const [there] = at === -1 ? [] : this.received.splice(at, 1);
    return there ?? new Promise((resolve) => this.#waiting.push({ to, resolve }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(resolve));
  }

  #take(mail: ReceivedMail): void {
    const waiting = this.#waiting.find(({ to }) => mail.to.includes(to));
    if (waiting === undefined) {
      this.received.push(mail);
      return;
    }
    this.#waiting = this.#waiting.filter((one) => one !== waiting);
    waiting.resolve(mail);
  }
}

/** The first web address in the text of a mail. */
export function linkIn(mail: ReceivedMail): URL {
  const link = /https?:\/\/\S+/.exec(mail.text)?.[0];
  assert.ok(link !== undefined, 'the mail has a link');
  return new URL(link);
}

function parse(raw: string): Pick<ReceivedMail, 'raw' | 'headers' | 'text' | 'html'> {
  const { headers, body } = split(raw);
  const boundary = /boundary="?([^";]+)"?/.exec(headers['content-type'] ?? '')?.[1];
  const parts = boundary === undefined ? [raw] : body.split(`--${boundary}`);
  const find = (type: string): string => {
    for (const part of parts) {
      const inner = split(part.replace(/^\r\n/, ''));
      if (inner.headers['content-type']?.startsWith(type) === true) {
        return decode(inner.body, inner.headers['content-transfer-encoding']);
      }
    }
    return '';
  };
  return { raw, headers, text: find('text/plain'), html: find('text/html') };
}

function split(text: string): { headers: Record<string, string>; body: string } {
  const end = text.indexOf('\r\n\r\n');
  const head = (end === -1 ? text : text.slice(0, end)).replace(/\r\n[ \t]+/g, ' ');
  const headers = Object.fromEntries(
    head.split('\r\n').flatMap((line) => {
      const colon = line.indexOf(':');
      return colon === -1 ? [] : [[line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]];
    }),
  );
  return { headers, body: end === -1 ? '' : text.slice(end + 4) };
}

function decode(body: string, encoding: string | undefined): string {
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString('utf8');
  if (encoding !== 'quoted-printable') return body;
  const bytes = body
    .replace(/=\r\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_whole, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

import { isIP } from 'node:net';
import type { Transporter } from 'nodemailer';
import { MailError } from './index.ts';

/** How the mail server is reached. */
export interface SmtpSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** `opportunistic`: STARTTLS where it is offered, and then the certificate has to be right. */
  readonly tls: 'implicit' | 'required' | 'opportunistic' | 'off';
  /** The name its certificate has to bear, if not the host. */
  readonly tlsName: string | undefined;
}

/** A mail as it leaves. */
export interface Letter {
  readonly to: string;
  readonly from: { readonly name: string; readonly address: string };
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  readonly unsubscribeLink: string | undefined;
}

export interface Transport {
  /** Resolves when the mail server has taken it; rejects with `MailError`. */
  deliver(letter: Letter): Promise<void>;
}

const CONNECT_MS = 20_000;
const IDLE_MS = 60_000;

/** Delivers by SMTP. */
export function smtpTransport({ host, port, user, password, tls, tlsName }: SmtpSettings): Transport {
  const serverName = tlsName ?? (isIP(host) === 0 ? host : undefined);
  const options = {
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'off',
    ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
    // An address is no name for TLS to ask for; the certificate is checked against it all the same.
    tls: serverName === undefined ? {} : { servername: serverName },
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    socketTimeout: IDLE_MS,
    // Nothing in a mail names a file or an address to fetch.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
  // Loaded with the first mail: it asks for much of Node that nothing else here needs.
  let transport: Promise<Pick<Transporter, 'sendMail'>> | undefined;
  const load = async (): Promise<Pick<Transporter, 'sendMail'>> =>
    (await import('nodemailer')).createTransport(options);
  return {
    deliver: async ({ to, from, subject, text, html, unsubscribeLink }) => {
      try {
        transport ??= load();
        await (await transport).sendMail({
          from: { name: from.name, address: from.address },
          to: { name: '', address: to },
          subject,
          text,
          html,
          headers: {
            'Auto-Submitted': 'auto-generated',
            'X-Auto-Response-Suppress': 'All',
            ...(unsubscribeLink === undefined
              ? {}
              : { 'List-Unsubscribe': `<${unsubscribeLink}>`, 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' }),
          },
        });
      } catch (error) {
        throw toMailError(error);
      }
    },
  };
}

/** Codes of 500 and above are final (RFC 5321, 4.2.1), unless they are about how we logged in: that can be mended. */
function toMailError(error: unknown): MailError {
  const { code, responseCode, command } = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: unknown;
    responseCode?: unknown;
    command?: unknown;
  };
  const aboutUs = code === 'EAUTH' || code === 'ETLS' || code === 'ECONNECTION' || command === 'CONN';
  const permanent = !aboutUs && typeof responseCode === 'number' && responseCode >= 500;
  const reason = [code, responseCode].filter((part) => typeof part === 'string' || typeof part === 'number').join(' ');
  return new MailError(`the mail server did not take the mail (${reason === '' ? 'unknown reason' : reason})`, {
    permanent,
    cause: error,
  });
}

import { createHash, timingSafeEqual } from 'node:crypto';
import { MailError, TemplateError } from '../../../mail/index.ts';
import { MatrixError } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { WriteTx } from '../../../storage/types.ts';
import { randomString } from '../../../util/random.ts';
import type { Medium, Purpose, ThreepidStore, ValidationSession } from '../store.ts';
import { checkAllowed, checkClientSecret, checkNextLink, readEmail } from './addresses.ts';
import type { MsisdnDelegate } from './delegate.ts';
import type { ThirdPartyIdsNeeds } from './needs.ts';

/** How long what was validated can be used. */
const VALIDATED_LIFETIME_MS = 24 * 3_600_000;
const INHIBITED_DELAY_MS = 1_000;

/** What a session has proved. */
export interface ValidatedThreepid {
  readonly sid: string;
  readonly medium: Medium;
  readonly address: string;
  readonly validatedMs: number;
}

export interface EmailTokenRequest {
  readonly email: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly nextLink: string | undefined;
  readonly ip: string;
}

export interface MsisdnTokenRequest {
  readonly country: string;
  readonly phoneNumber: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly nextLink: string | undefined;
  readonly ip: string;
}

/** What came of a link in a mail. */
export type LinkOutcome =
  | { readonly valid: true; readonly nextLink: string | undefined }
  | { readonly valid: false; readonly reason: string };

/** Proving that one reads the mail, or has the telephone, of an address (spec: `…/requestToken`). */
export interface ValidationSessions {
  /**
   * Sends a mail with a link; returns the session's ID. Throws M_INVALID_PARAM, M_THREEPID_DENIED,
   * M_THREEPID_IN_USE, M_THREEPID_NOT_FOUND, M_THREEPID_MEDIUM_NOT_SUPPORTED, M_LIMIT_EXCEEDED; M_UNKNOWN (500)
   * where the mail could not be sent.
   */
  requestEmail(purpose: Purpose, request: EmailTokenRequest): Promise<string>;
  /** As `requestEmail`, by way of the server that sends text messages. */
  requestMsisdn(purpose: Purpose, request: MsisdnTokenRequest): Promise<string>;
  /** Somebody has followed the link. */
  followLink(purpose: Purpose, link: { sid: string; clientSecret: string; token: string }): LinkOutcome;
  /** What a session proved for that purpose; undefined if nothing. */
  findValidated(
    purpose: Purpose,
    medium: Medium | undefined,
    sid: string,
    clientSecret: string,
  ): Promise<ValidatedThreepid | undefined>;
  /** A session has served. */
  spend(tx: WriteTx, sid: string): void;
  prune(): void;
}

const TEMPLATES: Readonly<Record<Purpose, string>> = {
  add: 'add_threepid',
  register: 'registration',
  password: 'password_reset',
};

const LINKS: Readonly<Record<Purpose, string>> = {
  add: '_matrix/client/unstable/add_threepid/email/submit_token',
  register: '_matrix/client/unstable/registration/email/submit_token',
  password: '_synapse/client/password_reset/email/submit_token',
};

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();

export function createValidationSessions(
  needs: ThirdPartyIdsNeeds,
  store: ThreepidStore,
  delegate: MsisdnDelegate | undefined,
): ValidationSessions {
  const { db, clock, random, log, settings, mailer, limit } = needs;

  function notSupported(): MatrixError {
    return new MatrixError('M_THREEPID_MEDIUM_NOT_SUPPORTED', 'This server cannot verify such addresses', {
      status: 400,
    });
  }

  /** Throws unless an address is free, or for a new password, known. Undefined: pretend, as errors are to tell nothing. */
  function checkOwner(purpose: Purpose, owner: UserId | undefined): 'go on' | 'pretend' {
    const wrong = purpose === 'password' ? owner === undefined : owner !== undefined;
    if (!wrong) return 'go on';
    if (settings.inhibitErrors) return 'pretend';
    if (purpose === 'password')
      throw new MatrixError('M_THREEPID_NOT_FOUND', 'No account here has that address', { status: 400 });
    throw new MatrixError('M_THREEPID_IN_USE', 'An account here has that address already', { status: 400 });
  }

  function checkLimits(ip: string, medium: Medium, address: string): void {
    limit.check(`ip ${ip}`);
    limit.check(`${medium} ${address}`);
  }

  async function sendMail(
    purpose: Purpose,
    session: Omit<ValidationSession, 'tokenHash'>,
    clientSecret: string,
    token: string,
  ): Promise<void> {
    const query = new URLSearchParams({ token, client_secret: clientSecret, sid: session.sid });
    const link = `${settings.publicBaseUrl.replace(/\/+$/, '')}/${LINKS[purpose]}?${query.toString()}`;
    const subject = mailer.subjectOf(purpose === 'password' ? 'password_reset' : 'email_validation');
    await mailNow({ to: session.address, template: TEMPLATES[purpose], subject, vars: { link } });
  }

  async function mailNow(mail: Parameters<typeof mailer.sendNow>[0]): Promise<void> {
    try {
      await mailer.sendNow(mail);
    } catch (error) {
      if (!(error instanceof MailError) && !(error instanceof TemplateError)) throw error;
      log.warn({ template: mail.template, reason: error.message }, 'a mail to verify an address could not be sent');
      throw new MatrixError('M_UNKNOWN', 'The mail could not be sent', { status: 500 });
    }
  }

  /** Takes as long as sending a mail might. */
  async function pretend(purpose: Purpose, address: string): Promise<string> {
    if (purpose === 'register') {
      await mailNow({
        to: address,
        template: 'already_in_use',
        subject: mailer.subjectOf('email_already_in_use'),
        vars: {},
      });
    } else {
      const part = random.bytes(2).readUInt16BE() / 65_536;
      await new Promise<void>((resolve) => clock.after(part * INHIBITED_DELAY_MS, resolve));
    }
    return randomString(random, 16);
  }

  return {
    requestEmail: async (purpose, request) => {
      const { clientSecret, sendAttempt, nextLink, ip } = request;
      if (!mailer.isEnabled) throw notSupported();
      checkClientSecret(clientSecret);
      const address = readEmail(request.email);
      if (nextLink !== undefined) checkNextLink(nextLink, settings.nextLinkDomains);
      if (purpose !== 'password') checkAllowed(settings, 'email', address);
      checkLimits(ip, 'email', address);
      if (checkOwner(purpose, store.findOwner('email', address)) === 'pretend') return pretend(purpose, address);

      const secretHash = hash(clientSecret);
      const before = store.findOpenSession(purpose, 'email', address, secretHash, clock.now());
      // Spec: the same attempt is a repetition of the request, not a wish for another mail.
      if (before !== undefined && sendAttempt <= before.sendAttempt) return before.sid;
      const token = randomString(random, 32);
      const session = {
        sid: before?.sid ?? randomString(random, 16),
        purpose,
        medium: 'email',
        address,
        secretHash,
        nextLink,
        sendAttempt,
        validatedMs: undefined,
        expiresMs: clock.now() + settings.tokenLifetimeMs,
      } as const;
      await sendMail(purpose, session, clientSecret, token);
      // While this mail was on its way, the link of the one before may have been followed: that stands.
      if (store.findSession(session.sid)?.validatedMs === undefined) {
        db.write((tx) => store.putSession(tx, { ...session, tokenHash: hash(token) }));
      }
      return session.sid;
    },

    requestMsisdn: async (purpose, request) => {
      const { country, phoneNumber, clientSecret, sendAttempt, nextLink, ip } = request;
      if (delegate === undefined || (purpose === 'register' && !settings.msisdnRegistration)) throw notSupported();
      checkClientSecret(clientSecret);
      if (nextLink !== undefined) checkNextLink(nextLink, settings.nextLinkDomains);
      const known = readInternational(phoneNumber);
      if (known !== undefined && purpose !== 'password') checkAllowed(settings, 'msisdn', known);
      checkLimits(ip, 'msisdn', known ?? `${country} ${phoneNumber}`);
      // A number written as within its country is checked once the delegate has told which one that is.
      if (known !== undefined && checkOwner(purpose, store.findOwner('msisdn', known)) === 'pretend') {
        return pretend('add', known);
      }
      return delegate.requestToken({
        country,
        phone_number: phoneNumber,
        client_secret: clientSecret,
        send_attempt: sendAttempt,
        ...(nextLink === undefined ? {} : { next_link: nextLink }),
      });
    },

    followLink: (purpose, { sid, clientSecret, token }) => {
      const session = store.findSession(sid);
      const now = clock.now();
      // Compared whatever was found, so that time tells nothing.
      const isRight =
        timingSafeEqual(hash(token), session?.tokenHash ?? hash('')) &&
        timingSafeEqual(hash(clientSecret), session?.secretHash ?? hash(''));
      if (session === undefined || session.purpose !== purpose || !isRight) {
        return { valid: false, reason: 'This link is not known, or has served already.' };
      }
      if (session.expiresMs <= now) return { valid: false, reason: 'This link is too old.' };
      // Mail programs follow links before people do: once more does no harm, and no more.
      if (session.validatedMs === undefined) {
        db.write((tx) =>
          store.putSession(tx, { ...session, validatedMs: now, expiresMs: now + VALIDATED_LIFETIME_MS }),
        );
      }
      return { valid: true, nextLink: session.nextLink };
    },

    findValidated: async (purpose, medium, sid, clientSecret) => {
      checkClientSecret(clientSecret);
      const session = store.findSession(sid);
      if (session !== undefined) {
        const isRight = timingSafeEqual(hash(clientSecret), session.secretHash);
        const isUsable =
          session.purpose === purpose && session.expiresMs > clock.now() && session.validatedMs !== undefined;
        if (!isRight || !isUsable || (medium !== undefined && session.medium !== medium)) return undefined;
        return { sid, medium: session.medium, address: session.address, validatedMs: session.validatedMs ?? 0 };
      }
      if (delegate === undefined || medium === 'email') return undefined;
      const found = await delegate.findValidated(sid, clientSecret);
      return found === undefined ? undefined : { sid, medium: 'msisdn', ...found };
    },

    spend: (tx, sid) => store.removeSession(tx, sid),
    prune: () => db.write((tx) => store.pruneSessions(tx, clock.now())),
  };
}

/** The digits of a number that bears its country's code; undefined for one that does not. */
function readInternational(phoneNumber: string): string | undefined {
  const digits = phoneNumber.replace(/[\s()./-]/g, '');
  const match = /^(?:\+|00)([1-9]\d{4,14})$/.exec(digits);
  return match?.[1];
}

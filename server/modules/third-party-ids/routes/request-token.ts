import { route, type Route } from '../../../http/route.ts';
import { text } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import type { Purpose } from '../store.ts';
import type { ValidationSessions } from '../service/sessions.ts';

const common = {
  client_secret: Type.String(),
  send_attempt: Type.Integer({ minimum: 0 }),
  next_link: Type.Optional(Type.Union([text(2_000), Type.Null()])),
};
const emailBody = Type.Object({ ...common, email: text(500) });
const msisdnBody = Type.Object({ ...common, country: Type.Optional(text(8)), phone_number: text(64) });

const PATHS: readonly (readonly [Purpose, string])[] = [
  ['add', '/_matrix/client/v3/account/3pid'],
  ['register', '/_matrix/client/v3/register'],
  ['password', '/_matrix/client/v3/account/password'],
];

/** Asking for a mail or a text message that proves an address (spec: `…/email/requestToken`, `…/msisdn/requestToken`). */
export function requestTokenRoutes(needs: {
  readonly sessions: ValidationSessions;
  readonly publicBaseUrl: string;
  /** Throws where that end is out of reach: registration is closed, addresses cannot be changed. */
  readonly checkPurpose: (purpose: Purpose) => void;
}): Route[] {
  const { sessions, publicBaseUrl, checkPurpose } = needs;
  const submitUrl = `${publicBaseUrl.replace(/\/+$/, '')}/_matrix/client/unstable/add_threepid/msisdn/submit_token`;
  return PATHS.flatMap(([purpose, path]) => [
    route({
      method: 'POST',
      path: `${path}/email/requestToken`,
      auth: 'none',
      body: emailBody,
      bodyLimit: 65_536,
      handle: async ({ body, ip }) => {
        checkPurpose(purpose);
        const { email, client_secret: clientSecret, send_attempt: sendAttempt, next_link: nextLink } = body;
        const sid = await sessions.requestEmail(purpose, {
          email,
          clientSecret,
          sendAttempt,
          nextLink: nextLink ?? undefined,
          ip,
        });
        return { sid };
      },
    }),
    route({
      method: 'POST',
      path: `${path}/msisdn/requestToken`,
      auth: 'none',
      body: msisdnBody,
      bodyLimit: 65_536,
      handle: async ({ body, ip }) => {
        checkPurpose(purpose);
        const { client_secret: clientSecret, send_attempt: sendAttempt, next_link: nextLink } = body;
        const sid = await sessions.requestMsisdn(purpose, {
          country: body.country ?? '',
          phoneNumber: body.phone_number,
          clientSecret,
          sendAttempt,
          nextLink: nextLink ?? undefined,
          ip,
        });
        return { sid, submit_url: submitUrl };
      },
    }),
  ]);
}

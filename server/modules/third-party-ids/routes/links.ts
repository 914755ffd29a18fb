import { text as readText } from 'node:stream/consumers';
import { type Reply, route, type Route } from '../../../http/route.ts';
import { templatePage } from '../../../http/template-page.ts';
import { Type } from '../../../http/type.ts';
import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Templates } from '../../../mail/index.ts';
import { unknownError } from '../../../matrix/errors.ts';
import type { MsisdnDelegate } from '../service/delegate.ts';
import type { ValidationSessions } from '../service/sessions.ts';
import type { Purpose } from '../store.ts';
import { redirect } from './redirect.ts';

const query = Type.Object({
  sid: Type.String({ maxLength: 255 }),
  client_secret: Type.String({ maxLength: 255 }),
  token: Type.String({ maxLength: 255 }),
});
const submitBody = Type.Object({
  sid: Type.String({ maxLength: 255 }),
  client_secret: Type.String({ maxLength: 255 }),
  token: Type.String({ maxLength: 255 }),
});

interface Link {
  readonly sid: string;
  readonly clientSecret: string;
  readonly token: string;
}

/** What people come to by the links in mails, and where clients hand in codes of text messages. */
export function linkRoutes(needs: {
  readonly sessions: ValidationSessions;
  readonly templates: Templates;
  readonly delegate: MsisdnDelegate | undefined;
  readonly limit: RateLimit;
}): Route[] {
  const { sessions, templates, delegate, limit } = needs;

  function follow(purpose: Purpose, template: string, link: Link): Reply {
    const outcome = sessions.followLink(purpose, link);
    if (!outcome.valid) {
      return templatePage(templates.render(`${template}_failure.html`, { failure_reason: outcome.reason }), 400);
    }
    if (outcome.nextLink !== undefined) return redirect(outcome.nextLink);
    return templatePage(templates.render(`${template}_success.html`, {}));
  }

  const plainLink = (path: string, purpose: Purpose, template: string): Route =>
    route({
      method: 'GET',
      path,
      auth: 'none',
      query,
      handle: ({ query: { sid, client_secret: clientSecret, token } }) =>
        follow(purpose, template, { sid, clientSecret, token }),
    });

  const resetPath = '/_synapse/client/password_reset/email/submit_token';
  return [
    plainLink('/_matrix/client/unstable/add_threepid/email/submit_token', 'add', 'add_threepid'),
    plainLink('/_matrix/client/unstable/registration/email/submit_token', 'register', 'registration'),
    // A password is delicate: programs that follow links must not confirm for their people.
    route({
      method: 'GET',
      path: resetPath,
      auth: 'none',
      resource: 'client',
      query,
      handle: ({ query: { sid, client_secret, token } }) =>
        templatePage(templates.render('password_reset_confirmation.html', { sid, client_secret, token })),
    }),
    route({
      method: 'POST',
      path: resetPath,
      auth: 'none',
      resource: 'client',
      rawBody: true,
      bodyLimit: 16_384,
      handle: async ({ bodyStream }) => {
        const form = new URLSearchParams(await readText(bodyStream));
        const link = {
          sid: form.get('sid') ?? '',
          clientSecret: form.get('client_secret') ?? '',
          token: form.get('token') ?? '',
        };
        return follow('password', 'password_reset', link);
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/unstable/add_threepid/msisdn/submit_token',
      auth: 'none',
      body: submitBody,
      bodyLimit: 16_384,
      handle: async ({ body: { sid, client_secret: clientSecret, token }, ip }) => {
        if (delegate === undefined) throw unknownError('This server verifies no phone numbers');
        limit.check(`ip ${ip}`);
        return { success: await delegate.submitToken({ sid, clientSecret, token }) };
      },
    }),
  ];
}

import { Type } from '../../../http/type.ts';
import { route, type Route } from '../../../http/route.ts';
import type { InvitationState, Joining } from '../service/joining.ts';
import { MIN_INVITED_PASSWORD } from '../service/joining.ts';
import type { AccountsSettings } from '../service/settings.ts';
import { joinPage, messagePage } from './pages.ts';

/** The path of the page that an invitation leads to; its query has the `token`. */
export const JOIN_PATH = '/_hearth/join';

const joinBody = Type.Object({
  token: Type.String({ maxLength: 64 }),
  username: Type.String({ maxLength: 255 }),
  password: Type.String({ maxLength: 512 }),
});

const WHY_NOT: Readonly<Record<Exclude<InvitationState, 'good'>, string>> = {
  used: 'It has been used already. Whoever invited you can send you another one.',
  expired: 'It has expired. Whoever invited you can send you another one.',
  unknown: 'It may have been withdrawn, or the link is not complete. Whoever invited you can send you another one.',
};

/** The page on which somebody who was invited makes their account. */
export function joinRoutes({ joining, settings }: { joining: Joining; settings: AccountsSettings }): Route[] {
  return [
    route({
      method: 'GET',
      path: JOIN_PATH,
      auth: 'none',
      resource: 'client',
      query: Type.Object({ token: Type.Optional(Type.String({ maxLength: 64 })) }),
      handle: ({ query: { token = '' }, ip }) => {
        const state = joining.stateOf(token, ip);
        if (state !== 'good') return messagePage('This invitation does not work', WHY_NOT[state], 403);
        const { policy } = settings.passwords;
        return joinPage({
          serverName: settings.serverName,
          minPasswordLength: Math.max(MIN_INVITED_PASSWORD, policy.enabled ? policy.minimumLength : 0),
          action: JOIN_PATH,
          token,
        });
      },
    }),
    route({
      method: 'POST',
      path: JOIN_PATH,
      auth: 'none',
      resource: 'client',
      body: joinBody,
      bodyLimit: 65_536,
      handle: async ({ body, ip }) => {
        const userId = await joining.join(body, ip);
        // A server that was not told its address has at least the one this page was opened at.
        const { publicBaseUrl } = settings;
        return { user_id: userId, ...(publicBaseUrl === undefined ? {} : { homeserver: publicBaseUrl }) };
      },
    }),
  ];
}

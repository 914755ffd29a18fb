import { Type } from '../../../http/type.ts';
import { route, type Route } from '../../../http/route.ts';
import { MatrixError } from '../../../matrix/errors.ts';
import type { InvitationState, Joining } from '../service/joining.ts';
import { MIN_INVITED_PASSWORD } from '../service/joining.ts';
import type { AccountsSettings } from '../service/settings.ts';
import { connectPage, joinPage, messagePage } from './pages.ts';

/** The path of the page that an invitation leads to; its query has the `token`. */
export const JOIN_PATH = '/_hearth/join';

/** The path of the page that tells the device it is opened on how to sign in to this server. */
export const CONNECT_PATH = '/_hearth/connect';

const joinBody = Type.Object({
  token: Type.String({ maxLength: 64 }),
  username: Type.String({ maxLength: 255 }),
  password: Type.String({ maxLength: 512 }),
});

const WHY_NOT: Readonly<Record<Exclude<InvitationState, 'good'>, string>> = {
  used: 'It has been used already. If that was you, sign in with your app. Otherwise, whoever invited you can send you another one.',
  expired: 'It has expired. Whoever invited you can send you another one.',
  unknown: 'It may have been withdrawn, or the link is not complete. Whoever invited you can send you another one.',
};

/** The page on which somebody who was invited makes their account, and the one for devices of those who have one. */
export function joinRoutes({ joining, settings }: { joining: Joining; settings: AccountsSettings }): Route[] {
  /** For people, who see a page and no answer of an API. */
  function stateOf(token: string, ip: string): InvitationState | 'limited' {
    try {
      return joining.stateOf(token, ip);
    } catch (error) {
      if (error instanceof MatrixError && error.errcode === 'M_LIMIT_EXCEEDED') return 'limited';
      throw error;
    }
  }

  return [
    route({
      method: 'GET',
      path: CONNECT_PATH,
      auth: 'none',
      resource: 'client',
      handle: ({ headers: { host = '', 'x-forwarded-proto': scheme } }) => {
        const { serverName, publicBaseUrl } = settings;
        // Whoever has come here by an address can use it in an app, too.
        const address =
          publicBaseUrl?.replace(/\/$/, '') ??
          (/^[\w.:[\]-]{1,300}$/.test(host) ? `${scheme === 'https' ? 'https' : 'http'}://${host}` : serverName);
        return connectPage({ serverName, address });
      },
    }),
    route({
      method: 'GET',
      path: JOIN_PATH,
      auth: 'none',
      resource: 'client',
      query: Type.Object({ token: Type.Optional(Type.String({ maxLength: 64 })) }),
      handle: ({ query: { token = '' }, ip }) => {
        const state = stateOf(token, ip);
        if (state === 'limited')
          return messagePage(
            'Please wait a moment',
            'Too many links that do not work were opened from here. Open yours again in some minutes.',
            429,
          );
        if (state !== 'good') return messagePage('This invitation does not work', WHY_NOT[state], 403);
        const { policy } = settings.passwords;
        return joinPage({
          serverName: settings.serverName,
          minPasswordLength: Math.max(MIN_INVITED_PASSWORD, policy.enabled ? policy.minimumLength : 0),
          // Behind a reverse proxy this page may lie deeper: whatever is before its own name stays.
          action: JOIN_PATH.slice(JOIN_PATH.lastIndexOf('/') + 1),
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

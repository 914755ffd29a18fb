import type { RateLimit } from '../../../http/rate-limit.ts';
import { route, type Route } from '../../../http/route.ts';
import { jsonObject } from '../../../http/schemas.ts';
import { MatrixError, forbidden, unrecognized } from '../../../matrix/errors.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database } from '../../../storage/types.ts';
import type { InteractiveAuth } from '../service/interactive-auth.ts';
import type { Login, LoginBody } from '../service/login.ts';
import type { Devices } from '../service/needs.ts';
import type { AccountsSettings } from '../service/settings.ts';
import type { Tokens } from '../service/tokens.ts';
import { shownToken } from './access-token.ts';
import { sessionAnswer, tokenFields } from './answers.ts';
import { loginBody, refreshBody } from './schemas.ts';

/** Logging in and out, and the tokens in between (spec: "Login"). */
export function loginRoutes(needs: {
  readonly db: Database;
  readonly settings: AccountsSettings;
  readonly login: Login;
  readonly tokens: Tokens;
  readonly devices: Devices;
  readonly interactiveAuth: InteractiveAuth;
  readonly loginTokenLimit: RateLimit;
}): Route[] {
  const { db, settings, login, tokens, devices, interactiveAuth, loginTokenLimit } = needs;
  const { enabled, requireUiAuth, tokenTimeoutMs } = settings.sessions.loginViaExistingSession;
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/login',
      auth: 'none',
      handle: () => {
        const flows = login.flows();
        // Spec: "Authentication API discovery".
        if (flows.length === 0) throw unrecognized('Nobody logs in this way here');
        return { flows };
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/login',
      auth: 'none',
      body: loginBody,
      bodyLimit: 65_536,
      handle: async ({ body, ip, headers, url }) => {
        const token = shownToken({ headers, url });
        const { userId, session } = await login.logIn(body as LoginBody & JsonObject, { ip, token });
        return {
          ...sessionAnswer(userId, settings.serverName, session),
          ...(settings.wellKnown === undefined ? {} : { well_known: settings.wellKnown }),
        };
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v1/login/get_token',
      auth: 'user',
      body: jsonObject,
      emptyBodyAllowed: true,
      handle: ({ requester, body, ip }) => {
        if (!enabled) throw unrecognized('Login tokens are not given out here');
        if (requester.appserviceId !== undefined) throw forbidden('An application service cannot confirm this');
        const issue = (): object => {
          loginTokenLimit.checkFor(requester, requester.userId);
          const token = db.write((tx) => tokens.issueLoginToken(tx, requester.userId, tokenTimeoutMs));
          return { login_token: token, expires_in_ms: tokenTimeoutMs };
        };
        if (!requireUiAuth) return issue();
        return interactiveAuth.guard(
          {
            requester,
            operation: 'get login token',
            body,
            ip,
            // Spec: each further client needs a proof of its own.
            always: true,
            once: true,
            read: (read) => read,
          },
          issue,
        );
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/refresh',
      auth: 'none',
      body: refreshBody,
      handle: ({ body }) => tokenFields(tokens.refresh(body.refresh_token)),
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/logout',
      auth: 'user',
      guests: true,
      locked: true,
      handle: ({ requester }) => {
        const { userId, deviceId } = requester;
        if (deviceId === undefined) {
          throw new MatrixError('M_UNKNOWN', 'An application service is not logged in', { status: 400 });
        }
        db.write((tx) => devices.remove(tx, userId, [deviceId]));
        return {};
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/logout/all',
      auth: 'user',
      guests: true,
      locked: true,
      handle: ({ requester }) => {
        db.write((tx) => devices.removeAll(tx, requester.userId));
        return {};
      },
    }),
  ];
}

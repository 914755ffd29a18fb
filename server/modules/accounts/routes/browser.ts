import type { RateLimit } from '../../../http/rate-limit.ts';
import { buffer as readBytes } from 'node:stream/consumers';
import type { Templates } from '../../../mail/index.ts';
import { parseJson } from '../../../matrix/canonical-json.ts';
import { isJsonObject } from '../../../matrix/json.ts';
import type { Proofs } from '../service/proofs.ts';
import { thankYou, wordedStagePage } from './worded-pages.ts';
import { type Reply, route, type Route } from '../../../http/route.ts';
import { deviceId, text } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { badJson, forbidden, MatrixError, missingParam, unrecognized } from '../../../matrix/errors.ts';
import type { InteractiveAuthSessions } from '../service/interactive-auth.ts';
import type { AccountsSettings } from '../service/settings.ts';
import { MIN_ADMIN_PASSWORD, type Setup } from '../service/setup.ts';
import { loginPage, messagePage, setupPage, stagePage } from './pages.ts';
import { setupBody } from './schemas.ts';

const stageParams = Type.Object({ stage: Type.String({ maxLength: 255 }) });
const loginQuery = Type.Object({
  device_id: Type.Optional(deviceId),
  initial_device_display_name: Type.Optional(text(4096)),
  refresh_token: Type.Optional(Type.Boolean()),
});
const stagePath = '/_matrix/client/v3/auth/:stage/fallback/web';

/** The pages people visit with a browser: stages of interactive authentication, and the first setup. */
export function browserRoutes(needs: {
  readonly settings: AccountsSettings;
  readonly sessions: InteractiveAuthSessions;
  readonly setup: Setup;
  readonly addressLimit: RateLimit;
  readonly proofs: () => Proofs;
  readonly templates: Templates | undefined;
}): Route[] {
  const { settings, sessions, setup, addressLimit, proofs, templates } = needs;
  const pageOf = (stage: string, session: string, error?: string): Reply | undefined => {
    const action = `?session=${encodeURIComponent(session)}`;
    return wordedStagePage({ stage, session, action, error, proofs: proofs(), templates }) ?? stagePage(stage, action);
  };
  const passwordsWork = settings.passwords.enabled !== 'no' && settings.passwords.localDatabase;
  return [
    route({
      method: 'GET',
      path: stagePath,
      auth: 'none',
      params: stageParams,
      query: Type.Object({ session: Type.String({ maxLength: 255 }) }),
      handle: ({ params, query }) => {
        const page = pageOf(params.stage, query.session);
        if (page === undefined) throw unrecognized('There is no page for this stage');
        if (sessions.isWaitingFor(query.session, params.stage)) return page;
        return messagePage(
          'This page has done its duty',
          'It has been used already or is too old. Please go back to the application and begin again.',
          400,
        );
      },
    }),
    route({
      method: 'POST',
      path: stagePath,
      auth: 'none',
      params: stageParams,
      query: Type.Object({ session: Type.Optional(Type.String({ maxLength: 255 })) }),
      rawBody: true,
      bodyLimit: 65_536,
      handle: async ({ params: { stage }, query, bodyStream, headers, ip }) => {
        addressLimit.check(ip);
        const bytes = await readBytes(bodyStream);
        if (!isForm(headers['content-type'])) {
          if (query.session === undefined) throw missingParam('The query parameter session is missing');
          const body = parseJson(bytes);
          if (!isJsonObject(body)) throw badJson('The body must be an object');
          await sessions.completeStage(query.session, stage, body, ip);
          return {};
        }
        // Pages that administrators have worded send their forms the way browsers do by themselves.
        const form = new URLSearchParams(bytes.toString());
        const session = query.session ?? form.get('session') ?? '';
        const { 'g-recaptcha-response': response, ...fields } = Object.fromEntries(form);
        try {
          await sessions.completeStage(session, stage, response === undefined ? fields : { ...fields, response }, ip);
        } catch (error) {
          const again = error instanceof MatrixError ? pageOf(stage, session, error.message) : undefined;
          if (again === undefined) throw error;
          return again;
        }
        return thankYou(templates);
      },
    }),
    route({
      method: 'GET',
      path: ['/_matrix/static/client/login', '/_matrix/static/client/login/'],
      auth: 'none',
      resource: 'client',
      query: loginQuery,
      handle: ({ query }) => {
        if (!passwordsWork) throw unrecognized('Nobody logs in with a password here');
        // Only what is no credential may come along in the address.
        const { device_id, initial_device_display_name, refresh_token } = query;
        const more = { type: 'm.login.password', device_id, initial_device_display_name, refresh_token };
        return loginPage({
          serverName: settings.serverName,
          action: '/_matrix/client/v3/login',
          more: JSON.parse(JSON.stringify(more)),
        });
      },
    }),
    route({
      method: 'GET',
      path: '/_hearth/setup',
      auth: 'none',
      resource: 'client',
      query: Type.Object({ token: Type.Optional(Type.String()) }),
      handle: ({ query, ip }) => {
        if (!isLoopback(ip)) {
          return messagePage('Not from here', 'This page only opens on the computer that the server runs on.', 403);
        }
        if (query.token === undefined || !setup.isValid(query.token)) {
          return messagePage(
            'This link does not work',
            setup.path() === undefined
              ? 'This server has been set up already. Its administrator can make further accounts.'
              : 'It is not the newest one. Start the server again to get a new link.',
            403,
          );
        }
        return setupPage({
          serverName: settings.serverName,
          minPasswordLength: shortestPassword(settings),
          action: '/_hearth/setup',
          token: query.token,
        });
      },
    }),
    route({
      method: 'POST',
      path: '/_hearth/setup',
      auth: 'none',
      resource: 'client',
      body: setupBody,
      bodyLimit: 65_536,
      handle: async ({ body, ip }) => {
        if (!isLoopback(ip)) throw forbidden('This only works on the computer that the server runs on');
        const userId = await setup.complete(body.token, body.username, body.password);
        // A server that was not told its address has at least the one this page was opened at.
        const { publicBaseUrl } = settings;
        return { user_id: userId, ...(publicBaseUrl === undefined ? {} : { homeserver: publicBaseUrl }) };
      },
    }),
  ];
}

function shortestPassword({ passwords: { policy } }: AccountsSettings): number {
  return Math.max(MIN_ADMIN_PASSWORD, policy.enabled ? policy.minimumLength : 0);
}

function isForm(contentType: string | undefined): boolean {
  return contentType?.toLowerCase().startsWith('application/x-www-form-urlencoded') === true;
}

function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}

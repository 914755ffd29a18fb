import type { RateLimit } from '../../../http/rate-limit.ts';
import { Reply, route, type Route } from '../../../http/route.ts';
import { jsonObject } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { bodyCheck } from '../../../http/validate.ts';
import type { ServerName } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Registration, RegistrationBody } from '../service/registration.ts';
import type { SharedSecretRegistration } from '../service/shared-secret.ts';
import { shownToken } from './access-token.ts';
import { sessionAnswer } from './answers.ts';
import { guestBody, registerBody, sharedSecretBody } from './schemas.ts';

const checkRegister = bodyCheck(registerBody);
const checkGuest = bodyCheck(guestBody);

const parseRegister = (body: JsonObject): RegistrationBody => checkRegister(body) as RegistrationBody;

/** Registration of users, guests and users of application services (spec: "Account registration"). */
export function registrationRoutes(needs: {
  readonly serverName: ServerName;
  readonly registration: Registration;
  readonly sharedSecret: SharedSecretRegistration;
  readonly tokenValidityLimit: RateLimit;
}): Route[] {
  const { serverName, registration, sharedSecret, tokenValidityLimit } = needs;
  return [
    route({
      method: 'POST',
      path: '/_matrix/client/v3/register',
      auth: 'none',
      query: Type.Object({ kind: Type.Optional(Type.Union([Type.Literal('user'), Type.Literal('guest')])) }),
      body: jsonObject,
      emptyBodyAllowed: true,
      bodyLimit: 65_536,
      handle: async ({ query, body, ip, headers, url }) => {
        if (query.kind === 'guest') {
          // Everything else in a guest's body is to be ignored.
          const { initial_device_display_name: name } = checkGuest(body) as { initial_device_display_name?: string };
          const { userId, session } = registration.registerGuest(name, ip);
          return sessionAnswer(userId, serverName, session);
        }
        if (body['type'] === 'm.login.application_service') {
          const parsed = parseRegister(body);
          const token = shownToken({ headers, url });
          const { userId, session } = registration.registerForAppservice(parsed, token);
          return sessionAnswer(userId, serverName, session);
        }
        const done = await registration.registerUser(body, parseRegister, ip);
        return done instanceof Reply ? done : sessionAnswer(done.userId, serverName, done.session);
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/register/available',
      auth: 'none',
      query: Type.Object({ username: Type.String() }),
      handle: ({ query }) => {
        registration.checkAvailable(query.username);
        return { available: true };
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v1/register/m.login.registration_token/validity',
      auth: 'none',
      query: Type.Object({ token: Type.String() }),
      handle: ({ query, ip }) => {
        tokenValidityLimit.check(ip);
        return { valid: registration.isTokenValid(query.token) };
      },
    }),
    route({
      method: 'GET',
      path: '/_synapse/admin/v1/register',
      auth: 'none',
      resource: 'client',
      handle: () => ({ nonce: sharedSecret.createNonce() }),
    }),
    route({
      method: 'POST',
      path: '/_synapse/admin/v1/register',
      auth: 'none',
      resource: 'client',
      body: sharedSecretBody,
      bodyLimit: 65_536,
      handle: async ({ body }) => {
        const { userId, session } = await sharedSecret.register(body);
        return sessionAnswer(userId, serverName, session);
      },
    }),
  ];
}

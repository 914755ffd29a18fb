import { route, type Route } from '../../../http/route.ts';
import { text } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { bodyCheck } from '../../../http/validate.ts';
import { MatrixError, missingParam } from '../../../matrix/errors.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { AccountThreepids } from '../service/account.ts';
import type { ThirdPartyIdsNeeds } from '../service/needs.ts';

// The alphabet the specification gives both.
const secret = Type.String({ pattern: '^[0-9a-zA-Z.=_-]{1,255}$' });
const credentials = Type.Object({ sid: secret, client_secret: secret });
const checkCredentials = bodyCheck(credentials);
const bindBody = Type.Object({
  sid: secret,
  client_secret: secret,
  id_server: text(500),
  id_access_token: text(4096),
});
const threepidBody = Type.Object({
  medium: Type.Union([Type.Literal('email'), Type.Literal('msisdn')]),
  address: text(500),
  id_server: Type.Optional(Type.Union([text(500), Type.Null()])),
});
// Clients of old write the second name.
const legacyBody = Type.Object({
  three_pid_creds: Type.Optional(credentials),
  threePidCreds: Type.Optional(credentials),
});

/** The addresses of one's account (spec: "Adding account administrative contact information"). */
export function accountRoutes(needs: {
  readonly threepids: AccountThreepids;
  readonly interactiveAuth: ThirdPartyIdsNeeds['interactiveAuth'];
}): Route[] {
  const { threepids, interactiveAuth } = needs;
  const base = '/_matrix/client/v3/account/3pid';
  const paths = (end: string): string[] => [`${base}${end}`, `/_matrix/client/unstable/account/3pid${end}`];
  return [
    route({
      method: 'GET',
      path: base,
      auth: 'user',
      handle: ({ requester }) => ({
        threepids: threepids.list(requester.userId).map(({ medium, address, validatedMs, addedMs }) => ({
          medium,
          address,
          validated_at: validatedMs,
          added_at: addedMs,
        })),
      }),
    }),
    route({
      method: 'POST',
      path: base,
      auth: 'user',
      body: legacyBody,
      bodyLimit: 65_536,
      handle: async ({ requester, body }) => {
        threepids.checkChangesAllowed();
        const given = body.three_pid_creds ?? body.threePidCreds;
        if (given === undefined) throw missingParam('The key three_pid_creds is missing');
        // NOT-SPEC: the specification has made this a copy of /bind, but clients and servers keep to what it was.
        await threepids.addValidated(requester.userId, given.sid, given.client_secret);
        return {};
      },
    }),
    route({
      method: 'POST',
      path: paths('/add'),
      auth: 'user',
      body: Type.Object({}),
      bodyLimit: 65_536,
      handle: ({ requester, body, ip }) => {
        threepids.checkChangesAllowed();
        return interactiveAuth.guard(
          {
            requester,
            operation: 'add threepid',
            body: body as JsonObject,
            ip,
            read: (read) => checkCredentials(read) as { sid: string; client_secret: string },
          },
          async ({ sid, client_secret: clientSecret }) => {
            await threepids.addValidated(requester.userId, sid, clientSecret);
            return {};
          },
        );
      },
    }),
    route({
      method: 'POST',
      path: paths('/bind'),
      auth: 'user',
      body: bindBody,
      bodyLimit: 65_536,
      handle: async ({ requester, body }) => {
        await threepids.bind(requester.userId, {
          idServer: body.id_server,
          idAccessToken: body.id_access_token,
          sid: body.sid,
          clientSecret: body.client_secret,
        });
        return {};
      },
    }),
    route({
      method: 'POST',
      path: paths('/unbind'),
      auth: 'user',
      body: threepidBody,
      bodyLimit: 65_536,
      handle: async ({ requester, body: { medium, address, id_server: idServer } }) => ({
        id_server_unbind_result: await threepids.unbind(requester.userId, medium, address, idServer ?? undefined),
      }),
    }),
    route({
      method: 'POST',
      path: paths('/delete'),
      auth: 'user',
      body: threepidBody,
      bodyLimit: 65_536,
      handle: async ({ requester, body: { medium, address, id_server: idServer } }) => {
        threepids.checkChangesAllowed();
        // Spec: "Account suspension": contacts may be added and changed, but not removed.
        if (requester.isSuspended) throw new MatrixError('M_USER_SUSPENDED', 'Suspended users cannot remove addresses');
        const result = await threepids.remove(requester.userId, medium, address, idServer ?? undefined);
        return { id_server_unbind_result: result };
      },
    }),
  ];
}

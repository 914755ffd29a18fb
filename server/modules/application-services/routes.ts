import { OutboundError } from '../../federation/outbound/outbound-error.ts';
import { route, type Route } from '../../http/route.ts';
import { nonEmptyText, roomAlias, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden, MatrixError } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { AppserviceClient } from './service/client.ts';
import type { ThirdPartyNetworks } from './service/third-party.ts';

/** So much of an answer that was not expected is shown, characters. */
const MAX_SHOWN = 4_096;
const DEFAULT_REFUSAL = 'The access token is not that of this application service';

/** An application service as it is spoken to, and what to do once it was heard. */
interface Pinged {
  readonly client: AppserviceClient | undefined;
  heard(): void;
}

/** Spec: application service API, "Pinging"; client-server API, "Third-party networks". */
export function appserviceRoutes(needs: {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly networks: ThirdPartyNetworks;
  readonly find: (id: string) => Pinged | undefined;
}): Route[] {
  const { clock, networks, find } = needs;
  const thirdParty = '/_matrix/client/v3/thirdparty';
  const protocol = nonEmptyText(255);

  const lookups = (['location', 'user'] as const).map((what) =>
    route({
      method: 'GET',
      path: `${thirdParty}/${what}/:protocol`,
      auth: 'user',
      params: Type.Object({ protocol }),
      handle: ({ params, url }) => networks.find(what, params.protocol, fieldsOf(url)),
    }),
  );

  return [
    route({
      method: 'POST',
      path: [
        '/_matrix/client/v1/appservice/:appserviceId/ping',
        // MSC2659, as bridges wrote it before it was in the spec.
        '/_matrix/client/unstable/fi.mau.msc2659/appservice/:appserviceId/ping',
      ],
      auth: 'user',
      params: Type.Object({ appserviceId: nonEmptyText(1_024) }),
      body: Type.Object({ transaction_id: Type.Optional(Type.String()) }),
      emptyBodyAllowed: true,
      handle: async ({ requester, params, body }) => {
        const found = requester.appserviceId === params.appserviceId ? find(params.appserviceId) : undefined;
        if (found === undefined) throw forbidden(DEFAULT_REFUSAL);
        if (found.client === undefined) {
          throw new MatrixError('M_URL_NOT_SET', 'The application service has no URL', { status: 400 });
        }
        const { transaction_id: transactionId } = body;
        const began = clock.monotonic();
        const { status, body: said } = await found.client
          .ping(transactionId === undefined ? {} : { transaction_id: transactionId })
          .catch((error: unknown) => {
            throw refusalOf(error);
          });
        if (status < 200 || status > 299) {
          throw new MatrixError('M_BAD_STATUS', `The application service answered with status ${status}`, {
            fields: { status, body: said.toString('utf8').slice(0, MAX_SHOWN) },
          });
        }
        found.heard();
        return { duration_ms: Math.round(clock.monotonic() - began) };
      },
    }),
    route({
      method: 'GET',
      path: `${thirdParty}/protocols`,
      auth: 'user',
      handle: () => networks.listProtocols(),
    }),
    route({
      method: 'GET',
      path: `${thirdParty}/protocol/:protocol`,
      auth: 'user',
      params: Type.Object({ protocol }),
      handle: ({ params }) => networks.getProtocol(params.protocol),
    }),
    ...lookups,
    route({
      method: 'GET',
      path: `${thirdParty}/location`,
      auth: 'user',
      query: Type.Object({ alias: roomAlias }),
      handle: ({ query }) => networks.findOf('location', query.alias),
    }),
    route({
      method: 'GET',
      path: `${thirdParty}/user`,
      auth: 'user',
      query: Type.Object({ userid: userId }),
      handle: ({ query }) => networks.findOf('user', query.userid),
    }),
  ];
}

function refusalOf(error: unknown): unknown {
  if (!(error instanceof OutboundError)) return error;
  return error.kind === 'timeout'
    ? new MatrixError('M_CONNECTION_TIMEOUT', 'The application service did not answer in time')
    : new MatrixError('M_CONNECTION_FAILED', 'The application service could not be reached');
}

/** The query as the client wrote it, for the application service; a client's token is none of its business. */
function fieldsOf(url: string): URLSearchParams {
  const query = url.indexOf('?');
  const fields = new URLSearchParams(query === -1 ? '' : url.slice(query));
  fields.delete('access_token');
  return fields;
}

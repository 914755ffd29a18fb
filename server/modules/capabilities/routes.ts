import { route, type Route } from '../../http/route.ts';
import { notFound, unrecognized } from '../../matrix/errors.ts';
import { type CapabilitiesNeeds, describeCapabilities, describeSupport, SPEC_VERSIONS } from './service.ts';

/** What clients and servers ask before anything else. */
export function discoveryRoutes({ facts, settings, unstableFeatures }: CapabilitiesNeeds): Route[] {
  const support = describeSupport(settings.adminContact);
  const { dealings } = settings;
  return [
    ...(dealings === undefined ? [] : [dealingsRoute(dealings)]),
    ...otherWaysIn(),
    route({
      method: 'GET',
      path: '/_matrix/client/versions',
      // The same for everybody, so a token is not even looked at: clients with an expired one ask, too.
      auth: 'none',
      handle: () => ({ versions: SPEC_VERSIONS, unstable_features: unstableFeatures }),
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/capabilities',
      auth: 'user',
      guests: true,
      handle: ({ requester }) => ({ capabilities: describeCapabilities(facts, requester) }),
    }),
    route({
      method: 'GET',
      path: '/.well-known/matrix/client',
      auth: 'none',
      resource: 'client',
      handle: () => {
        if (settings.wellKnownClient === undefined) throw notFound('This server does not say where clients find it');
        return settings.wellKnownClient;
      },
    }),
    route({
      method: 'GET',
      path: '/.well-known/matrix/server',
      auth: 'none',
      resource: 'client',
      handle: () => {
        if (settings.federationAddress === undefined) throw notFound('This server delegates to no other address');
        return { 'm.server': settings.federationAddress };
      },
    }),
    route({
      method: 'GET',
      path: '/.well-known/matrix/support',
      auth: 'none',
      resource: 'client',
      handle: () => {
        if (support === undefined) throw notFound('This server names nobody to turn to');
        return support;
      },
    }),
    route({
      method: 'GET',
      path: '/.well-known/matrix/policy_server',
      auth: 'none',
      resource: 'client',
      handle: () => {
        throw notFound('This server is no policy server');
      },
    }),
  ];
}

/**
 * Ways to log in that this server does not know. Clients ask to find out, and are to be told so in these words (spec:
 * "Server metadata discovery").
 */
function otherWaysIn(): Route[] {
  const absent = (path: string | readonly string[], message: string): Route =>
    route({
      method: 'GET',
      path,
      auth: 'none',
      handle: () => {
        throw unrecognized(message);
      },
    });
  return [
    absent(
      ['/_matrix/client/v1/auth_metadata', '/_matrix/client/unstable/org.matrix.msc2965/auth_metadata'],
      'This server does not know OAuth 2.0',
    ),
    absent(
      ['/_matrix/client/v3/login/sso/redirect', '/_matrix/client/v3/login/sso/redirect/:idpId'],
      'This server does not know single sign-on',
    ),
  ];
}

/** Which servers this one deals with. Not of the spec: it goes by the name by which clients of Synapse know it. */
function dealingsRoute({ only }: NonNullable<CapabilitiesNeeds['settings']['dealings']>): Route {
  return route({
    method: 'GET',
    path: '/_synapse/client/v1/config/federation_whitelist',
    auth: 'user',
    handle: () => ({ whitelist_enabled: only !== undefined, whitelist: only ?? [] }),
  });
}

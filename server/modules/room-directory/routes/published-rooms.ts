import type { Static, TSchema } from 'typebox';
import { route, type RequesterOf, type Route } from '../../../http/route.ts';
import { limit, nonEmptyText, roomId, serverName } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { forbidden, invalidParam, missingToken } from '../../../matrix/errors.ts';
import type { ServerName } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { DirectorySettings } from '../service/needs.ts';
import type { PublicRooms, PublicRoomsQuery } from '../service/public-rooms.ts';
import type { Publication } from '../service/publication.ts';
import type { Scope } from '../store/summaries.ts';

// Null is what some clients send for what they have no value of.
const optional = <S extends TSchema>(schema: S) => Type.Optional(Type.Union([schema, Type.Null()]));
/** The token of a page, ours or another server's. */
const token = Type.String({ maxLength: 4_096 });
const visibility = Type.Union([Type.Literal('public'), Type.Literal('private')]);

const search = Type.Object({
  limit: optional(limit),
  since: optional(token),
  filter: optional(
    Type.Object({
      generic_search_term: optional(Type.String()),
      room_types: optional(Type.Array(Type.Union([Type.String(), Type.Null()]))),
    }),
  ),
  include_all_networks: optional(Type.Boolean()),
  third_party_instance_id: optional(Type.String()),
});

/** Server-server API, "Published Room Directory". */
const federationPath = '/_matrix/federation/v1/publicRooms';

export interface PublishedRoomParts {
  readonly publication: Publication;
  readonly publicRooms: PublicRooms;
  readonly settings: Pick<DirectorySettings, 'serverName' | 'publicRoomsWithoutAuth' | 'publicRoomsOverFederation'>;
}

/** Spec: "Published room directory"; application-service API, "Published room directory". */
export function publishedRoomRoutes({ publication, publicRooms, settings }: PublishedRoomParts): Route[] {
  const query = Type.Object({ server: Type.Optional(serverName) });

  /** The other server that is asked for, if it is another. Asking there takes a user of ours. */
  function otherServer(requester: RequesterOf<'optional'>, server: ServerName | undefined): ServerName | undefined {
    const other = server === settings.serverName ? undefined : server;
    if (requester === undefined && (other !== undefined || !settings.publicRoomsWithoutAuth)) {
      throw missingToken('The room directory is shown to users of this server only');
    }
    return other;
  }

  function requireOpenToServers(): void {
    if (!settings.publicRoomsOverFederation) {
      throw forbidden('This server does not show its list of published rooms to other servers');
    }
  }

  const networkParams = Type.Object({ networkId: nonEmptyText(255), roomId });
  const networkPath = '/_matrix/client/v3/directory/list/appservice/:networkId/:roomId';

  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/directory/list/room/:roomId',
      auth: 'none',
      params: Type.Object({ roomId }),
      handle: ({ params }) => ({ visibility: publication.isPublished(params.roomId) ? 'public' : 'private' }),
    }),
    route({
      method: 'PUT',
      path: '/_matrix/client/v3/directory/list/room/:roomId',
      auth: 'user',
      params: Type.Object({ roomId }),
      body: Type.Object({ visibility: Type.Optional(visibility) }),
      emptyBodyAllowed: true,
      handle: ({ requester, params, body }) => {
        publication.setPublished(requester, params.roomId, body.visibility !== 'private');
        return {};
      },
    }),
    route({
      method: 'PUT',
      path: networkPath,
      auth: 'user',
      params: networkParams,
      body: Type.Object({ visibility }),
      handle: ({ requester, params, body }) => {
        publication.setInNetwork(requester, params.networkId, params.roomId, body.visibility === 'public');
        return {};
      },
    }),
    route({
      // NOT-SPEC: the spec has only PUT; application services have long used this too.
      method: 'DELETE',
      path: networkPath,
      auth: 'user',
      params: networkParams,
      handle: ({ requester, params }) => {
        publication.setInNetwork(requester, params.networkId, params.roomId, false);
        return {};
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/publicRooms',
      auth: 'optional',
      guests: true,
      query: Type.Object({
        limit: Type.Optional(limit),
        since: Type.Optional(token),
        server: Type.Optional(serverName),
      }),
      handle: ({ requester, query: { server, ...page } }) => {
        const other = otherServer(requester, server);
        return other === undefined ? publicRooms.list(page) : publicRooms.listRemote(other, { ...page });
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/publicRooms',
      auth: 'user',
      guests: true,
      query,
      body: search,
      emptyBodyAllowed: true,
      handle: ({ requester, query: { server }, body }) => {
        const other = otherServer(requester, server);
        if (other !== undefined) return publicRooms.listRemote(other, body as JsonObject);
        return publicRooms.list(toQuery(body));
      },
    }),
    route({
      method: 'GET',
      path: federationPath,
      auth: 'server',
      query: Type.Object({
        limit: Type.Optional(limit),
        since: Type.Optional(token),
        include_all_networks: Type.Optional(Type.Boolean()),
        third_party_instance_id: Type.Optional(Type.String()),
      }),
      handle: ({ query: asked }) => {
        requireOpenToServers();
        return publicRooms.list({ ...toQuery(asked), federatingOnly: true });
      },
    }),
    route({
      method: 'POST',
      path: federationPath,
      auth: 'server',
      body: search,
      handle: ({ body }) => {
        requireOpenToServers();
        return publicRooms.list({ ...toQuery(body), federatingOnly: true });
      },
    }),
  ];
}

function toQuery(asked: Static<typeof search>): PublicRoomsQuery {
  return {
    limit: asked.limit ?? undefined,
    since: asked.since ?? undefined,
    searchTerm: asked.filter?.generic_search_term ?? undefined,
    roomTypes: asked.filter?.room_types ?? undefined,
    scope: scopeOf(asked.include_all_networks ?? false, asked.third_party_instance_id ?? undefined),
  };
}

function scopeOf(includeAllNetworks: boolean, instanceId: string | undefined): Scope {
  if (instanceId === undefined) return includeAllNetworks ? 'all' : 'published';
  if (includeAllNetworks) throw invalidParam('third_party_instance_id cannot be combined with include_all_networks');
  return { instanceId };
}

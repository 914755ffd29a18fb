import { type Route, route } from '../../http/route.ts';
import { mapOf, serverName } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { isServerName, type ServerName } from '../../matrix/identifiers.ts';
import type { OwnKeys } from '../own-keys.ts';
import type { KeyQuestion, Notary } from './notary.ts';

const minimumValidity = Type.Optional(Type.Number());

/** The key API (spec: server-server API, "Retrieving server keys"). Nobody has to sign for it. */
export function keyRoutes({ ownKeys, notary }: { ownKeys: OwnKeys; notary: Notary }): readonly Route[] {
  return [
    route({
      method: 'GET',
      // Old servers name the key they want; they get all the same.
      path: ['/_matrix/key/v2/server', '/_matrix/key/v2/server/', '/_matrix/key/v2/server/:keyId'],
      auth: 'none',
      handle: () => ownKeys.answer(),
    }),
    route({
      method: 'GET',
      path: '/_matrix/key/v2/query/:serverName',
      auth: 'none',
      params: Type.Object({ serverName }),
      query: Type.Object({ minimum_valid_until_ts: minimumValidity }),
      handle: async ({ params, query, ip }) => ({
        server_keys: await notary.query(new Map([[params.serverName, questionOf([], query)]]), ip),
      }),
    }),
    route({
      method: 'GET',
      path: '/_matrix/key/v2/query/:serverName/:keyId',
      auth: 'none',
      params: Type.Object({ serverName, keyId: Type.String() }),
      query: Type.Object({ minimum_valid_until_ts: minimumValidity }),
      handle: async ({ params, query, ip }) => ({
        server_keys: await notary.query(new Map([[params.serverName, questionOf([params.keyId], query)]]), ip),
      }),
    }),
    route({
      method: 'POST',
      path: '/_matrix/key/v2/query',
      auth: 'none',
      body: Type.Object({
        server_keys: mapOf(mapOf(Type.Object({ minimum_valid_until_ts: minimumValidity }))),
      }),
      handle: async ({ body, ip }) => {
        const questions = new Map<ServerName, KeyQuestion>();
        for (const [server, keys] of Object.entries(body.server_keys)) {
          if (!isServerName(server)) continue;
          const wanted = Object.entries(keys).map(
            ([keyId, { minimum_valid_until_ts: validUntil }]) => [keyId, validUntil] as const,
          );
          questions.set(server, { keys: new Map(wanted), validUntil: undefined });
        }
        return { server_keys: await notary.query(questions, ip) };
      },
    }),
  ];
}

function questionOf(
  keyIds: readonly string[],
  { minimum_valid_until_ts: validUntil }: { minimum_valid_until_ts?: number },
): KeyQuestion {
  return { keys: new Map(keyIds.map((keyId) => [keyId, validUntil])), validUntil };
}

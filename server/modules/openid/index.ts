import { createHash } from 'node:crypto';
import type { RateLimit } from '../../http/rate-limit.ts';
import { route } from '../../http/route.ts';
import { emptyObject, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { forbidden, missingToken, unknownToken } from '../../matrix/errors.ts';
import type { ServerName, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { randomString, type Random } from '../../util/random.ts';
import { OpenIdTokenStore } from './store.ts';

export { migrations } from './schema.ts';

export interface OpenIdNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly serverName: ServerName;
  /** How often a user may ask for a token. */
  readonly limit: RateLimit;
}

export interface OpenIdModule extends Module {
  /** Makes the tokens of a user void. */
  removeOfUser(tx: WriteTx, userId: UserId): void;
}

const LIFETIME_SECONDS = 3_600;

/** Tokens with which users prove to other services who they are (spec: "OpenID"). */
export function openid({ db, clock, random, serverName, limit }: OpenIdNeeds): OpenIdModule {
  const store = new OpenIdTokenStore(db);
  const hashToken = (token: string): Buffer => createHash('sha256').update(token).digest();

  return {
    name: 'openid',
    routes: [
      route({
        method: 'POST',
        path: '/_matrix/client/v3/user/:userId/openid/request_token',
        auth: 'user',
        params: Type.Object({ userId }),
        body: emptyObject,
        emptyBodyAllowed: true,
        handle: ({ requester, params }) => {
          if (params.userId !== requester.userId) throw forbidden('A token can only be had for oneself');
          limit.checkFor(requester, requester.userId);
          const token = `hot_${randomString(random, 43)}`;
          const now = clock.now();
          db.write((tx) => {
            store.removeExpired(tx, now);
            store.insert(tx, hashToken(token), requester.userId, now + LIFETIME_SECONDS * 1000);
          });
          return {
            access_token: token,
            token_type: 'Bearer',
            matrix_server_name: serverName,
            expires_in: LIFETIME_SECONDS,
          };
        },
      }),
      route({
        // Spec: server-server API, "OpenID". Asked by services, which are no servers and sign nothing.
        method: 'GET',
        path: '/_matrix/federation/v1/openid/userinfo',
        auth: 'none',
        resource: 'openid',
        query: Type.Object({ access_token: Type.Optional(Type.String()) }),
        handle: ({ query: { access_token: token } }) => {
          if (token === undefined) throw missingToken('The query parameter access_token is needed');
          const owner = store.find(hashToken(token), clock.now());
          if (owner === undefined) throw unknownToken('This token is unknown or has expired');
          return { sub: owner };
        },
      }),
    ],
    removeOfUser: (tx, who) => store.removeOfUser(tx, who),
  };
}

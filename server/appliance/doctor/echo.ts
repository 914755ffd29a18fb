import { route } from '../../http/route.ts';
import { Type } from '../../http/type.ts';
import { unrecognized } from '../../matrix/errors.ts';
import type { Module } from '../../module.ts';
import { type Random, randomString } from '../../util/random.ts';
import type { Echo, EchoPort } from './port.ts';

const PREFIX = '/_matrix/federation/unstable/hearth.echo';
/** What proxies like to tidy up: an escaped slash, letters escaped without need, a doubled escape. */
const TELLING = '%21a%2Fb%3Ac%25d';
const KEPT = 100;

/**
 * Says how a request arrived, so that it can be seen whether it came to this very server and what a proxy made of it. It is
 * there for nobody but the one who has just been given a secret.
 */
export function echo({
  random,
  heard,
}: {
  readonly random: Random;
  readonly heard: EchoPort['heard'];
}): Module & { readonly echo: EchoPort } {
  const expected = new Set<string>();
  return {
    name: 'echo',
    routes: [
      route({
        method: 'GET',
        path: `${PREFIX}/:secret/:what`,
        auth: 'none',
        params: Type.Object({ secret: Type.String(), what: Type.String() }),
        handle: ({ params: { secret }, url, headers, ip }): Echo => {
          if (!expected.delete(secret)) throw unrecognized('Unrecognized request');
          return {
            uri: url,
            host: headers['host'] ?? '',
            ip,
            forwardedFor: headers['x-forwarded-for'],
            forwardedProto: headers['x-forwarded-proto'],
            authorization: headers['authorization'],
          };
        },
      }),
    ],
    echo: {
      heard,
      prepare: () => {
        const secret = randomString(random, 32);
        expected.add(secret);
        // One that is never asked for is not kept for ever.
        const [oldest] = expected;
        if (expected.size > KEPT && oldest !== undefined) expected.delete(oldest);
        return { path: `${PREFIX}/${secret}/${TELLING}`, forget: () => void expected.delete(secret) };
      },
    },
  };
}

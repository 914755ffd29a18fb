import { type Route, route } from '../http/route.ts';
import { nonEmptyText } from '../http/schemas.ts';
import { Type } from '../http/type.ts';
import { unrecognized } from '../matrix/errors.ts';
import type { QueryHandler } from './types.ts';

export interface QueryNeeds {
  /** By the query's type. */
  readonly queries: ReadonlyMap<string, QueryHandler>;
  /** Of this program, as package.json has it. */
  readonly version: string;
}

/**
 * `GET /query/{queryType}` (server-server API, "Querying for information") and `GET /version`. A type that nobody answers
 * is M_UNRECOGNIZED.
 */
export function queryRoutes({ queries, version }: QueryNeeds): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/query/:queryType',
      auth: 'server',
      params: Type.Object({ queryType: nonEmptyText(255) }),
      query: Type.Object({}),
      handle: ({ origin, params: { queryType }, query }) => {
        const answer = queries.get(queryType);
        if (answer === undefined) throw unrecognized('This type of query is not known');
        return answer(origin, singleValues({ ...query }));
      },
    }),
    route({
      method: 'GET',
      path: '/_matrix/federation/v1/version',
      auth: 'none',
      handle: () => ({ server: { name: 'Hearth', version } }),
    }),
  ];
}

/** Of a parameter that is given several times, the first counts. */
function singleValues(query: Readonly<Record<string, unknown>>): Record<string, string> {
  const single: Record<string, string> = Object.create(null);
  for (const [name, given] of Object.entries(query)) {
    const value: unknown = Array.isArray(given) ? given[0] : given;
    if (typeof value === 'string') single[name] = value;
  }
  return single;
}

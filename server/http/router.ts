import findMyWay from 'find-my-way';

import type { JsonValue } from '../matrix/json.ts';
import type { Method, Resource, Route } from './route.ts';
import { bodyCheck, paramsCheck, queryCheck, type Check } from './validate.ts';

/** A route made ready to be served: what it is found by, and its checks. */
export interface ServedRoute {
  readonly route: Route;
  /** The path as it was declared; for logs and metrics, since it holds nobody's names. */
  readonly template: string;
  /** Any of these on a listener makes it answer there. */
  readonly resources: readonly Resource[];
  readonly checkParams: Check | undefined;
  readonly checkQuery: Check | undefined;
  readonly checkBody: ((body: JsonValue) => unknown) | undefined;
}

/** A path that is served. */
export interface Match {
  readonly served: ServedRoute;
  /** Decoded. */
  readonly params: Readonly<Record<string, string | undefined>>;
}

/** Finds the route for a request. */
export interface Router {
  /** HEAD finds what GET does. Undefined for what is not served, also for a path whose percent-encoding is broken. */
  find(method: string, path: string): Match | undefined;
  /** The methods under which `path` is served by a route that `serves` says is of concern. */
  methodsOf(path: string, serves: (served: ServedRoute) => boolean): Method[];
}

const METHODS: readonly Method[] = ['GET', 'PUT', 'POST', 'DELETE'];

/**
 * Builds the router. A path under `/_matrix/client/v3/` is served under `/r0/` too, and one under `/_matrix/media/v3/`
 * under `/r0/` and `/v1/`, as long as no route was declared there. Throws where two routes claim the same method and path, and
 * where a route contradicts itself.
 */
export function buildRouter(routes: readonly Route[]): Router {
  const tree = findMyWay({ maxParamLength: 4096, caseSensitive: true, querystringParser: noQuery });
  const claimed = new Set<string>();
  const add = (path: string, served: ServedRoute): void => {
    // The names of parameters do not tell two paths apart.
    claimed.add(`${served.route.method} ${path.replaceAll(/:[^/]+/g, ':')}`);
    tree.on(served.route.method, path, unused, served);
  };
  const isClaimed = (method: Method, path: string): boolean =>
    claimed.has(`${method} ${path.replaceAll(/:[^/]+/g, ':')}`);

  const aliases: { path: string; served: ServedRoute }[] = [];
  for (const route of routes) {
    const checks = checksOf(route);
    for (const path of typeof route.path === 'string' ? [route.path] : route.path) {
      if (isClaimed(route.method, path)) throw new Error(`two routes claim ${route.method} ${path}`);
      const served: ServedRoute = { route, template: path, resources: resourcesOf(route, path), ...checks };
      add(path, served);
      for (const alias of olderNamesOf(path)) aliases.push({ path: alias, served });
    }
  }
  for (const { path, served } of aliases) {
    if (!isClaimed(served.route.method, path)) add(path, served);
  }

  const find = (method: Method, path: string): Match | undefined => {
    const found = tree.find(method, path);
    return found === null ? undefined : { served: found.store as ServedRoute, params: found.params };
  };
  return {
    find: (method, path) => {
      const known = method === 'HEAD' ? 'GET' : METHODS.find((one) => one === method);
      return known === undefined ? undefined : find(known, path);
    },
    methodsOf: (path, serves) =>
      METHODS.filter((method) => {
        const match = find(method, path);
        return match !== undefined && serves(match.served);
      }),
  };
}

function unused(): void {
  throw new Error('the router only finds; it does not call');
}

const noQuery = (): Record<string, string> => ({});

function checksOf(route: Route): Pick<ServedRoute, 'checkParams' | 'checkQuery' | 'checkBody'> {
  if (route.rawBody === true && (route.body !== undefined || route.auth === 'server')) {
    throw new Error(`${route.method} ${String(route.path)}: a raw body can be neither checked nor signed`);
  }
  if (route.body !== undefined && route.method === 'GET') {
    throw new Error(`GET ${String(route.path)}: a GET request has no body`);
  }
  return {
    checkParams: route.params && paramsCheck(route.params),
    checkQuery: route.query && queryCheck(route.query),
    checkBody: route.body && bodyCheck(route.body),
  };
}

function olderNamesOf(path: string): string[] {
  const client = '/_matrix/client/v3/';
  const media = '/_matrix/media/v3/';
  if (path.startsWith(client)) return [`/_matrix/client/r0/${path.slice(client.length)}`];
  if (!path.startsWith(media)) return [];
  return ['r0', 'v1'].map((version) => `/_matrix/media/${version}/${path.slice(media.length)}`);
}

// First match counts. What no line names belongs to the clients.
const RESOURCES: readonly (readonly [prefix: string, resources: readonly Resource[]])[] = [
  ['/_matrix/client/v1/media/', ['client', 'media']],
  ['/_matrix/federation/v1/media/', ['federation', 'media']],
  ['/_matrix/federation/v1/openid/', ['federation', 'openid']],
  ['/_matrix/federation/', ['federation']],
  ['/_matrix/policy/', ['federation']],
  ['/_matrix/key/', ['keys', 'federation']],
  ['/_matrix/media/', ['media']],
  ['/_matrix/static/', ['static']],
  ['/_matrix/consent', ['consent']],
  ['/_synapse/metrics', ['metrics']],
  ['/.well-known/matrix/', ['client', 'federation']],
];

function resourcesOf(route: Route, path: string): readonly Resource[] {
  if (route.resource !== undefined) return [route.resource];
  return RESOURCES.find(([prefix]) => path.startsWith(prefix))?.[1] ?? ['client'];
}

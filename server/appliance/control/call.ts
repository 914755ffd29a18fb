import type { Static, TSchema } from 'typebox';
import { type Method, route, type Route } from '../../http/route.ts';
import type { AnswerOf, BodyOf, CallName, QueryOf } from '../contract.ts';

/** Where the calls of the control API are found. */
export const API_PREFIX = '/_hearth/control';

/** The names in braces of a path. */
type NamesIn<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}` ? Name | NamesIn<Rest> : never;

interface CallSpec<C extends CallName, Q extends TSchema, B extends TSchema> {
  /** Must take whatever the contract lets the interface send. */
  readonly query?: QueryOf<C> extends Static<Q> ? Q : never;
  readonly body?: BodyOf<C> extends Static<B> ? B : never;
  /** A larger body than usual, bytes. */
  readonly bodyLimit?: number;
  readonly handle: (input: {
    readonly params: Readonly<Record<NamesIn<C>, string>>;
    readonly query: Static<Q>;
    readonly body: Static<B>;
    /** Aborted when the caller has gone away or the program stops. */
    readonly signal: AbortSignal;
  }) => AnswerOf<C> | Promise<AnswerOf<C>>;
}

/** A call of the control API, ready to be served. */
export interface ControlCall {
  readonly name: CallName;
  readonly route: Route;
}

/** Declares a call of the contract, with the schemas its input is checked against. Refusals are thrown as MatrixError. */
export function call<C extends CallName, Q extends TSchema = TSchema, B extends TSchema = TSchema>(
  name: C,
  { query, body, bodyLimit, handle }: CallSpec<C, Q, B>,
): ControlCall {
  const [method = '', path = ''] = name.split(' ');
  return {
    name,
    route: route({
      method: method as Method,
      path: `${API_PREFIX}${path.replaceAll(/\{(\w+)\}/g, ':$1')}`,
      auth: 'none',
      resource: 'control',
      ...(query === undefined ? {} : { query }),
      ...(body === undefined ? {} : { body, emptyBodyAllowed: true }),
      ...(bodyLimit === undefined ? {} : { bodyLimit }),
      handle: async (request) =>
        handle({
          params: request.params as Readonly<Record<NamesIn<C>, string>>,
          query: request.query as Static<Q>,
          body: request.body as Static<B>,
          signal: request.signal,
        }),
    }),
  };
}

import type { TSchema } from 'typebox';
import type { Compile, Validator } from 'typebox/schema';

import { badJson, invalidParam, missingParam, type MatrixError } from '../matrix/errors.ts';

/*
 * Requests against schemas. Which errcode a mismatch gets (spec: client-server API, "Common error codes" and "Other error
 * codes"):
 *   path parameter wrong                     M_INVALID_PARAM
 *   query parameter wrong / lacking          M_INVALID_PARAM / M_MISSING_PARAM
 *   key of a body wrong or lacking           M_BAD_JSON: "malformed in some way, e.g. missing required keys" is its very
 *                                            definition, and the only one that conformance tests ask for
 */

/** Throws a MatrixError where `value` does not match; otherwise gives it back, for the query with text turned into values. */
export type Check = (value: unknown) => unknown;

let compile: typeof Compile | undefined;

/** Whether schemas can be compiled yet. */
export function canCheck(): boolean {
  return compile !== undefined;
}

/** Loads what compiles schemas; before, no check can be made. Not part of the start, which it would hold up. */
export async function prepareChecks(): Promise<void> {
  compile ??= (await import('typebox/schema')).Compile;
}

type Problem = { readonly path: string; readonly reason: string; readonly missing: boolean };

/** Checks a JSON body. The schema is compiled when it is first needed: hundreds of them would delay the start. */
export function bodyCheck(schema: TSchema): Check {
  const validator = lazily(schema);
  return (value) => {
    if (validator().Check(value)) return value;
    const { path, reason, missing } = firstProblem(validator(), value);
    if (missing) throw badJson(`The key ${path} is missing from the body`);
    throw badJson(path === '' ? `The body ${reason}` : `The key ${path} of the body ${reason}`);
  };
}

/** Checks the decoded parameters of a path. */
export function paramsCheck(schema: TSchema): Check {
  const validator = lazily(schema);
  return (value) => {
    if (validator().Check(value)) return value;
    const { path, reason } = firstProblem(validator(), value);
    throw invalidParam(`The part ${path} of the path ${reason}`);
  };
}

/**
 * Checks a query as `querystring.parse` gives it, after turning text into the numbers and booleans that the schema wants.
 * A key given several times is a list where the schema has an array; elsewhere its first value counts.
 */
export function queryCheck(schema: TSchema): Check {
  const validator = lazily(schema);
  let coercions: readonly (readonly [string, Coercion])[] | undefined;
  return (value) => {
    const query: Record<string, unknown> = Object.assign(Object.create(null), value);
    coercions ??= coercionsOf(schema);
    for (const [key, coerce] of coercions) {
      const given = query[key];
      if (given !== undefined) query[key] = coerce(given);
    }
    if (validator().Check(query)) return query;
    throw queryError(firstProblem(validator(), query));
  };
}

function queryError({ path, reason, missing }: Problem): MatrixError {
  if (missing) return missingParam(`The query parameter ${path} is missing`);
  return invalidParam(`The query parameter ${path} ${reason}`);
}

function lazily(schema: TSchema): () => Validator {
  let validator: Validator | undefined;
  return () => {
    if (compile === undefined) throw new Error('prepareChecks() has to come first');
    return (validator ??= compile(schema));
  };
}

function firstProblem(validator: Validator, value: unknown): Problem {
  const [, errors] = validator.Errors(value);
  // Each branch of a union reports its own errors before the union does; what the union says is the truth of them all.
  const first = errors[0];
  if (first === undefined) return { path: '', reason: 'does not have the expected form', missing: false };
  const path = readablePath(first.instancePath);
  const union = errors.find((error) => error.keyword === 'anyOf' && first.instancePath.startsWith(error.instancePath));
  if (union !== undefined) {
    return { path: readablePath(union.instancePath), reason: unionReason(errors, union.instancePath), missing: false };
  }
  switch (first.keyword) {
    case 'required': {
      const key = first.params.requiredProperties[0] ?? '';
      return { path: path === '' ? key : `${path}.${key}`, reason: 'is missing', missing: true };
    }
    case 'const':
      return { path, reason: `must be ${JSON.stringify(first.params.allowedValue)}`, missing: false };
    case 'enum':
      return { path, reason: `must be one of ${first.params.allowedValues.join(', ')}`, missing: false };
    default:
      return { path, reason: first.message, missing: false };
  }
}

function unionReason(errors: ReturnType<Validator['Errors']>[1], at: string): string {
  const constants: string[] = [];
  for (const error of errors) {
    if (error.keyword === 'const' && error.instancePath === at) constants.push(String(error.params.allowedValue));
  }
  return constants.length > 0 ? `must be one of ${constants.join(', ')}` : 'has none of the forms it may have';
}

/** A JSON pointer as people write it: `/a/b~1c/0` is `a.b/c.0`. Long keys are cut: they come from outside. */
function readablePath(pointer: string): string {
  const path = pointer.slice(1).replaceAll('/', '.').replaceAll('~1', '/').replaceAll('~0', '~');
  return path.length > 200 ? `${path.slice(0, 200)}…` : path;
}

type Coercion = (given: unknown) => unknown;

function coercionsOf(schema: TSchema): (readonly [string, Coercion])[] {
  const { properties } = schema as { properties?: Record<string, TSchema> };
  return Object.entries(properties ?? {}).map(([key, property]) => [key, coercionTo(property)]);
}

/** What makes a value of the schema's type out of text. Text that cannot be one stays text, for the check to refuse. */
function coercionTo(schema: TSchema): Coercion {
  const {
    type,
    items,
    anyOf,
    const: constant,
  } = schema as {
    type?: string;
    items?: TSchema;
    anyOf?: TSchema[];
    const?: unknown;
  };
  if (type === 'array') {
    const item = items === undefined ? firstOf : coercionTo(items);
    return (given) => (Array.isArray(given) ? given : [given]).map(item);
  }
  if (anyOf !== undefined) {
    const branches = anyOf.map(coercionTo);
    return (given) => {
      const values = branches.map((branch) => branch(given));
      return values.find((value) => typeof value !== 'string') ?? firstOf(given);
    };
  }
  switch (type ?? typeof constant) {
    case 'integer':
    case 'number':
      return (given) => toNumber(firstOf(given));
    case 'boolean':
      return (given) => toBoolean(firstOf(given));
    default:
      return firstOf;
  }
}

const firstOf: Coercion = (given) => (Array.isArray(given) ? given[0] : given);

function toNumber(given: unknown): unknown {
  return typeof given === 'string' && /^-?\d{1,16}(?:\.\d{1,16})?$/.test(given) ? Number(given) : given;
}

function toBoolean(given: unknown): unknown {
  if (given === 'true') return true;
  return given === 'false' ? false : given;
}

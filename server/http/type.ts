import type * as Typebox from 'typebox';

/** What of typebox's `Type` the routes' schemas are written with. */
type Builders = Pick<
  typeof Typebox.Type,
  | 'Array'
  | 'Boolean'
  | 'Integer'
  | 'Literal'
  | 'Null'
  | 'Number'
  | 'Object'
  | 'Optional'
  | 'Refine'
  | 'String'
  | 'Union'
  | 'Unknown'
  | 'Unsafe'
>;

// Marks that typebox sets on schemas; neither JSON nor a copy by spreading shows them.
const OPTIONAL = '~optional';
const REFINE = '~refine';

function isMarked(schema: object, mark: string): boolean {
  return Object.hasOwn(schema, mark);
}

/** A copy of a schema, with its marks and one more. */
function marked(schema: object, mark: string, value: unknown): object {
  const copy = Object.defineProperties({}, Object.getOwnPropertyDescriptors(schema));
  return Object.defineProperty(copy, mark, { value, configurable: true, writable: true, enumerable: false });
}

const builders = {
  Array: (items: object, options?: object) => ({ type: 'array', items, ...options }),
  Boolean: (options?: object) => ({ type: 'boolean', ...options }),
  Integer: (options?: object) => ({ type: 'integer', ...options }),
  Literal: (value: string | number | boolean, options?: object) => ({ type: typeof value, const: value, ...options }),
  Null: (options?: object) => ({ type: 'null', ...options }),
  Number: (options?: object) => ({ type: 'number', ...options }),
  Object: (properties: Record<string, object>, options?: object) => {
    const required = Object.entries(properties)
      .filter(([, schema]) => !isMarked(schema, OPTIONAL))
      .map(([key]) => key);
    return { type: 'object', ...(required.length > 0 ? { required } : {}), properties, ...options };
  },
  Optional: (schema: object) => marked(schema, OPTIONAL, true),
  Refine: (schema: object, check: (value: unknown) => boolean, error = () => 'has not the expected form') => {
    const earlier: unknown = Reflect.get(schema, REFINE);
    return marked(schema, REFINE, [...(Array.isArray(earlier) ? earlier : []), { check, error }]);
  },
  String: (options?: object) => ({ type: 'string', ...options }),
  Union: (anyOf: object[], options?: object) => ({ anyOf, ...options }),
  Unknown: (options?: object) => ({ ...options }),
  Unsafe: (schema: object) => schema,
};

/**
 * Builds the schemas of routes: to the compiler it is typebox's own `Type`, and what it makes is what typebox's compiler
 * takes. The original consists of hundreds of modules for whatever else types can do, and would be a quarter of the
 * server's start and memory.
 */
export const Type = builders as unknown as Builders;

import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { isMap, isScalar, isSeq } from 'yaml';
import type { JsonValue } from '../matrix/json.ts';
import { describeValue, type Place } from './place.ts';

/** What an input for a value has to offer: enough to draw a settings page from. */
export type Form =
  | { readonly type: 'text' | 'path' | 'switch' | 'duration' | 'size' | 'yaml' }
  | { readonly type: 'number'; readonly min?: number; readonly max?: number }
  | { readonly type: 'choice'; readonly values: readonly (string | boolean)[] }
  | { readonly type: 'list' | 'map'; readonly of: Form }
  | {
      readonly type: 'section';
      readonly options: Readonly<Record<string, { readonly kind: { readonly form: Form } }>>;
    };

/** A kind of value an option can have. */
export interface Kind<T> {
  /** Completes "expected …". */
  readonly expects: string;
  readonly form: Form;
  /** The value at `place`, or undefined once what is wrong with it has been recorded there. */
  read(place: Place): T | undefined;
  /** An explicit `null` is a value of its own, not the same as leaving the option out. */
  readonly takesNull?: boolean;
}

/** A kind written as one scalar. `parse` returns undefined for what it doesn't accept. */
export function scalar<T>(
  expects: string,
  form: Form,
  parse: (value: string | number | boolean, source: string, place: Place) => T | undefined,
): Kind<T> {
  return {
    expects,
    form,
    read(place) {
      const value = isScalar(place.node) ? place.node.value : undefined;
      const plain = typeof value === 'bigint' ? Number(value) : value;
      if (typeof plain === 'string' || typeof plain === 'number' || typeof plain === 'boolean') {
        const source = isScalar(place.node) ? (place.node.source ?? String(plain)) : '';
        const parsed = parse(plain, source, place);
        if (parsed !== undefined) return parsed;
        if (typeof plain === 'string' && expects !== 'text') {
          // What was written helps here, and nothing that is a secret is of any other kind than text.
          return place.refuse(`expected ${expects}, found ${JSON.stringify(shorten(plain))}`);
        }
      }
      return place.refuse(`expected ${expects}, found ${describeValue(place)}`);
    },
  };
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

export const text: Kind<string> = scalar('text', { type: 'text' }, (value) =>
  typeof value === 'string' ? value : undefined,
);

/** Text for which a number may stand, taken as it is written: `1.10` stays "1.10". */
export const textOrNumber: Kind<string> = scalar('text', { type: 'text' }, (value, source) =>
  typeof value === 'string' ? value : typeof value === 'number' ? source : undefined,
);

/** Text of a certain form; `expects` names it. */
export function textLike(expects: string, accepts: (value: string) => boolean): Kind<string> {
  return scalar(expects, { type: 'text' }, (value) =>
    typeof value === 'string' && accepts(value) ? value : undefined,
  );
}

/** The same for a secret, which no message repeats. */
export function secretLike(expects: string, accepts: (value: string) => boolean): Kind<string> {
  return {
    expects,
    form: { type: 'text' },
    read(place) {
      const value = isScalar(place.node) ? place.node.value : undefined;
      if (typeof value === 'string' && accepts(value)) return value;
      return place.refuse(`expected ${expects}, found ${describeValue(place)}`);
    },
  };
}

/** Text that `guard` narrows to one of the identifiers of Matrix. */
export function identifier<T extends string>(expects: string, guard: (value: string) => value is T): Kind<T> {
  return scalar(expects, { type: 'text' }, (value) => (typeof value === 'string' && guard(value) ? value : undefined));
}

export const flag: Kind<boolean> = scalar('true or false', { type: 'switch' }, (value) =>
  typeof value === 'boolean' ? value : undefined,
);

interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

function boundsInWords({ min, max }: Bounds): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return `, ${min} or more`;
  return max === undefined ? '' : `, ${max} or less`;
}

function within(value: number, { min, max }: Bounds): boolean {
  return value >= (min ?? -Infinity) && value <= (max ?? Infinity);
}

export function integer(bounds: Bounds = { min: 0 }): Kind<number> {
  return scalar(`a whole number${boundsInWords(bounds)}`, { type: 'number', ...bounds }, (value) =>
    typeof value === 'number' && Number.isSafeInteger(value) && within(value, bounds) ? value : undefined,
  );
}

export function decimal(bounds: Bounds = { min: 0 }): Kind<number> {
  return scalar(`a number${boundsInWords(bounds)}`, { type: 'number', ...bounds }, (value) =>
    typeof value === 'number' && Number.isFinite(value) && within(value, bounds) ? value : undefined,
  );
}

const SECOND = 1000;
const DAY = 86_400 * SECOND;
const TIME_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  s: SECOND,
  m: 60 * SECOND,
  h: 3600 * SECOND,
  d: DAY,
  w: 7 * DAY,
  y: 365 * DAY,
};

/** `text` as milliseconds: a number with s, m, h, d, w or y, or milliseconds without a letter. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([smhdwy]?)\s*$/.exec(text) ?? [];
  const factor = TIME_UNITS[unit];
  if (amount === undefined || factor === undefined) return undefined;
  const ms = Math.round(Number(amount) * factor);
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** Milliseconds. */
export const duration: Kind<number> = scalar(
  'a duration such as 30s, 5m, 12h, 7d, 4w or 1y (without a letter: milliseconds)',
  { type: 'duration' },
  (value) => (typeof value === 'boolean' ? undefined : parseDuration(String(value))),
);

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** `text` as bytes: a number with K, M, G or T (powers of 1024), or bytes without a letter. */
export function parseSize(text: string): number | undefined {
  const [, amount, unit = ''] = /^\s*(\d+)\s*(?:([KMGT]?)(?:i?B)?)\s*$/.exec(text) ?? [];
  const factor = SIZE_UNITS[unit];
  if (amount === undefined || factor === undefined) return undefined;
  const bytes = Number(amount) * factor;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes (or whatever else is counted in K and M). */
export const size: Kind<number> = scalar(
  'a size such as 512K, 50M or 1G (without a letter: bytes)',
  { type: 'size' },
  (value) => (typeof value === 'boolean' ? undefined : parseSize(String(value))),
);

/** One of some words (or truth values). */
export function choice<const V extends readonly (string | boolean)[]>(...values: V): Kind<V[number]> {
  const words = values.map((value) => (typeof value === 'string' ? `"${value}"` : String(value)));
  const last = words.pop() ?? '';
  const expects = words.length === 0 ? last : `${words.join(', ')} or ${last}`;
  return scalar(expects, { type: 'choice', values }, (value) => values.find((allowed) => allowed === value));
}

export function list<T>(of: Kind<T>): Kind<readonly T[]> {
  return {
    expects: 'a list',
    form: { type: 'list', of: of.form },
    read(place) {
      if (!isSeq(place.node)) return place.refuse(`expected a list, found ${describeValue(place)}`);
      const values: T[] = [];
      let whole = true;
      for (const [index, item] of place.node.items.entries()) {
        const value = of.read(place.entry(index, item));
        if (value === undefined) whole = false;
        else values.push(value);
      }
      return whole ? values : undefined;
    },
  };
}

/** A mapping with names of the user's choice. */
export function mapOf<T>(of: Kind<T>): Kind<Readonly<Record<string, T>>> {
  return {
    expects: 'a mapping',
    form: { type: 'map', of: of.form },
    read(place) {
      if (!isMap(place.node)) return place.refuse(`expected a mapping, found ${describeValue(place)}`);
      const values: [string, T][] = [];
      let whole = true;
      for (const [name, field] of place.fields()) {
        const value = of.read(field);
        if (value === undefined) whole = false;
        else values.push([name, value]);
      }
      return whole ? Object.fromEntries(values) : undefined;
    },
  };
}

/** Anything YAML can say, as JSON would. */
export const anything: Kind<JsonValue> = {
  expects: 'a value',
  form: { type: 'yaml' },
  takesNull: true,
  read(place) {
    try {
      const value: unknown = place.node?.toJS(place.file.document) ?? null;
      return isJson(value) ? value : place.refuse('holds something that JSON cannot express');
    } catch (error) {
      // Aliases that multiply, or that contain themselves.
      if (error instanceof ReferenceError) return place.refuse('has too many aliases');
      throw error;
    }
  },
};

function isJson(value: unknown, depth = 0): value is JsonValue {
  if (depth > 100) return false;
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return true;
  if (Array.isArray(value)) return value.every((item) => isJson(item, depth + 1));
  // Dates and sets, which YAML knows and JSON does not, have other prototypes.
  if (typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return false;
  return Object.values(value).every((item) => isJson(item, depth + 1));
}

/** `kind`, or null where null says something else than leaving the option out. */
export function orNull<T>(kind: Kind<T>): Kind<T | null> {
  return {
    expects: `${kind.expects}, or null`,
    form: kind.form,
    takesNull: true,
    read: (place) => (place.node === undefined ? null : kind.read(place)),
  };
}

/** The first of two kinds if `isFirst` says so of what is written, else the second. */
export function either<A, B>(first: Kind<A>, second: Kind<B>, isFirst: (place: Place) => boolean): Kind<A | B> {
  return {
    expects: `${first.expects}, or ${second.expects}`,
    form: first.form,
    read: (place) => (isFirst(place) ? first.read(place) : second.read(place)),
  };
}

/** The path of a file or directory; made absolute, starting from the configuration file's directory. */
export const path: Kind<string> = scalar('a path', { type: 'path' }, (value, _source, place) =>
  typeof value === 'string' && value !== '' ? resolve(place.file.directory, value) : undefined,
);

/** An address on the web. */
export const url: Kind<string> = textLike('an http:// or https:// address', (value) => {
  const parsed = URL.parse(value);
  return parsed !== null && ['http:', 'https:'].includes(parsed.protocol) && parsed.hostname !== '';
});

/** A regular expression that has to match from the first character of a text on. */
export const pattern: Kind<RegExp> = scalar('a regular expression', { type: 'text' }, (value) => {
  if (typeof value !== 'string') return undefined;
  try {
    return new RegExp(`^(?:${value})`);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
});

/** An IP address or a range of them in CIDR notation. */
export const ipRange: Kind<string> = textLike('an IP address or a range such as 10.0.0.0/8 or fc00::/7', (value) => {
  const [address = '', prefix, ...rest] = value.split('/');
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1;
  return (
    rest.length === 0 && bits > 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
  );
});

import { isMap } from 'yaml';
import { decimal, type Kind } from './kinds.ts';
import { describeValue, type Place } from './place.ts';
import { findSimilar } from './problems.ts';

/** An option of the configuration, as data: what may be written, what holds if nothing is, and what it means. */
export interface Option<T> {
  readonly kind: Kind<unknown>;
  /** What holds where the option is left out. */
  readonly fallback: T;
  /** What it does, in a sentence or two. */
  readonly about: string;
  /** Set for what is accepted without having an effect (so far): why, and what to do instead. */
  readonly note: string | undefined;
  /** Must be there wherever the mapping it belongs to is. */
  readonly required: boolean;
  readonly secret: boolean;
  /** Takes effect on reload (SIGHUP), without a restart. */
  readonly reloads: boolean;
}

export type Options = Readonly<Record<string, Option<unknown>>>;

/** What a group of options says, once read. */
export type Values<O extends Options> = { readonly [Name in keyof O]: O[Name] extends Option<infer T> ? T : never };

interface Extras {
  readonly note?: string;
  readonly secret?: boolean;
  readonly reloads?: boolean;
}

/** Declares an option. A fallback of undefined makes undefined one of its values. */
export function option<T, F extends T | undefined>(
  kind: Kind<T>,
  fallback: F,
  about: string,
  extras: Extras = {},
): Option<undefined extends F ? T | undefined : T> {
  const { note, secret = false, reloads = false } = extras;
  const value: T | undefined = fallback;
  // The conditional type says no more than this: where the fallback is a T, so is the option.
  const settled = value as undefined extends F ? T | undefined : T;
  return { kind, fallback: settled, about, note, secret, reloads, required: false };
}

/** Declares a sub-option that cannot be left out. */
export function required<T>(kind: Kind<T>, about: string): Option<T> {
  // Never read: where it is lacking, the whole mapping is refused.
  const fallback = undefined as T;
  return { kind, fallback, about, note: undefined, secret: false, reloads: false, required: true };
}

/** A part that later versions of Hearth will bring. */
export const LATER = 'is understood, but has no effect yet';

/** An option with sub-options, all of which have their own defaults: it is never undefined. */
export function group<O extends Options>(options: O, about: string, extras: Extras = {}): Option<Values<O>> {
  return option<Values<O>, Values<O>>(section(options), defaultsOf(options), about, extras) as Option<Values<O>>;
}

/** What a group of options says where nothing is written. */
export function defaultsOf<O extends Options>(options: O): Values<O> {
  return Object.fromEntries(Object.entries(options).map(([name, { fallback }]) => [name, fallback])) as Values<O>;
}

/** The kind of a value that has named parts. */
export function section<O extends Options>(options: O): Kind<Values<O>> {
  return {
    expects: 'a mapping',
    form: { type: 'section', options },
    read(place) {
      if (!isMap(place.node)) return place.refuse(`expected a mapping, found ${describeValue(place)}`);
      const { values, whole } = readFields(options, place.fields(), place);
      return whole ? values : undefined;
    },
  };
}

/**
 * Reads each of `options` from `fields`, complains of what is not among them, warns of what has no effect. Unless the
 * result is `whole`, some values are only their fallback.
 */
export function readFields<O extends Options>(
  options: O,
  fields: ReadonlyMap<string, Place>,
  owner: Place,
): { readonly values: Values<O>; readonly whole: boolean } {
  const values: Record<string, unknown> = {};
  let whole = true;
  for (const [name, field] of fields) {
    if (Object.hasOwn(options, name)) continue;
    refuseUnknown(name, Object.keys(options), field, owner.option === '');
    whole = false;
  }
  for (const [name, { kind, fallback, note, required: needed }] of Object.entries(options)) {
    const field = fields.get(name);
    values[name] = fallback;
    if (needed && field?.node === undefined) {
      owner.refuse(`needs ${name}: ${kind.expects}`);
      whole = false;
      continue;
    }
    if (field === undefined) continue;
    if (note !== undefined) field.warn(note);
    // An option with nothing behind its colon counts as left out, as it does for Synapse.
    if (field.node === undefined && kind.takesNull !== true) continue;
    const value = kind.read(field);
    if (value === undefined) whole = false;
    else values[name] = value;
  }
  return { values: values as Values<O>, whole };
}

function refuseUnknown(name: string, known: readonly string[], field: Place, top: boolean): void {
  const similar = findSimilar(name, known);
  const hint =
    similar !== undefined
      ? `; did you mean "${similar}"?`
      : top
        ? ''
        : ` (known here: ${known.slice(0, 12).join(', ')})`;
  // A misspelt name is pointed at, not its value.
  field.refuseKey(`unknown option${hint}`);
}

/** A rate limit option with its defaults: requests a second, and how many may come at once. */
export function rateLimit(
  perSecond: number,
  burstCount: number,
  about: string,
  extras: Extras = {},
): Option<RateLimitValues> {
  return group(rateLimitOptions(perSecond, burstCount), about, extras);
}

export interface RateLimitValues {
  readonly per_second: number;
  readonly burst_count: number;
}

/** The two sub-options of every rate limit. */
export function rateLimitOptions(perSecond: number, burstCount: number) {
  return {
    per_second: option(decimal(), perSecond, 'How many requests a second are let through in the long run.'),
    burst_count: option(decimal(), burstCount, 'How many requests may come at once before the limit is felt.'),
  };
}

import { isolated, localeFor } from '../models/locale.ts';
import { en } from './en.ts';

/** A sentence with names in braces, or its forms by the number `{count}` (CLDR plural categories). */
export type Message = string | ({ readonly other: string } & Partial<Readonly<Record<Intl.LDMLPluralRule, string>>>);

type NamesIn<S> = S extends `${string}{${infer Name}}${infer Rest}` ? Name | NamesIn<Rest> : never;
type NamesOf<M> = M extends string ? NamesIn<M> : 'count' | NamesIn<M[keyof M]>;

type Catalogue = typeof en;
export type TextKey = keyof Catalogue;
/** Keys of texts that take nothing. */
export type PlainKey = { [K in TextKey]: [NamesOf<Catalogue[K]>] extends [never] ? K : never }[TextKey];
type Values<K extends TextKey> = [NamesOf<Catalogue[K]>] extends [never]
  ? []
  : [values: { readonly [N in NamesOf<Catalogue[K]>]: N extends 'count' ? number : string | number }];

/** The language of the catalogue, for dates and numbers too, as it is written where the reader is. */
export const locale = localeFor('en', navigator.languages);

const plurals = new Intl.PluralRules(locale);
const numbers = new Intl.NumberFormat(locale);

/** A text of the catalogue with its values in place. */
export function text<K extends TextKey>(key: K, ...[values]: Values<K>): string {
  const message: Message = en[key];
  const given: Readonly<Record<string, string | number>> = values ?? {};
  const template =
    typeof message === 'string' ? message : (message[plurals.select(Number(given['count']))] ?? message.other);
  return template.replaceAll(/\{(\w+)\}/g, (all, name: string) => {
    const value = given[name];
    return value === undefined ? all : typeof value === 'number' ? numbers.format(value) : isolated(value);
  });
}

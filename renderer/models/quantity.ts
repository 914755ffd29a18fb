/** Sizes and durations as people type them: an amount and a unit. */
export type QuantityKind = 'bytes' | 'duration';
export type SizeUnit = 'byte' | 'kib' | 'mib' | 'gib';
export type TimeUnit = 'second' | 'minute' | 'hour' | 'day';
export type Unit = SizeUnit | TimeUnit;
/** No limit at all, where a setting can say so. */
export const NEVER = 'never';

/** From the largest. In bytes and in ms. */
const FACTORS: Readonly<Record<QuantityKind, readonly (readonly [Unit, number])[]>> = {
  bytes: [
    ['gib', 2 ** 30],
    ['mib', 2 ** 20],
    ['kib', 2 ** 10],
    ['byte', 1],
  ],
  duration: [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1000],
  ],
};
/** What somebody who sets one for the first time most likely means. */
const USUAL: Readonly<Record<QuantityKind, Unit>> = { bytes: 'mib', duration: 'day' };

export interface Quantity {
  /** As it is typed; empty is none. */
  readonly amount: string;
  readonly unit: Unit | typeof NEVER;
}

export function unitsOf(kind: QuantityKind): readonly Unit[] {
  return FACTORS[kind].map(([unit]) => unit);
}

/** In the largest unit of which it is a whole number. */
export function splitQuantity(kind: QuantityKind, value: number | null): Quantity {
  if (value === null) return { amount: '', unit: USUAL[kind] };
  const [unit, factor] = FACTORS[kind].find(([, each]) => value !== 0 && value % each === 0) ?? [USUAL[kind], 0];
  if (factor > 0) return { amount: String(value / factor), unit };
  const [smallest, least] = FACTORS[kind].at(-1) ?? [USUAL[kind], 1];
  return value === 0 ? { amount: '0', unit: USUAL[kind] } : { amount: String(value / least), unit: smallest };
}

/** In bytes or ms; null where nothing is typed, undefined where it is no such number. */
export function joinQuantity(kind: QuantityKind, { amount, unit }: Quantity): number | null | undefined {
  const typed = amount.trim().replace(',', '.');
  if (typed === '') return null;
  if (!/^\d+(\.\d+)?$/.test(typed)) return undefined;
  const factor = FACTORS[kind].find(([each]) => each === unit)?.[1] ?? 1;
  const value = Math.round(Number(typed) * factor);
  return Number.isSafeInteger(value) ? value : undefined;
}

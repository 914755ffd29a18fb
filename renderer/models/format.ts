import { locale } from '../strings/text.ts';

const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;
const sizeFormats = units.map(
  (unit) =>
    new Intl.NumberFormat(locale, {
      style: 'unit',
      unit,
      unitDisplay: unit === 'byte' ? 'long' : 'short',
      maximumFractionDigits: 1,
    }),
);

/** A size in bytes, as people say it (decimal units). */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let step = 0;
  // 999.95 of a unit would be shown as a thousand of it.
  for (; value >= (step === 0 ? 1000 : 999.5) && step < units.length - 1; step += 1) value /= 1000;
  return sizeFormats[step]?.format(value >= 100 ? Math.round(value) : value) ?? '';
}

const numbers = new Intl.NumberFormat(locale);
export function formatNumber(value: number): string {
  return numbers.format(value);
}

const percents = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 });
/** A share from 0 to 1. */
export function formatPercent(share: number): string {
  return percents.format(share);
}

const moments = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' });
const days = new Intl.DateTimeFormat(locale, { dateStyle: 'medium' });
const hours = new Intl.DateTimeFormat(locale, { hour: 'numeric', minute: '2-digit' });

/** Date and time of day. */
export function formatMoment(at: number): string {
  return moments.format(at);
}
export function formatDay(at: number): string {
  return days.format(at);
}
export function formatHour(at: number): string {
  return hours.format(at);
}

const SPANS = [
  ['year', 365 * 86_400_000],
  ['month', 30 * 86_400_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const;
const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });

/** How long ago or ahead `at` is, in one unit. */
export function formatAgo(at: number, now: number): string {
  const distance = at - now;
  if (Math.abs(distance) < 10_000) return relative.format(0, 'second');
  const [unit, ms] = SPANS.find(([, span]) => Math.abs(distance) >= span) ?? SPANS[5];
  return relative.format(Math.trunc(distance / ms), unit);
}

/** A duration (ms) in its two largest units, as "3 days 4 hours". */
export function formatDuration(ms: number): string {
  const parts: string[] = [];
  let rest = Math.max(0, ms);
  for (const [unit, span] of SPANS.slice(2)) {
    const count = Math.floor(rest / span);
    rest -= count * span;
    if (count > 0 || parts.length === 1 || unit === 'second') {
      if (count > 0 || parts.length === 0) {
        parts.push(new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' }).format(count));
      }
      if (parts.length === 2 || count === 0) break;
    }
  }
  return parts.join(' ');
}

const seconds = new Intl.DateTimeFormat(locale, {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});
/** Day and time of day, to the second. */
export function formatSecond(at: number): string {
  return seconds.format(at);
}

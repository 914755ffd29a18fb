/** The filters that templates written for Synapse use, besides those of Jinja itself. */

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

const pad = (value: number, width = 2, fill = '0'): string => String(value).padStart(width, fill);

function offset(date: Date): string {
  const minutes = -date.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${pad(Math.floor(size / 60))}${pad(size % 60)}`;
}

function dayOfYear(date: Date): number {
  return Math.round(
    (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000,
  );
}

const CODES: Readonly<Record<string, (date: Date) => string>> = {
  a: (date) => (DAYS[date.getDay()] ?? '').slice(0, 3),
  A: (date) => DAYS[date.getDay()] ?? '',
  b: (date) => (MONTHS[date.getMonth()] ?? '').slice(0, 3),
  B: (date) => MONTHS[date.getMonth()] ?? '',
  c: (date) => formatDate(date, '%a %b %e %H:%M:%S %Y'),
  d: (date) => pad(date.getDate()),
  D: (date) => formatDate(date, '%m/%d/%y'),
  e: (date) => pad(date.getDate(), 2, ' '),
  F: (date) => formatDate(date, '%Y-%m-%d'),
  H: (date) => pad(date.getHours()),
  I: (date) => pad(date.getHours() % 12 || 12),
  j: (date) => pad(dayOfYear(date), 3),
  m: (date) => pad(date.getMonth() + 1),
  M: (date) => pad(date.getMinutes()),
  n: () => '\n',
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  R: (date) => formatDate(date, '%H:%M'),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  S: (date) => pad(date.getSeconds()),
  t: () => '\t',
  T: (date) => formatDate(date, '%H:%M:%S'),
  w: (date) => String(date.getDay()),
  x: (date) => formatDate(date, '%m/%d/%y'),
  X: (date) => formatDate(date, '%H:%M:%S'),
  y: (date) => pad(date.getFullYear() % 100),
  Y: (date) => String(date.getFullYear()),
  z: offset,
  Z: (date) => offset(date),
  '%': () => '%',
};

function formatDate(date: Date, format: string): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, plain: string, code: string) => {
    const text = Object.hasOwn(CODES, code) ? CODES[code]?.(date) : undefined;
    if (text === undefined) return whole;
    return plain === '' ? text : text.replace(/^[0 ]+(?=.)/, '');
  });
}

/** `format_ts`: milliseconds since the epoch, in this machine's time zone, by the codes of strftime. */
export function formatTs(value: unknown, format: unknown): string {
  const ms = Number(value);
  if (!Number.isFinite(ms) || Number.isNaN(new Date(ms).getTime())) return '';
  return formatDate(new Date(ms), typeof format === 'string' ? format : '%c');
}

/** `mxc_to_http`: where a picture can be had in that size. Empty for what is no mxc address. */
export function mxcToHttp(baseUrl: string): (value: unknown, ...rest: readonly unknown[]) => string {
  return (value, ...rest) => {
    const match = /^mxc:\/\/([^/?#]+)\/([^/?#]+)(#.*)?$/.exec(typeof value === 'string' ? value : '');
    if (match === null) return '';
    const [, serverName = '', mediaId = '', fragment = ''] = match;
    const { positional, named } = splitArguments(rest);
    const query = new URLSearchParams({
      width: argument(positional[0] ?? named['width'], '32'),
      height: argument(positional[1] ?? named['height'], '32'),
      method: argument(positional[2] ?? named['resize_method'], 'crop'),
    });
    const base = baseUrl.replace(/\/+$/, '');
    return `${base}/_matrix/media/v1/thumbnail/${encodeURIComponent(serverName)}/${encodeURIComponent(mediaId)}?${query.toString()}${fragment}`;
  };
}

/** `localpart_from_email`: what stands before the last @. */
export function localpartFromEmail(address: unknown): string {
  const text = typeof address === 'string' ? address : '';
  return text.slice(0, Math.max(0, text.lastIndexOf('@')));
}

/** `format`, and the % operator of text: `%s %d %i %x %f %.2f %5s %-5s %%`. */
export function formatPercent(format: unknown, ...rest: readonly unknown[]): string {
  const { positional } = splitArguments(rest);
  let next = 0;
  return String(format).replace(
    /%(-?)(0?)(\d*)(?:\.(\d+))?([sdifxX%])/g,
    (_whole, left: string, zero: string, width: string, precision: string | undefined, kind: string) => {
      if (kind === '%') return '%';
      const value = positional[next];
      next += 1;
      const text = convert(value, kind, precision === undefined ? undefined : Number(precision));
      const size = Math.min(Number(width === '' ? '0' : width), 1000);
      return left === '-' ? text.padEnd(size) : text.padStart(size, zero === '0' && kind !== 's' ? '0' : ' ');
    },
  );
}

function convert(value: unknown, kind: string, precision: number | undefined): string {
  if (kind === 's') return argument(value, '').slice(0, precision);
  const number = Number(value);
  if (kind === 'f') return number.toFixed(Math.min(precision ?? 6, 20));
  const whole = Math.trunc(number);
  if (kind === 'x') return whole.toString(16);
  return kind === 'X' ? whole.toString(16).toUpperCase() : String(whole);
}

function argument(value: unknown, fallback: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  return fallback;
}

/** What is given by name comes last, as a map. */
function splitArguments(rest: readonly unknown[]): {
  readonly positional: readonly unknown[];
  readonly named: Readonly<Record<string, unknown>>;
} {
  const last = rest.at(-1);
  if (last instanceof Map) return { positional: rest.slice(0, -1), named: Object.fromEntries(last) };
  if (typeof last === 'object' && last !== null && !Array.isArray(last)) {
    return { positional: rest.slice(0, -1), named: { ...last } };
  }
  return { positional: rest, named: {} };
}

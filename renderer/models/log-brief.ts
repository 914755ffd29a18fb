/** What a request is known by comes first, whatever the order in the log. */
const FIRST = ['method', 'path', 'status', 'code', 'message'];
/** Longer ones are no excerpt any more. */
const MAX_VALUE = 80;
const MAX_VALUES = 6;

/** The beginning of what belongs to a line of the log, to tell lines of the same words apart. Empty where there is nothing short. */
export function briefOf(data: Readonly<Record<string, unknown>>): string {
  const rank = (name: string): number => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return Object.entries(data)
    .flatMap(([name, value]) => {
      if (typeof value === 'number' || typeof value === 'boolean') return [{ name, value: String(value) }];
      return typeof value === 'string' && value.length <= MAX_VALUE ? [{ name, value }] : [];
    })
    .toSorted((a, b) => rank(a.name) - rank(b.name))
    .slice(0, MAX_VALUES)
    .map(({ name, value }) => (FIRST.includes(name) ? value : `${name}=${value}`))
    .join('  ');
}

import type { History } from '../../server/appliance/contract.ts';

const HOUR_MS = 3_600_000;

/** What a chart shows: times in s since the epoch, as its axis takes them, and a value for each. */
export interface Series {
  readonly times: readonly number[];
  readonly values: readonly number[];
}

/** A row of hourly values as a series, `perPoint` hours to a point: summed, or the largest of them. */
export function seriesOf(startsAt: number, hourly: readonly number[], perPoint: number, join: 'sum' | 'max'): Series {
  const times: number[] = [];
  const values: number[] = [];
  // Whole points from the end, so that the present one is not the one that is cut short.
  for (let end = hourly.length; end > 0; end -= perPoint) {
    const from = Math.max(0, end - perPoint);
    const part = hourly.slice(from, end);
    times.unshift((startsAt + from * HOUR_MS) / 1000);
    values.unshift(join === 'sum' ? part.reduce((sum, value) => sum + value, 0) : Math.max(...part));
  }
  return { times, values };
}

/** Whether there is anything to draw yet. */
export function hasHistory({ messages, activePeople }: History): boolean {
  return [...messages, ...activePeople].some((value) => value > 0);
}

import type { StreamPosition } from '../storage/types.ts';
import type { TimelineToken } from './types.ts';

// Both numbers are at most 2^53 - 1, which has 16 digits. No leading zeroes, so that every place has one spelling.
const NUMBER = '(0|[1-9][0-9]{0,15})';
const STREAM = new RegExp(`^s${NUMBER}$`);
const TOPOLOGICAL = new RegExp(`^t${NUMBER}-${NUMBER}$`);

/** The token as clients see it: `s<position>` or `t<depth>-<position>`. */
export function formatTimelineToken(token: TimelineToken): string {
  return token.order === 'stream' ? `s${token.position}` : `t${token.depth}-${token.position}`;
}

/** The place a client's token names; undefined for what `formatTimelineToken` never wrote. */
export function parseTimelineToken(text: string): TimelineToken | undefined {
  const stream = STREAM.exec(text);
  if (stream !== null) {
    const position = toNumber(stream[1]);
    return position === undefined ? undefined : { order: 'stream', position: position as StreamPosition };
  }
  const [, depthText, positionText] = TOPOLOGICAL.exec(text) ?? [];
  const depth = toNumber(depthText);
  const position = toNumber(positionText);
  if (depth === undefined || position === undefined) return undefined;
  return { order: 'topological', depth, position: position as StreamPosition };
}

function toNumber(digits: string | undefined): number | undefined {
  const number = digits === undefined ? Number.NaN : Number(digits);
  return Number.isSafeInteger(number) ? number : undefined;
}

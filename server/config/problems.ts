/** One thing wrong in the configuration, as precisely placed as can be. */
export interface Problem {
  readonly file: string;
  /** From 1; undefined for what is wrong with the file as a whole, or lacking from it. */
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** `rc_login.address.per_second`; empty for the file itself. */
  readonly option: string;
  readonly message: string;
}

/** The configuration cannot be used. Its message has one line for each problem. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const sorted = [...problems].sort(
      (a, b) => a.file.localeCompare(b.file) || (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
    );
    super(sorted.map(formatProblem).join('\n'));
    this.name = 'ConfigError';
    this.problems = sorted;
  }
}

/** `homeserver.yaml:12:5: rc_message.per_second: expected a number, found text`. */
export function formatProblem({ file, line, column, option, message }: Problem): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  return option === '' ? `${place}: ${message}` : `${place}: ${option}: ${message}`;
}

/**
 * The one of `names` most like `name`, or undefined where none is close: at most a third of the letters, and no more
 * than three, may be wrong, lacking or too many.
 */
export function findSimilar(name: string, names: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Damerau's optimal string alignment distance: letters replaced, added, dropped, or two neighbours swapped. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(at(last, column) + 1, at(current, column - 1) + 1, at(last, column - 1) + (same ? 0 : 1));
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, at(beforeLast, column - 2) + 1);
      }
      current.push(cost);
    }
    [beforeLast, last] = [last, current];
  }
  return at(last, b.length);
}

function at(numbers: readonly number[], index: number): number {
  return numbers[index] ?? Number.POSITIVE_INFINITY;
}

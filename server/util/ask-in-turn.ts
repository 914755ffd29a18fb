import type { Clock } from './clock.ts';

/**
 * Asks several one after the other, the next one as soon as one has failed, was not good enough or has taken longer than
 * `patienceMs`, and gives the answers as they come. Whoever has heard enough stops, which aborts the questions that are still under way.
 * Failures are told to `onFailure`.
 */
export async function* askInTurn<Whom, Answer>(
  whom: readonly Whom[],
  ask: (one: Whom, signal: AbortSignal) => Promise<Answer>,
  options: {
    readonly clock: Clock;
    readonly patienceMs: number;
    readonly signal: AbortSignal;
    readonly onFailure: (one: Whom, error: unknown) => void;
  },
): AsyncGenerator<{ readonly whom: Whom; readonly answer: Answer }, void, undefined> {
  const { clock, patienceMs, signal, onFailure } = options;
  const enough = new AbortController();
  const stopped = AbortSignal.any([signal, enough.signal]);
  const pending = new Set<Promise<() => { whom: Whom; answer: Answer } | undefined>>();
  const begin = (one: Whom): void => {
    const asked: Promise<() => { whom: Whom; answer: Answer } | undefined> = ask(one, stopped).then(
      (answer) => () => {
        pending.delete(asked);
        return { whom: one, answer };
      },
      (error: unknown) => () => {
        pending.delete(asked);
        if (!stopped.aborted) onFailure(one, error);
        return undefined;
      },
    );
    pending.add(asked);
  };
  try {
    const left = [...whom];
    for (;;) {
      signal.throwIfAborted();
      const next = left.shift();
      if (next !== undefined) begin(next);
      else if (pending.size === 0) return;
      const pause = left.length === 0 ? undefined : pauseFor(clock, patienceMs);
      const first = await Promise.race(pause === undefined ? pending : [...pending, pause.over]);
      pause?.cancel();
      const answered = first?.();
      if (answered !== undefined) yield answered;
    }
  } finally {
    enough.abort();
  }
}

function pauseFor(clock: Clock, ms: number): { readonly over: Promise<undefined>; cancel(): void } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = clock.after(ms, () => resolve(undefined));
  return { over: promise, cancel: () => timer.cancel() };
}

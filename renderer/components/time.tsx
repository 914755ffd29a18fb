import { type ReactNode, useSyncExternalStore } from 'react';
import { formatAgo, formatMoment } from '../models/format.ts';
import { Store } from '../models/store.ts';

const TICK_MS = 15_000;
const now = new Store(Date.now());
let watching = 0;
let timer: ReturnType<typeof setInterval> | undefined;

function watch(watcher: () => void): () => void {
  if (watching === 0) {
    now.set(Date.now());
    timer = setInterval(() => now.set(Date.now()), TICK_MS);
  }
  watching += 1;
  const end = now.subscribe(watcher);
  return () => {
    end();
    watching -= 1;
    if (watching === 0) clearInterval(timer);
  };
}

/** The time, a few times a minute. */
export function useNow(): number {
  return useSyncExternalStore(watch, now.get);
}

/** When something was or will be, as far from now; the exact moment when it is pointed at. */
export function Ago({ at, none = '–' }: { at: number | undefined; none?: string }): ReactNode {
  const time = useNow();
  if (at === undefined) return <span className="muted">{none}</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={formatMoment(at)}>
      {formatAgo(at, time)}
    </time>
  );
}

import { PassThrough, type Readable } from 'node:stream';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Announcer } from '../announcer.ts';
import type { ServerSentEvent } from '../contract.ts';

/** A line that means nothing, so that whoever listens knows the connection is alive. */
const PULSE_MS = 20_000;
/** Bytes that may wait for a listener who does not read; then it is let go, and will ask anew. */
const MAX_WAITING = 256 * 1024;
/** What moves many times in this time (ms) is told of at its beginning and at its end. */
const SETTLE_MS = 250;

interface StreamParts {
  readonly announcer: Pick<Announcer, 'subscribe'>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Whether the listener may still hear what is told. */
  readonly isWelcome: () => boolean;
}

/** Server-sent events (WHATWG HTML, section 9.2) of what moves, from now on, until `signal` ends it or nobody may listen. */
export function eventStream({ announcer, clock, signal, isWelcome }: StreamParts): Readable {
  const stream = new PassThrough({ highWaterMark: MAX_WAITING });
  let pulse: Timer | undefined;
  let isOver = false;
  /** Topics that were told of just now, and whether they have moved since. */
  const settling = new Map<string, { timer: Timer; hasMoved: boolean }>();
  const write = (text: string): void => {
    if (isOver) return;
    if (!isWelcome() || !stream.write(text)) end();
  };
  const beat = (): void => {
    write(':\n\n');
    if (!isOver) pulse = clock.after(PULSE_MS, beat);
  };
  const tell = (event: ServerSentEvent): void => write(`data: ${JSON.stringify(event)}\n\n`);
  const settle = (event: ServerSentEvent): void => {
    const isNews = settling.get(event.topic)?.hasMoved === true;
    settling.delete(event.topic);
    if (isNews) tellOnce(event);
  };
  const tellOnce = (event: ServerSentEvent): void => {
    const known = settling.get(event.topic);
    if (known !== undefined) {
      known.hasMoved = true;
      return;
    }
    tell(event);
    if (!isOver) settling.set(event.topic, { timer: clock.after(SETTLE_MS, () => settle(event)), hasMoved: false });
  };
  // Jobs are told of at most a few times a second as it is, and each of their words counts.
  const subscription = announcer.subscribe((event) => (event.topic === 'job' ? tell(event) : tellOnce(event)));
  // Ended, not destroyed: of that, the response it is piped to would learn nothing.
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    subscription.unsubscribe();
    pulse?.cancel();
    for (const { timer } of settling.values()) timer.cancel();
    settling.clear();
    signal.removeEventListener('abort', end);
    stream.end();
  };
  signal.addEventListener('abort', end, { once: true });
  stream.once('close', end);
  if (signal.aborted) end();
  beat();
  return stream;
}

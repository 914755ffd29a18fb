import { PassThrough, type Readable } from 'node:stream';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Announcer } from '../announcer.ts';

/** A line that means nothing, so that whoever listens knows the connection is alive. */
const PULSE_MS = 20_000;
/** Bytes that may wait for a listener who does not read; then it is let go, and will ask anew. */
const MAX_WAITING = 256 * 1024;

/** Server-sent events (WHATWG HTML, section 9.2) of what moves, from now on, until `signal` ends it. */
export function eventStream(announcer: Announcer, clock: Clock, signal: AbortSignal): Readable {
  const stream = new PassThrough({ highWaterMark: MAX_WAITING });
  let pulse: Timer | undefined;
  const write = (text: string): void => {
    if (!stream.write(text)) stream.destroy();
  };
  const beat = (): void => {
    write(':\n\n');
    pulse = clock.after(PULSE_MS, beat);
  };
  const subscription = announcer.subscribe((event) => write(`data: ${JSON.stringify(event)}\n\n`));
  const end = (): void => void stream.destroy();
  signal.addEventListener('abort', end, { once: true });
  stream.once('close', () => {
    subscription.unsubscribe();
    pulse?.cancel();
    signal.removeEventListener('abort', end);
  });
  beat();
  return stream;
}

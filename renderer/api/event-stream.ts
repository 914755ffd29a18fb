import type { ServerSentEvent } from '../../server/appliance/contract.ts';
import { Refusal } from './api.ts';

/** `lost` is told with the time (ms) at which it was. */
export type Connection = { readonly kind: 'connecting' | 'open' } | { readonly kind: 'lost'; readonly since: number };

/** A pulse comes every 20 s: a stream that is silent for longer than this is dead. */
const SILENCE_MS = 50_000;
const WAIT = { firstMs: 400, longestMs: 10_000 };

interface FollowParts {
  readonly open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>;
  readonly onEvent: (event: ServerSentEvent) => void;
  readonly onConnection: (connection: Connection) => void;
  readonly signal: AbortSignal;
}

/** Follows the event stream until `signal` ends it or there is no session for it any more; what is lost is opened again. */
export async function followEvents({ open, onEvent, onConnection, signal }: FollowParts): Promise<void> {
  let failures = 0;
  let lostAt: number | undefined;
  onConnection({ kind: 'connecting' });
  while (!signal.aborted) {
    const attempt = new AbortController();
    const watchdog = new Watchdog(() => attempt.abort());
    try {
      const body = await open(AbortSignal.any([signal, attempt.signal]));
      failures = 0;
      lostAt = undefined;
      onConnection({ kind: 'open' });
      for await (const event of readEvents(body, () => watchdog.feed())) onEvent(event);
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) return;
    } finally {
      watchdog.end();
      attempt.abort();
    }
    if (signal.aborted) return;
    lostAt ??= Date.now();
    onConnection({ kind: 'lost', since: lostAt });
    await pause(Math.min(WAIT.longestMs, WAIT.firstMs * 2 ** failures) * (0.75 + Math.random() / 2), signal);
    failures += 1;
  }
}

class Watchdog {
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #bark: () => void;

  constructor(bark: () => void) {
    this.#bark = bark;
    this.feed();
  }

  feed(): void {
    this.end();
    this.#timer = setTimeout(this.#bark, SILENCE_MS);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** The events of a stream (WHATWG HTML, section 9.2.6) that carry data of ours. `onBytes` is called for all that comes. */
async function* readEvents(body: ReadableStream<Uint8Array>, onBytes: () => void): AsyncGenerator<ServerSentEvent> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const data = block
          .split('\n')
          .filter((line) => line.startsWith('data:'))
          .map((line) => line.slice(5).trimStart())
          .join('\n');
        if (data !== '') yield JSON.parse(data) as ServerSentEvent;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const end = (): void => {
    clearTimeout(timer);
    resolve();
  };
  signal.addEventListener('abort', end, { once: true });
  // A machine that woke up, or a page somebody came back to, does not wait out what is left.
  addEventListener('focus', end, { once: true });
  return promise.finally(() => {
    signal.removeEventListener('abort', end);
    removeEventListener('focus', end);
  });
}

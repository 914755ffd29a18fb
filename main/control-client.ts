import type { AnswerOf, CallName, ServerSentEvent } from '../server/appliance/contract.ts';
import type { Clock, Timer } from './clock.ts';
import { isObject } from './files.ts';

export const API_PREFIX = '/_hearth/control';

interface ControlClientParts {
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  readonly token: string;
  /** Where the control API answers at the moment. */
  readonly url: () => string | undefined;
}

/** Calls without input. */
type PlainCall = 'GET /status' | 'GET /backups' | 'POST /server/pause' | 'POST /server/resume' | 'POST /server/wake';

const CALL_TIMEOUT_MS = 60_000;
const RECONNECT_MS = 1_000;

/** The shell's own way to the control API. */
export class ControlClient {
  readonly #parts: ControlClientParts;

  constructor(parts: ControlClientParts) {
    this.#parts = parts;
  }

  /** Throws where the server is not there, or refuses (with its own words). */
  async call<C extends PlainCall & CallName>(name: C): Promise<AnswerOf<C>> {
    const [method = '', path = ''] = name.split(' ');
    const response = await this.#parts.fetch(`${this.#base()}${path}`, {
      method,
      headers: this.#headers(),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    const body: unknown = await response.json();
    if (response.ok) return body as AnswerOf<C>;
    const why = isObject(body) && typeof body['error'] === 'string' ? body['error'] : `status ${response.status}`;
    throw new Error(`${name}: ${why}`);
  }

  /** Calls `listener` for what the server tells, and `opened` whenever a stream begins, until the signal. */
  follow({ signal, opened, listener }: Follow): void {
    let timer: Timer | undefined;
    signal.addEventListener('abort', () => timer?.cancel(), { once: true });
    const again = (): void => {
      if (!signal.aborted) timer = this.#parts.clock.after(RECONNECT_MS, begin);
    };
    // A stream that breaks off is nothing to tell: the server was stopped, or will be missed by whoever watches it.
    const begin = (): void => void this.#read({ signal, opened, listener }).then(again, again);
    begin();
  }

  async #read({ signal, opened, listener }: Follow): Promise<void> {
    const response = await this.#parts.fetch(`${this.#base()}/events`, { headers: this.#headers(), signal });
    if (!response.ok || response.body === null) throw new Error(`no events: status ${response.status}`);
    opened();
    const decoder = new TextDecoder();
    let rest = '';
    for await (const piece of response.body) {
      rest += decoder.decode(piece, { stream: true });
      const events = rest.split('\n\n');
      rest = events.pop() ?? '';
      for (const text of events) {
        const data = text.startsWith('data: ') ? JSON.parse(text.slice('data: '.length)) : undefined;
        if (isObject(data)) listener(data as unknown as ServerSentEvent);
      }
    }
  }

  #base(): string {
    const url = this.#parts.url();
    if (url === undefined) throw new Error('the server does not run');
    return `${url}${API_PREFIX}`;
  }

  #headers(): Record<string, string> {
    return { authorization: `Bearer ${this.#parts.token}` };
  }
}

interface Follow {
  readonly signal: AbortSignal;
  readonly opened: () => void;
  readonly listener: (event: ServerSentEvent) => void;
}

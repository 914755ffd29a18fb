import type { AnswerOf, BodyOf, CallName, ControlError, QueryOf } from '../../server/appliance/contract.ts';
import type { Store } from '../models/store.ts';
import { text } from '../strings/text.ts';
import type { SessionState } from './session.ts';

const PREFIX = '/_hearth/control';

/** The names in braces of a path. */
type NamesIn<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}` ? Name | NamesIn<Rest> : never;

/** What a call takes: the parts of its path, its query and its body, as the contract has them. */
export type InputOf<C extends CallName> = ([NamesIn<C>] extends [never]
  ? { readonly params?: undefined }
  : { readonly params: Readonly<Record<NamesIn<C>, string>> }) &
  (BodyOf<C> extends undefined ? { readonly body?: undefined } : { readonly body: BodyOf<C> }) &
  (QueryOf<C> extends undefined ? { readonly query?: undefined } : { readonly query?: QueryOf<C> });

/** A call that takes nothing may be made without an input. */
export type InputArgs<C extends CallName> =
  object extends InputOf<C> ? [input?: InputOf<C> | undefined] : [input: InputOf<C>];

/** Hearth refused a call: `message` is for the person, `field` names the input at fault. */
export class Refusal extends Error {
  readonly status: number;
  readonly errcode: string;
  readonly field: string | undefined;

  constructor(status: number, { errcode, error, field }: ControlError) {
    super(error);
    this.name = 'Refusal';
    this.status = status;
    this.errcode = errcode;
    this.field = field;
  }
}

/** There was no answer at all. */
export class Unreachable extends Error {
  constructor(cause: unknown) {
    super('Hearth does not answer', { cause });
    this.name = 'Unreachable';
  }
}

export type Failure = Refusal | Unreachable;

interface ApiParts {
  readonly session: Store<SessionState>;
  readonly send: (path: string, init: RequestInit) => Promise<Response>;
}

/** The control API. A call that is refused for want of a session ends the session. */
export class Api {
  readonly #parts: ApiParts;

  constructor(parts: ApiParts) {
    this.#parts = parts;
  }

  /** Throws Refusal, Unreachable. */
  async call<C extends CallName>(name: C, ...[input]: InputArgs<C>): Promise<AnswerOf<C>> {
    const response = await this.#send(name, (input ?? {}) as LooseInput);
    try {
      return (await response.json()) as AnswerOf<C>;
    } catch (error) {
      // Cut off on its way, or no answer of Hearth's at all.
      throw error instanceof SyntaxError
        ? new Refusal(response.status, strange(response.status))
        : new Unreachable(error);
    }
  }

  /** The event stream, as bytes, until `signal` ends it. Throws Refusal, Unreachable. */
  async events(signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#request('GET', '/events', { signal });
    if (response.body === null) throw new Unreachable('an event stream without a body');
    return response.body;
  }

  #send(name: CallName, { params = {}, query = {}, body }: LooseInput): Promise<Response> {
    const [method = '', template = ''] = name.split(' ');
    const path = template.replaceAll(/\{(\w+)\}/g, (_all, key: string) => encodeURIComponent(params[key] ?? ''));
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
    const content =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    return this.#request(method, search.size === 0 ? path : `${path}?${search}`, content);
  }

  async #request(method: string, path: string, init: RequestInit): Promise<Response> {
    const { session, send } = this.#parts;
    const before = session.get();
    const token = before.kind === 'open' ? before.token : undefined;
    const headers = new Headers(init.headers);
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    const response = await send(`${PREFIX}${path}`, { ...init, method, headers, cache: 'no-store' }).catch(
      (error: unknown) => {
        throw new Unreachable(error);
      },
    );
    if (response.ok) return response;
    const refusal = new Refusal(response.status, await readRefusal(response));
    // A call that was under way when somebody signed in anew must not end the new session.
    if (response.status === 401 && session.get() === before) session.set({ kind: 'closed', ended: true });
    throw refusal;
  }
}

interface LooseInput {
  readonly params?: Readonly<Record<string, string>> | undefined;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly body?: unknown;
}

async function readRefusal(response: Response): Promise<ControlError> {
  try {
    const body: unknown = await response.json();
    if (typeof body === 'object' && body !== null && 'error' in body && typeof body.error === 'string') {
      const field = 'field' in body && typeof body.field === 'string' ? { field: body.field } : {};
      return { errcode: 'errcode' in body ? String(body.errcode) : 'M_UNKNOWN', error: body.error, ...field };
    }
  } catch {
    // What is no JSON was not said by Hearth; the status is all there is to tell.
  }
  return strange(response.status);
}

function strange(status: number): ControlError {
  return { errcode: 'M_UNKNOWN', error: text('common.strange-answer', { status }) };
}

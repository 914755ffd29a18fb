import assert from 'node:assert/strict';

/** JSON as it came over the wire; tests look into it freely. */
// oxlint-disable-next-line typescript/no-explicit-any -- an answer's shape is what the test is about to assert
export type Json = any;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Json;
}

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Where a client speaks to: a running server may change its address when it is restarted. */
export interface Address {
  readonly baseUrl: string;
}

/** A person's client: speaks to one server with one access token, and knows the few requests every story needs. */
export class TestClient {
  readonly #server: Address;
  readonly token: string | undefined;
  readonly userId: string;
  readonly deviceId: string;
  #transactions = 0;

  constructor(server: Address, who: { token?: string; userId?: string; deviceId?: string } = {}) {
    this.#server = server;
    this.token = who.token;
    this.userId = who.userId ?? '';
    this.deviceId = who.deviceId ?? '';
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const url = new URL(path, this.#server.baseUrl);
    for (const [name, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const response = await fetch(url, {
      method,
      headers: {
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(options.body === undefined
        ? {}
        : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const text = await response.text();
    const isJson = (response.headers.get('content-type') ?? '').startsWith('application/json');
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }

  get(path: string, query?: RequestOptions['query']): Promise<Answer> {
    return this.request('GET', path, query === undefined ? {} : { query });
  }
  put(path: string, body: unknown = {}, query?: RequestOptions['query']): Promise<Answer> {
    return this.request('PUT', path, { body, ...(query === undefined ? {} : { query }) });
  }
  post(path: string, body: unknown = {}, query?: RequestOptions['query']): Promise<Answer> {
    return this.request('POST', path, { body, ...(query === undefined ? {} : { query }) });
  }
  delete(path: string, body?: unknown): Promise<Answer> {
    return this.request('DELETE', path, body === undefined ? {} : { body });
  }

  /** Makes a room and gives its ID. */
  async createRoom(options: Json = {}): Promise<string> {
    return expectOk(await this.post('/_matrix/client/v3/createRoom', options)).room_id;
  }

  /** Sends an event (a text message if a string is given) and gives its ID. */
  async send(roomId: string, content: Json, type = 'm.room.message'): Promise<string> {
    this.#transactions += 1;
    const body = typeof content === 'string' ? { msgtype: 'm.text', body: content } : content;
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/${encodeURIComponent(type)}/t${this.#transactions}`;
    return expectOk(await this.put(path, body)).event_id;
  }

  async setState(roomId: string, type: string, content: Json, stateKey = ''): Promise<string> {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state/${encodeURIComponent(type)}/${encodeURIComponent(stateKey)}`;
    return expectOk(await this.put(path, content)).event_id;
  }

  async join(roomIdOrAlias: string): Promise<string> {
    return expectOk(await this.post(`/_matrix/client/v3/join/${encodeURIComponent(roomIdOrAlias)}`)).room_id;
  }
  async invite(roomId: string, userId: string): Promise<void> {
    expectOk(await this.post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: userId }));
  }
  async leave(roomId: string): Promise<void> {
    expectOk(await this.post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/leave`));
  }

  /** One /sync; a filter may be given as an object. */
  async sync(
    options: { since?: string; timeout?: number; filter?: Json; fullState?: boolean; signal?: AbortSignal } = {},
  ): Promise<Json> {
    const answer = await this.request('GET', '/_matrix/client/v3/sync', {
      query: {
        since: options.since,
        timeout: options.timeout ?? 0,
        filter: options.filter === undefined ? undefined : JSON.stringify(options.filter),
        full_state: options.fullState,
      },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return expectOk(answer);
  }
}

/** The body of an answer that must be a success. */
export function expectOk(answer: Answer): Json {
  assert.equal(answer.status, 200, `expected success, got ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** Asserts a refusal: its HTTP status and the spec's error code. */
export function expectError(answer: Answer, status: number, errcode: string): Json {
  assert.deepEqual(
    { status: answer.status, errcode: answer.body?.errcode },
    { status, errcode },
    `expected ${status} ${errcode}, got ${answer.status}: ${JSON.stringify(answer.body)}`,
  );
  return answer.body;
}

import assert from 'node:assert/strict';
import {
  type Answer,
  expectError,
  expectOk,
  type Json,
  type RequestOptions,
  type TestClient,
} from '../kit/test-client.ts';

type Values = Readonly<Record<string, string>>;
type Asked = Pick<RequestOptions, 'query' | 'body' | 'headers'> & { readonly at?: Values };

/** Asks for operations as the specification writes them, and keeps which of them succeeded and which were refused. */
export class Exercise {
  readonly succeeded = new Set<string>();
  readonly refused = new Set<string>();
  readonly #usual: Record<string, string> = {};

  /** What stands in the place of the parameters of a path unless a request says otherwise. */
  usually(values: Values): void {
    Object.assign(this.#usual, values);
  }

  /** Asks for what has to succeed, with at least the keys `has` in the answer; gives the answer's body. */
  async ok(who: TestClient, operation: string, asked: Asked = {}, has: readonly string[] = []): Promise<Json> {
    const body = expectOk(await this.#ask(who, operation, asked));
    for (const key of has) assert.ok(Object.hasOwn(body, key), `${operation} answers with ${key}`);
    this.succeeded.add(operation);
    return body;
  }

  /** Asks for what has to be refused. */
  async no(who: TestClient, operation: string, asked: Asked, status: number, errcode: string): Promise<Json> {
    const body = expectError(await this.#ask(who, operation, asked), status, errcode);
    assert.equal(typeof body.error, 'string');
    this.refused.add(operation);
    return body;
  }

  /** Asks for something whose answer the test looks at itself. */
  async raw(who: TestClient, operation: string, status: number, asked: Asked = {}): Promise<Answer> {
    const answer = await this.#ask(who, operation, asked);
    assert.equal(answer.status, status, `${operation}: ${JSON.stringify(answer.body)}`);
    (status < 400 ? this.succeeded : this.refused).add(operation);
    return answer;
  }

  #ask(who: TestClient, operation: string, { at = {}, body: given, ...options }: Asked): Promise<Answer> {
    const [method = '', template = ''] = operation.split(' ');
    const path = template.replaceAll(/:(\w+)/g, (_, name: string) => {
      const value = at[name] ?? this.#usual[name];
      assert.ok(value !== undefined, `${operation} needs ${name}`);
      return encodeURIComponent(value);
    });
    const body = method === 'POST' || method === 'PUT' ? { body: given ?? {} } : {};
    return who.request(method, path, { ...options, ...body });
  }
}

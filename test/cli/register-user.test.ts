import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { isJsonObject, type JsonObject } from '../../server/matrix/json.ts';
import { tempDir } from '../config/files.ts';
import { hearth } from './processes.ts';

interface Registrar {
  readonly url: string;
  readonly port: number;
  /** The accounts asked for so far. */
  readonly requests: JsonObject[];
}

/** A server whose only API is registration with the shared secret "s3cret"; the name "taken" is taken. */
async function startRegistrar(t: TestContext): Promise<Registrar> {
  const requests: JsonObject[] = [];
  const server = createServer((request, response) => {
    respond(request).then(
      ([status, body]) => response.writeHead(status).end(JSON.stringify(body)),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  const respond = async (request: IncomingMessage): Promise<readonly [status: number, body: JsonObject]> => {
    if (request.method === 'GET') return [200, { nonce: 'once' }];
    const body = await json(request);
    assert.ok(isJsonObject(body));
    requests.push(body);
    const { nonce, username, password, admin, user_type: type, mac } = body;
    const parts = [nonce, username, password, admin === true ? 'admin' : 'notadmin', type];
    const signed = parts.filter((part) => typeof part === 'string').join('\0');
    const expected = createHmac('sha1', 's3cret').update(signed).digest('hex');
    if (mac !== expected) return [403, { errcode: 'M_FORBIDDEN', error: 'HMAC incorrect' }];
    if (username === 'taken') return [400, { errcode: 'M_USER_IN_USE', error: 'User ID already taken' }];
    return [200, { user_id: typeof username === 'string' ? `@${username}:home.example` : null }];
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { url: `http://127.0.0.1:${address.port}`, port: address.port, requests };
}

test('an account is created with the shared secret', async (t) => {
  const { url, requests } = await startRegistrar(t);
  const flags = ['-u', 'ada', '-p', 'wordpass', '-k', 's3cret', '-t', 'bot', '--no-admin'];
  const { code, out, err } = await hearth(t, ['register-user', ...flags, url]);
  assert.equal(code, 0, err);
  assert.equal(out, 'Created @ada:home.example\n');
  assert.equal(requests.length, 1);
  assert.equal(requests[0]?.['user_type'], 'bot');
  assert.equal(requests[0]?.['admin'], false);
});

test('what is not given is asked for, and the password is not shown', async (t) => {
  const { url, requests } = await startRegistrar(t);
  const { code, out, err } = await hearth(t, ['register-user', '-k', 's3cret', url], {
    input: 'grace\nyes\nwordpass\nwordpass\n',
  });
  assert.equal(code, 0, err);
  assert.equal(out, 'Created @grace:home.example\n');
  assert.doesNotMatch(err, /wordpass/);
  assert.equal(requests[0]?.['admin'], true);
  assert.equal(requests[0]?.['password'], 'wordpass');
});

test('a configuration tells the secret and where the server is', async (t) => {
  const { port } = await startRegistrar(t);
  const directory = tempDir(t);
  const file = join(directory, 'homeserver.yaml');
  writeFileSync(
    file,
    `server_name: home.example
registration_shared_secret: s3cret
listeners:
  - {port: 1, tls: false, resources: [{names: [federation]}]}
  - {port: ${port}, bind_addresses: [127.0.0.1], resources: [{names: [client]}]}
`,
  );
  const password = join(directory, 'password');
  writeFileSync(password, 'wordpass\n');
  const flags = ['-u', 'ada', '--password-file', password, '-a'];
  const { code, out, err } = await hearth(t, ['register-user', ...flags, '-c', file]);
  assert.equal(code, 0, err);
  assert.equal(out, 'Created @ada:home.example\n');
});

test('a name that is taken is a mistake, unless that is all right', async (t) => {
  const { url } = await startRegistrar(t);
  const flags = ['-u', 'taken', '-p', 'wordpass', '-k', 's3cret', '--no-admin', url];
  const refused = await hearth(t, ['register-user', ...flags]);
  assert.equal(refused.code, 1);
  assert.equal(refused.err, 'User ID already taken\n');
  const accepted = await hearth(t, ['register-user', '--exists-ok', ...flags]);
  assert.equal(accepted.code, 0);
  assert.match(accepted.out, /taken already/);
});

test('a wrong secret, or no server, is explained in one line', async (t) => {
  const { url } = await startRegistrar(t);
  const account = ['-u', 'ada', '-p', 'wordpass', '--no-admin'];
  const wrong = await hearth(t, ['register-user', ...account, '-k', 'guess', url]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /^\S+ refuses: M_FORBIDDEN: HMAC incorrect\n$/);
  const gone = createServer();
  gone.listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const address = gone.address();
  assert.ok(address !== null && typeof address === 'object');
  gone.close();
  const nobody = await hearth(t, ['register-user', ...account, '-k', 'x', `http://127.0.0.1:${address.port}`]);
  assert.equal(nobody.code, 1);
  assert.match(nobody.err, /^No answer from .*: no server is running there\n$/);
});

test('without a secret nobody is asked for a password', async (t) => {
  const file = join(tempDir(t), 'homeserver.yaml');
  writeFileSync(file, 'server_name: home.example\n');
  const { code, err } = await hearth(t, ['register-user', '-c', file], { input: '' });
  assert.equal(code, 1);
  assert.match(err, /has no registration_shared_secret\n$/);
});

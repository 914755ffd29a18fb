import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import { expectError, expectOk, type Json } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { ADD, SECRET } from './mail-house.ts';

const REGISTER = '/_matrix/client/v3/register';
const SUBMIT = '/_matrix/client/unstable/add_threepid/msisdn/submit_token';
const CODE = '123456';

/** The server that sends text messages: each session is of one number, and validated by the code. */
async function startTextService(): Promise<AsyncDisposable & { url: string; asked: Json[] }> {
  const asked: Json[] = [];
  const sessions = new Map<string, { number: string; secret: string; valid: boolean }>();
  const service = createServer((request, response) => {
    void readText(request).then((text) => {
      const url = new URL(request.url ?? '/', 'http://text.example');
      const body = text === '' ? {} : JSON.parse(text);
      const answer = (status: number, json: Json): void => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
      };
      const operation = url.pathname.replace('/_matrix/identity/api/v1/', '');
      if (operation === 'validate/msisdn/requestToken') {
        asked.push(body);
        if (body.phone_number === 'no number') return answer(400, { errcode: 'M_INVALID_PARAM', error: 'No number' });
        const sid = `s${sessions.size}`;
        const number = `44${body.phone_number.replace(/^(?:0|\+44)/, '')}`;
        sessions.set(sid, { number, secret: body.client_secret, valid: false });
        return answer(200, { sid });
      }
      const sid = body.sid ?? url.searchParams.get('sid');
      const session = sessions.get(sid);
      if (operation === 'validate/msisdn/submitToken') {
        if (session !== undefined && body.token === CODE) session.valid = true;
        return answer(200, { success: session?.valid === true });
      }
      const isProved = session?.valid === true && session.secret === url.searchParams.get('client_secret');
      if (!isProved) return answer(404, { errcode: 'M_NO_VALID_SESSION', error: 'No' });
      return answer(200, { medium: 'msisdn', address: session.number, validated_at: 1_000 });
    });
  });
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(service.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      service.closeAllConnections();
      await new Promise((resolve) => service.close(resolve));
    },
  };
}

const request = (phone: string): Json => ({
  client_secret: SECRET,
  country: 'GB',
  phone_number: phone,
  send_attempt: 1,
});

test('Ann adds her telephone number by way of a server that sends text messages', async () => {
  await using service = await startTextService();
  await using server = await TestServer.start({ config: { account_threepid_delegates: { msisdn: service.url } } });
  const ann = await server.register('ann');
  const asked = expectOk(await server.anonymous().post(`${ADD}/msisdn/requestToken`, request('07700900001')));
  assert.match(asked.submit_url, /^https:\/\/hearth\.test\/_matrix\/client\/unstable\/add_threepid\/msisdn/);
  assert.deepEqual(service.asked[0], request('07700900001'));
  const creds = { sid: asked.sid, client_secret: SECRET };
  const add = () => ann.post(ADD, { three_pid_creds: creds });
  expectError(await add(), 400, 'M_THREEPID_AUTH_FAILED');
  const submit = (token: string) => server.anonymous().post(SUBMIT, { ...creds, token });
  assert.deepEqual(expectOk(await submit('wrong')), { success: false });
  assert.deepEqual(expectOk(await submit(CODE)), { success: true });
  expectOk(await add());
  const { threepids } = expectOk(await ann.get(ADD));
  assert.deepEqual([threepids[0].medium, threepids[0].address], ['msisdn', '447700900001']);
  expectError(
    await server.anonymous().post(`${ADD}/msisdn/requestToken`, request('+447700900001')),
    400,
    'M_THREEPID_IN_USE',
  );
  const identifier = { type: 'm.id.phone', country: 'GB', phone: '+44 7700 900001' };
  expectOk(
    await server.anonymous().post('/_matrix/client/v3/login', {
      type: 'm.login.password',
      identifier,
      password: 'password of ann',
    }),
  );
});

test('people register with a telephone number where it is wanted, and one number makes one account', async () => {
  await using service = await startTextService();
  await using server = await TestServer.start({
    config: {
      account_threepid_delegates: { msisdn: service.url },
      enable_registration_without_verification: false,
      registrations_require_3pid: ['msisdn'],
    },
  });
  const register = async (username: string): Promise<Json> => {
    const order = { username, password: 'secret enough' };
    const begun = await server.anonymous().post(REGISTER, order);
    assert.deepEqual(begun.body.flows, [{ stages: ['m.login.msisdn'] }]);
    const { sid } = expectOk(await server.anonymous().post(`${REGISTER}/msisdn/requestToken`, request('07700900001')));
    expectOk(await server.anonymous().post(SUBMIT, { sid, client_secret: SECRET, token: CODE }));
    const auth = {
      type: 'm.login.msisdn',
      session: begun.body.session,
      threepid_creds: { sid, client_secret: SECRET },
    };
    return server.anonymous().post(REGISTER, { ...order, auth });
  };
  expectOk(await register('ann'));
  expectError(await register('bob'), 400, 'M_THREEPID_IN_USE');
});

test('what the other server refuses, or when it is gone, the client hears', async () => {
  await using service = await startTextService();
  await using server = await TestServer.start({ config: { account_threepid_delegates: { msisdn: service.url } } });
  const ask = () => server.anonymous().post(`${ADD}/msisdn/requestToken`, request('no number'));
  expectError(await ask(), 400, 'M_INVALID_PARAM');
  await service[Symbol.asyncDispose]();
  expectError(await ask(), 502, 'M_UNKNOWN');
});

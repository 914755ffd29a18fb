import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk } from '../kit/test-client.ts';
import { House } from './accounts-server.ts';

const path = (user: string): string => `/_matrix/client/v3/user/${encodeURIComponent(user)}/openid/request_token`;

test('a token tells another service who Ann is, for an hour', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  const { access_token: token, ...rest } = expectOk(await ann.post(path(ann.userId)));
  assert.deepEqual(rest, { token_type: 'Bearer', matrix_server_name: 'home.example', expires_in: 3_600 });
  const ask = (access_token?: string): Promise<Answer> =>
    house.client().get('/_matrix/federation/v1/openid/userinfo', { access_token });
  assert.deepEqual(expectOk(await ask(token)), { sub: '@ann:home.example' });
  expectError(await ask('nonsense'), 401, 'M_UNKNOWN_TOKEN');
  expectError(await ask(), 401, 'M_MISSING_TOKEN');
  expectError(
    await house.client({ access_token: token }).get('/_matrix/client/v3/account/whoami'),
    401,
    'M_UNKNOWN_TOKEN',
  );
  await house.restart();
  assert.deepEqual(expectOk(await ask(token)), { sub: '@ann:home.example' });
  await house.clock.advance(3_600_000);
  expectError(await ask(token), 401, 'M_UNKNOWN_TOKEN');
});

test('nobody gets a token for somebody else, or too many', async (t) => {
  const house = await House.open(t);
  const ann = await house.register('ann');
  expectError(await ann.post(path('@bob:home.example')), 403, 'M_FORBIDDEN');
  expectError(await ann.post(path('bob')), 400, 'M_INVALID_PARAM');
  for (let n = 0; n < 5; n += 1) expectOk(await ann.post(path(ann.userId)));
  expectError(await ann.post(path(ann.userId)), 429, 'M_LIMIT_EXCEEDED');
});

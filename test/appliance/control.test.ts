import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestAppliance } from './appliance-kit.ts';

test('a link opens the interface once; what it gives is good until it is given back', async () => {
  await using house = await TestAppliance.start();
  const link = house.appliance.createLink();
  const nobody = { authorization: '' };
  assert.equal((await house.ask('GET /jobs', {}, nobody)).status, 401);
  const opened = await house.ask('POST /session', { body: { link } }, nobody);
  assert.equal(opened.status, 200);
  const { token } = opened.body as { token: string };
  const own = { authorization: `Bearer ${token}` };
  assert.deepEqual((await house.ask('GET /jobs', {}, own)).body, { jobs: [] });
  assert.equal((await house.ask('POST /session', { body: { link } }, nobody)).status, 403, 'not twice');
  assert.equal((await house.ask('DELETE /session', {}, own)).status, 200);
  assert.equal((await house.ask('GET /jobs', {}, own)).status, 401);
});

test('whoever runs the server signs in with their account, and nobody else does', async () => {
  await using house = await TestAppliance.start();
  const { accounts } =
    house.appliance.keeper.state.kind === 'running' ? house.appliance.keeper.state.homeserver.ports : assert.fail();
  await accounts.createAdministrator({ username: 'nora', password: 'a quiet evening' });
  const nobody = { authorization: '' };
  const right = await house.ask('POST /session', { body: { username: 'nora', password: 'a quiet evening' } }, nobody);
  assert.equal(right.status, 200);
  for (const body of [
    { username: 'nora', password: 'a loud evening' },
    { username: 'olga', password: 'a quiet evening' },
  ]) {
    assert.equal((await house.ask('POST /session', { body }, nobody)).status, 403);
  }
});

test('pages of others are kept out, whatever they call themselves', async () => {
  await using house = await TestAppliance.start();
  const { port } = new URL(house.url);
  for (const [headers, status] of [
    [{}, 200],
    [{ origin: house.url }, 200],
    [{ host: `localhost:${port}` }, 200],
    [{ origin: 'https://example.com' }, 403],
    [{ origin: 'null' }, 403],
    [{ origin: `http://127.0.0.1:${Number(port) + 1}` }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ host: `rebound.example.com:${port}` }, 421],
    [{ host: '127.0.0.1' }, 421],
  ] as const) {
    const answer = await house.ask('GET /jobs', {}, headers);
    assert.equal(answer.status, status, JSON.stringify(headers));
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
  }
  assert.equal((await house.request('GET', '/', undefined, { host: `rebound.example.com:${port}` })).status, 421);
});

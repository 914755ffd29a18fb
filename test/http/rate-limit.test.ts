import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RateLimit } from '../../server/http/rate-limit.ts';
import { route } from '../../server/http/route.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { ask, refusal, requester, serve } from './harness.ts';

test('a client may burst, is then told when to come back, and may when it does', async (t) => {
  const clock = new ManualClock();
  const logins = new RateLimit({ perSecond: 0.4, burstCount: 2, clock });
  const path = '/_matrix/client/v3/login';
  const { origin } = await serve(t, [
    route({
      method: 'POST',
      path,
      auth: 'none',
      handle: ({ ip }) => {
        logins.check(ip);
        return {};
      },
    }),
  ]);
  const login = { method: 'POST' };
  assert.deepEqual(await refusal(origin + path, login), [200, undefined]);
  assert.deepEqual(await refusal(origin + path, login), [200, undefined]);
  const refused = await ask(origin + path, login);
  assert.equal(refused.status, 429);
  assert.deepEqual(refused.body, {
    errcode: 'M_LIMIT_EXCEEDED',
    error: 'Too many requests',
    retry_after_ms: 2500,
  });
  assert.equal(refused.headers.get('retry-after'), '3');
  assert.match(refused.headers.get('access-control-expose-headers') ?? '', /Retry-After/);
  await clock.advance(2499);
  assert.deepEqual(await refusal(origin + path, login), [429, 'M_LIMIT_EXCEEDED']);
  await clock.advance(1);
  assert.deepEqual(await refusal(origin + path, login), [200, undefined]);
});

test('keys do not share, a refusal costs nothing, and a bucket never holds more than its burst', async () => {
  const clock = new ManualClock();
  const limit = new RateLimit({ perSecond: 1, burstCount: 3, clock });
  for (let i = 0; i < 3; i += 1) assert.ok(limit.tryTake('ann'));
  for (let i = 0; i < 5; i += 1) assert.ok(!limit.tryTake('ann'));
  assert.equal(limit.peek('ann'), 1000);
  assert.ok(limit.tryTake('bob', 3));
  assert.equal(limit.peek('bob', 2), 2000);
  await clock.advance(1_000_000);
  assert.ok(limit.tryTake('ann', 3));
  assert.ok(!limit.tryTake('ann'));
  limit.reset('ann');
  assert.equal(limit.peek('ann'), 0);
});

test('what can never be taken is refused with an honest hour, not with infinity', () => {
  const clock = new ManualClock();
  const never = new RateLimit({ perSecond: 0, burstCount: 1, clock });
  never.check('ann');
  assert.equal(never.peek('ann'), 3_600_000);
  assert.equal(new RateLimit({ perSecond: 10, burstCount: 2, clock }).peek('ann', 3), 3_600_000);
  assert.throws(() => new RateLimit({ perSecond: Number.NaN, burstCount: 1, clock }), RangeError);
});

test('those whom limits spare are spared', () => {
  const limit = new RateLimit({ perSecond: 1, burstCount: 1, clock: new ManualClock() });
  const bridge = requester('@bridge:home', { rateLimited: false });
  const ann = requester('@ann:home');
  for (let i = 0; i < 10; i += 1) limit.checkFor(bridge, 'bridge');
  limit.checkFor(ann, 'ann');
  assert.throws(() => limit.checkFor(ann, 'ann'), { errcode: 'M_LIMIT_EXCEEDED' });
});

test('the keys it remembers are bounded, and the busiest is not the one forgotten', () => {
  const limit = new RateLimit({ perSecond: 0.001, burstCount: 1, clock: new ManualClock(), maxKeys: 10 });
  limit.check('busy');
  for (let i = 0; i < 100; i += 1) {
    limit.check(`passer-by ${i}`);
    assert.ok(!limit.tryTake('busy'));
  }
  assert.ok(limit.tryTake('passer-by 0'));
});

test('a limit over all routes refuses before the body is read', async (t) => {
  const path = '/_matrix/client/v3/x';
  const all = new RateLimit({ perSecond: 1, burstCount: 1, clock: new ManualClock() });
  const seen: string[] = [];
  const { origin } = await serve(t, [route({ method: 'GET', path, auth: 'optional', handle: () => ({}) })], {
    rateLimiter: ({ method, template, requester: who, ip }) => {
      seen.push(`${method} ${template} ${who?.userId ?? ''} ${ip}`);
      all.check(ip);
    },
  });
  assert.deepEqual(await refusal(`${origin}${path}?access_token=ann`), [200, undefined]);
  assert.deepEqual(await refusal(origin + path), [429, 'M_LIMIT_EXCEEDED']);
  assert.deepEqual(seen, [`GET ${path} @ann:home 127.0.0.1`, `GET ${path}  127.0.0.1`]);
});

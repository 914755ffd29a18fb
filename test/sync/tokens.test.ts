import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MatrixError } from '../../server/matrix/errors.ts';
import { expectError } from '../kit/test-client.ts';
import { alice, bob, openHousehold, syncOnce } from './household.ts';

const sync = '/_matrix/client/v3/sync';

test('garbage is not taken for a token', async (t) => {
  const client = (await openHousehold(t)).client(alice);
  for (const since of ['', 'garbage', 's', 's-1', 's1.5', 't1-1', 's1_XYZ', 's99999999999999999', 's1 ', '0', 's0x1']) {
    expectError(await client.get(sync, { since }), 400, 'M_INVALID_PARAM');
    // There an empty one means none.
    if (since === '') continue;
    expectError(await client.get('/_matrix/client/v3/events', { from: since, timeout: 0 }), 400, 'M_INVALID_PARAM');
  }
});

test('a token of another server, and one from the future, are of an unknown position', async (t) => {
  const here = await openHousehold(t);
  const there = await openHousehold(t);
  for (const home of [here, there]) home.rooms.create(alice);
  const { next_batch: foreign } = await syncOnce(there.client(alice));
  const { next_batch: own } = await syncOnce(here.client(alice));
  expectError(await here.client(alice).get(sync, { since: foreign }), 400, 'M_UNKNOWN_POS');
  const tag = own.slice(own.indexOf('_'));
  expectError(await here.client(alice).get(sync, { since: `s123456${tag}` }), 400, 'M_UNKNOWN_POS');
  assert.throws(() => here.sync.tokens.parsePlace(foreign), { errcode: 'M_UNKNOWN_POS' });
  assert.throws(() => here.sync.tokens.parsePlace('t1-123456'), { errcode: 'M_UNKNOWN_POS' });
});

test('any text is a token or is refused, never more', async (t) => {
  const { tokens } = (await openHousehold(t)).sync;
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[st]?[0-9]{0,20}[-_]?[0-9a-f]{0,9}$/));
  fc.assert(
    fc.property(text, (token) => {
      for (const parse of [() => tokens.parse(token), () => tokens.parsePlace(token)]) {
        try {
          parse();
        } catch (error) {
          assert.ok(error instanceof MatrixError && ['M_INVALID_PARAM', 'M_UNKNOWN_POS'].includes(error.errcode));
        }
      }
    }),
  );
});

test('parameters that are not what they should be are refused', async (t) => {
  const client = (await openHousehold(t)).client(bob);
  for (const query of [
    { timeout: 'soon' },
    { timeout: -1 },
    { full_state: 'maybe' },
    { set_presence: 'asleep' },
    { use_state_after: 'x' },
  ]) {
    expectError(await client.get(sync, query), 400, 'M_INVALID_PARAM');
  }
});

test('who keeps presence hears when a device asks for news, what it wants to count as, and when it has got them', async (t) => {
  const told: string[] = [];
  const home = await openHousehold(t, {
    presence: {
      beginSync: ({ userId }, asked) => {
        told.push(`${userId} asks as ${asked}`);
        return () => void told.push(`${userId} has asked`);
      },
    },
  });
  await syncOnce(home.client(alice));
  await syncOnce(home.client(bob), { set_presence: 'unavailable' });
  assert.deepEqual(told, [
    `${alice} asks as undefined`,
    `${alice} has asked`,
    `${bob} asks as unavailable`,
    `${bob} has asked`,
  ]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace } from '../../server/util/pace.ts';
import { Turns } from '../../server/util/turns.ts';

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('of those who wait, one has a turn of the event loop, in the order they came', async () => {
  const turns = new Turns();
  const had: string[] = [];
  for (const name of ['one', 'two', 'three']) void turns.wait().then(() => had.push(name));
  assert.deepEqual(had, []);
  for (const expected of [['one'], ['one', 'two'], ['one', 'two', 'three']]) {
    await nextTurn();
    assert.deepEqual(had, expected);
  }
});

test('a turn that is nobody’s can be taken at once, and by one alone', async () => {
  const turns = new Turns();
  assert.equal(turns.take(), true);
  assert.equal(turns.take(), false);
  let isOn = false;
  const waiting = turns.wait().then(() => {
    isOn = true;
  });
  await nextTurn();
  assert.equal(isOn, true);
  assert.equal(turns.take(), false, 'it is the turn of the one who waited');
  await waiting;
  await nextTurn();
  assert.equal(turns.take(), true);
});

test('several who work long at once take turns, so that each turn is as long as one slice', async () => {
  // Each step takes a millisecond by a clock that is looked at once for it.
  let now = 0;
  const clock = { monotonic: () => now };
  let worked = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    const pace = new Pace(clock, 5);
    for (let step = 0; step < 30; step += 1) {
      await pace.step();
      now += 1;
      worked += 1;
    }
  };
  let isDone = false;
  const watch = async (): Promise<void> => {
    while (!isDone) {
      most = Math.max(most, worked);
      worked = 0;
      await nextTurn();
    }
  };
  const watching = watch();
  await Promise.all([work(), work(), work(), work()]);
  isDone = true;
  await watching;
  assert.ok(most <= 10, `${most} steps in one turn`);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SerialQueue } from '../../server/util/serial-queue.ts';

test('work under one key runs one at a time and in order, other keys do not wait', async () => {
  const queue = new SerialQueue();
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = queue.run('!kitchen', async () => {
    log.push('kitchen 1 begins');
    await gate.promise;
    log.push('kitchen 1 ends');
    return 1;
  });
  const second = queue.run('!kitchen', () => {
    log.push('kitchen 2');
    return 2;
  });
  assert.equal(await queue.run('!garden', () => 'free'), 'free');
  assert.deepEqual(log, ['kitchen 1 begins']);
  gate.resolve();
  assert.deepEqual(await Promise.all([first, second]), [1, 2]);
  assert.deepEqual(log, ['kitchen 1 begins', 'kitchen 1 ends', 'kitchen 2']);
});

test('work that fails, at once or later, fails for its caller only', async () => {
  const queue = new SerialQueue();
  const thrown = queue.run('a', () => {
    throw new Error('at once');
  });
  const rejected = queue.run('a', () => Promise.reject(new Error('later')));
  const fine = queue.run('a', () => 'fine');
  await assert.rejects(thrown, /at once/);
  await assert.rejects(rejected, /later/);
  assert.equal(await fine, 'fine');
});

test('a queue forgets keys that have nothing to do, and tells when all is done', async () => {
  const queue = new SerialQueue<number>();
  await queue.idle();
  const gate = Promise.withResolvers<void>();
  const done: number[] = [];
  for (const key of [1, 2, 2]) {
    void queue.run(key, async () => {
      await gate.promise;
      done.push(key);
    });
  }
  assert.equal(queue.size, 2);
  const idle = queue.idle();
  gate.resolve();
  await idle;
  assert.deepEqual(
    done.sort((a, b) => a - b),
    [1, 2, 2],
  );
  assert.equal(queue.size, 0);
});

test('work handed in while the last one ends is not forgotten', async () => {
  const queue = new SerialQueue();
  const order: number[] = [];
  await queue.run('a', () => order.push(1)).then(() => queue.run('a', () => order.push(2)));
  await queue.run('a', () => order.push(3));
  assert.deepEqual(order, [1, 2, 3]);
});

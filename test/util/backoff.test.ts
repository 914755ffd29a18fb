import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../../server/util/backoff.ts';

test('waits grow by the factor, stop at the longest, and start over after a success', () => {
  const backoff = new Backoff({ firstMs: 100, longestMs: 2_000, factor: 3 });
  assert.deepEqual(
    Array.from({ length: 5 }, () => backoff.next()),
    [100, 300, 900, 2_000, 2_000],
  );
  assert.equal(backoff.failures, 5);
  backoff.reset();
  assert.equal(backoff.failures, 0);
  assert.equal(backoff.next(), 100);
});

test('a thousand failures in a row still give the longest wait', () => {
  const backoff = new Backoff({ firstMs: 1, longestMs: 60_000 });
  for (let i = 0; i < 2_000; i += 1) backoff.next();
  assert.equal(backoff.next(), 60_000);
});

test('with chance, a wait falls anywhere in its upper half', () => {
  const wait = (byte: number): number =>
    new Backoff({ firstMs: 1_000, longestMs: 1_000 }, { bytes: (length) => Buffer.alloc(length, byte) }).next();
  assert.equal(wait(0x00), 500);
  assert.equal(wait(0x80), 751);
  assert.equal(wait(0xff), 1_000);
});
